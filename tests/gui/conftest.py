"""A scripted user on a real napari window, and models that find whatever is bright."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import QEvent, QPointF, Qt, QThreadPool
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QLineEdit, QPushButton

from napari_unet import ModelSpec, NetworkSpec, PredictConfig, TrainConfig, iter_predict, save_model
from napari_unet.gui import learning
from napari_unet.gui.demo import ScriptedUser
from napari_unet.gui.session import JobState
from napari_unet.models import ClassSpec, Model
from napari_unet.network import alignment, halo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="session", autouse=True)
def light_windows() -> Iterator[None]:
    """Spare every window work that none of these tests looks at."""
    installed = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda paths=(): iter(installed))
        yield


CENTRES = ((12, 12), (12, 44), (32, 28), (50, 12), (50, 48))
RADIUS = 6
SECONDS = 30


def disc_image(*shape: int) -> NDArray[np.uint16]:
    """Return five bright discs on dark ground, the same in every plane."""
    rows, columns = np.indices((64, 64))
    bright = np.zeros((64, 64), bool)
    for y, x in CENTRES:
        bright |= (rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2
    noise = np.random.default_rng(0).normal(0, 10, (*shape, 64, 64))
    return (100 + 1000 * bright + noise).clip(0).astype(np.uint16)


@pytest.fixture
def discs() -> Callable[..., NDArray[np.uint16]]:
    return disc_image


class SmallNetwork(NetworkSpec):
    """What a new model is in these tests, so that a step takes milliseconds."""

    features: tuple[int, ...] = (4, 8, 8)


def bright_model(
    name: str = "nuclei", task: str = "instances", classes: Sequence[str] = ("nucleus",), dims: int = 2
) -> Model:
    """Return a model whose foreground, or first class, is what is brighter than half the range of the image."""
    spec = ModelSpec.model_validate(
        {
            "name": name,
            "task": task,
            "classes": [ClassSpec(name=one) for one in classes],
            "network": {"spatial_dims": dims, "features": (4, 8, 8), "norm": "none"},
        }
    )
    network = spec.build_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block in (network.contracting[0], network.expanding[0]):
            for layer in block:
                if isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d):
                    layer.weight[(0, 0, *(1,) * dims)] = 1  # hand the image on
        network.head.weight[:, 0] = 20
        network.head.bias.fill_(-10)
        if task == "semantic":
            network.head.weight[0, 0] = -20
            network.head.bias[0] = 10
            network.head.weight[2:, 0] = 0
            network.head.bias[2:] = -40
    return Model(network.eval(), spec)


@pytest.fixture
def library(user_folder: Path) -> Path:
    """Return the user's library, with the model `nuclei` in it."""
    folder: Path = user_folder / "models"
    save_model(bright_model(), folder / "nuclei")
    return folder


@pytest.fixture
def make_model() -> Callable[..., Model]:
    return bright_model


class User(ScriptedUser):
    """A user who waits for what happens and never for the clock."""

    def __init__(self, viewer: Any, folder: Path, told: list[str]) -> None:
        super().__init__(viewer, folder)
        self._canvas = viewer.window._qt_viewer.canvas.native
        self.told = told
        """Notifications of napari; a test that expects one takes it out."""

    def pause(self, milliseconds: int = 0) -> None:
        QApplication.processEvents()

    def until(self, condition: Callable[[], Any], seconds: float = SECONDS) -> None:
        """Wait for something, and tell what the panel says if it never happens."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"waited in vain; the panel says: {self.says}")
            QTest.qWait(2)

    # --- the panel -------------------------------------------------------------------------------------------

    @property
    def says(self) -> str:
        """The status line."""
        return str(self.panel.status.text())

    @property
    def idle(self) -> bool:
        return self.session.prediction is self.session.training is JobState.IDLE

    def button(self, name: str) -> QPushButton:
        return self._child(QPushButton, name)

    def combo(self, name: str) -> QComboBox:
        return self._child(QComboBox, name)

    def offers(self, name: str) -> list[str]:
        """The entries of a combo box."""
        combo = self.combo(name)
        return [combo.itemText(n) for n in range(combo.count())]

    def write(self, name: str, text: str) -> None:
        """Replace the text of a line."""
        line = self._child(QLineEdit, name)
        line.selectAll()
        QTest.keyClicks(line, text)

    def _child(self, kind: Any, name: str) -> Any:
        child = self.panel.findChild(kind, name)
        assert child is not None, f"the panel has no {name!r}"
        return child

    def teach(self) -> None:
        """Confirm an object, delete another, and mark some background: enough to train on."""
        self.use_tool("confirm")
        self.click((12, 12))
        self.use_tool("delete")
        self.click((32, 28))
        self.use_tool("background")
        self.stroke(np.linspace((60, 30), (60, 40), 4))

    def segment(self) -> None:
        """Press Segment and wait for the labels."""
        self.press("segment")
        self.until(lambda: self.idle)
        assert self.session.segmented, self.says

    def train(self) -> None:
        """Press Train and wait for the new model and its preview."""
        self.press("train")
        self.until(lambda: self.session.has_preview and self.idle)

    # --- the canvas ------------------------------------------------------------------------------------------

    @property
    def labels(self) -> NDArray[Any]:
        """A copy of the labels."""
        return self.panel.workbench.document.labels.copy()

    @property
    def status(self) -> NDArray[np.uint8]:
        """A copy of the status."""
        return self.document.status.copy()

    def look_at(self, rows: slice, columns: slice) -> None:
        """Zoom, and wait until what is seen has been worked out."""
        scale = self.viewer.layers[self.session.image].scale[-2:]
        height, width = (rows.stop - rows.start) * scale[0], (columns.stop - columns.start) * scale[1]
        camera = self.viewer.scene.camera
        camera.zoom = min(self._canvas.height() / height, self._canvas.width() / width)
        camera.center = (
            (rows.start + rows.stop - 1) / 2 * scale[0],
            (columns.start + columns.stop - 1) / 2 * scale[1],
        )
        self._canvas.repaint()
        self.pause()

    def click(
        self,
        point: Sequence[float],
        button: Qt.MouseButton = Qt.MouseButton.LeftButton,
        modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        """Click a point of the image (y, x)."""
        self.stroke(np.array([point]), button=button, modifier=modifier)

    def stroke(
        self,
        path: NDArray[Any],
        *,
        button: Qt.MouseButton = Qt.MouseButton.LeftButton,
        modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
        modifier_later: Qt.KeyboardModifier | None = None,
    ) -> None:
        """Drag along points of the image (y, x); each is waited for, for napari handles moves with a delay."""
        self._send(QEvent.Type.MouseButtonPress, path[0], button, button, modifier)
        for point in path[1:]:
            modifier = modifier if modifier_later is None else modifier_later
            self._send(QEvent.Type.MouseMove, point, Qt.MouseButton.NoButton, button, modifier)
        self._send(QEvent.Type.MouseButtonRelease, path[-1], button, Qt.MouseButton.NoButton, modifier)

    def hover(self, point: Sequence[float]) -> None:
        """Move the mouse with no button held."""
        none = Qt.MouseButton.NoButton
        self._send(QEvent.Type.MouseMove, point, none, none, Qt.KeyboardModifier.NoModifier)

    def _send(
        self,
        kind: QEvent.Type,
        point: Sequence[float],
        button: Qt.MouseButton,
        held: Qt.MouseButton,
        modifier: Qt.KeyboardModifier,
    ) -> None:
        where = QPointF(self._on_canvas(point))
        scale = np.asarray(self.viewer.layers[self.session.image].scale[-2:])

        def send() -> bool:
            event = QMouseEvent(kind, where, QPointF(self._canvas.mapToGlobal(where)), button, held, modifier)
            QApplication.sendEvent(self._canvas, event)
            self.pause()
            return bool(np.abs(np.array(self.viewer.cursor.position[-2:]) / scale - point).max() < 0.75)

        if kind is QEvent.Type.MouseMove:
            self.until(send, 10)  # vispy drops a move that follows another within 10 ms
        else:
            assert send(), "napari places the mouse elsewhere"

    def keys(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        """Press keys over the canvas."""
        self._canvas.setFocus()
        QTest.keyClick(self._canvas, key, modifier)
        self.pause()

    def redo(self) -> None:
        """Press Control-Shift-Z over the canvas."""
        self.keys(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)


@pytest.fixture
def start(
    make_napari_viewer: Any,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Any:
    """Return what opens napari with an image and the panel; a notification or a logged error fails the test."""
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "1")
    told: list[str] = []

    def on_notification(notification: Any) -> None:
        told.append(f"{notification.severity}: {notification.message}")

    notification_manager.notification_ready.connect(on_notification)
    users: list[User] = []

    def open_window(image: NDArray[Any] | None = None, *, zoom: bool = True, **layer: Any) -> User:
        viewer = make_napari_viewer(show=True)
        if image is not None:
            named = (
                {}
                if layer.get("rgb")
                else {"axis_labels": tuple("tczyx" if image.ndim == 5 else "tzyx"[-image.ndim :])}
            )
            viewer.add_image(image, **({"name": "img"} | named | layer))
        users.append(User(viewer, tmp_path, told))
        # Python hears each event of each widget, only for a menu bar that a user has hidden
        application = QApplication.instance()
        assert application is not None
        application.removeEventFilter(users[-1].panel.window())
        if image is not None and zoom:
            users[-1].look_at(slice(0, image.shape[-2]), slice(0, image.shape[-1]))
        return users[-1]

    yield open_window
    for user in users:
        user.panel.workbench.close()
    assert QThreadPool.globalInstance().waitForDone(1000 * SECONDS), "a job goes on after its panel is gone"
    notification_manager.notification_ready.disconnect(on_notification)
    told += [record.getMessage() for record in caplog.get_records("call") if record.levelname == "ERROR"]
    assert not told


@pytest.fixture
def user(start: Any) -> User:
    """A user with five discs in the window."""
    opened: User = start(disc_image())
    return opened


class Trainings:
    """How long trainings are in a test; counts them."""

    def __init__(self) -> None:
        self.steps = 4
        self.made: list[TrainConfig] = []

    def config(self, **asked: Any) -> TrainConfig:
        self.made.append(TrainConfig(steps=self.steps, batch=2, patch=32, threads=1, tune_thresholds=False))
        return self.made[-1]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Make trainings and new networks small."""
    made = Trainings()
    monkeypatch.setattr("napari_unet.gui.learning.TrainConfig", made.config)
    monkeypatch.setattr("napari_unet.gui.choosing.NetworkSpec", SmallNetwork)
    return made


@pytest.fixture
def contrary(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every new model find nothing."""
    core = learning.iter_fine_tune

    def altered(*args: Any, **others: Any) -> Any:
        trained = yield from core(*args, **others)
        network = copy.deepcopy(args[0].network)
        with torch.no_grad():
            network.head.weight.zero_()
            network.head.bias[1:] = -40
            network.head.bias[0] = 40 if trained.model.spec.task == "semantic" else -40
        return replace(trained, model=Model(network, trained.model.spec))

    monkeypatch.setattr(learning, "iter_fine_tune", altered)


@pytest.fixture
def many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every image into so many tiles that the prediction of a stack lasts until somebody stops it."""

    def in_small_tiles(image: Any, model: Model, *, config: PredictConfig | None = None, **others: Any) -> Any:
        steps = zip(alignment(model.network), halo(model.network), strict=True)
        update = {"tile": tuple(2 * step + 2 * margin for step, margin in steps), "batch": 1}
        config = (config or PredictConfig()).model_copy(update=update)
        return iter_predict(image, model, config=config, **others)

    monkeypatch.setattr("napari_unet.gui.segmenting.iter_predict", in_small_tiles)

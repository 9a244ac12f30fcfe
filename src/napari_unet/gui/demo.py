"""The main job on a real image: for a person to try, or acted out by a scripted user on the real window."""

from __future__ import annotations

import os
import sys
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton
from scipy.ndimage import binary_dilation, distance_transform_edt
from skimage.measure import find_contours

from napari_unet.errors import UNetError
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.panel import UNetPanel
from napari_unet.gui.session import JobState
from napari_unet.images import write_labels
from napari_unet.samples import load_sample
from napari_unet.training import match_objects
from napari_unet.user_data import HOME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ScriptedUser", "act", "show"]

_SAMPLE = "nuclei_2d"
_WINDOW = (1280, 800)
_mouse_and_keys: Any = QTest  # PyQt6 types these static functions as methods

_GOOD_ENOUGH = 0.75
"""An object whose outline agrees less with the truth (IoU) is deleted and drawn again."""


class DemoError(UNetError):
    """A step of the demo did not do what it should."""


def show() -> int:
    """Open napari with an image of nuclei and the panel, for a person."""
    viewer = _open_window()
    viewer.window.add_plugin_dock_widget("napari-unet")
    napari.run()
    return 0


def act(folder: Path) -> int:
    """Go through the loop as a person would, on the real window.

    Parameters
    ----------
    folder : Path
        Gets a screenshot of each step, the labels before and after, and the truth.

    Returns
    -------
    int
        0, or 1 if a step failed.
    """
    with TemporaryDirectory(prefix="napari-unet-demo-") as home:
        os.environ[HOME_VARIABLE] = home  # the user's own models and corrections stay out of it
        viewer = _open_window()
        user = ScriptedUser(viewer, folder)
        try:
            _go_through_the_loop(user)
        except UNetError as error:
            user.screenshot("failed")
            print(f"Demo failed: {error}", file=sys.stderr)
            return 1
        finally:
            viewer.close()
            pool: Any = QThreadPool.globalInstance()
            pool.waitForDone()  # as napari does at its end
    return 0


_PATIENCE_SECONDS = 3.0
"""How long a button may take to become enabled: counts follow the camera with a delay."""


class ScriptedUser:
    """Clicks buttons and paints in the canvas of a real window, and looks at what comes of it.

    Parameters
    ----------
    viewer : napari.Viewer
        With one image and no panel yet.
    folder : Path
        Where the screenshots go.
    """

    def __init__(self, viewer: Any, folder: Path) -> None:
        self.viewer = viewer
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        _, widget = viewer.window.add_plugin_dock_widget("napari-unet")
        self.panel: UNetPanel = next(w for w in QApplication.allWidgets() if isinstance(w, UNetPanel) and w == widget)
        self.session = self.panel.session
        self._canvas = next(w for w in QApplication.allWidgets() if type(w).__name__ == "CanvasBackendDesktop")
        self._shots = 0
        self.pause(300)

    @property
    def document(self) -> ObjectDocument:
        """The labels that are being corrected."""
        document = self.panel.workbench.document
        if not isinstance(document, ObjectDocument):
            raise DemoError("there are no labels to correct")
        return document

    def pause(self, milliseconds: int = 50) -> None:
        """Let the window live for a while."""
        _mouse_and_keys.qWait(milliseconds)

    def wait(self, what: str, until: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something has happened."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise DemoError(f"{what} did not happen within {seconds:.0f} s; the panel says: {self.session.message}")
            self.pause()

    def press(self, name: str) -> None:
        """Click a button of the panel."""
        button: QPushButton | None = self.panel.findChild(QPushButton, name)
        end = time.monotonic() + _PATIENCE_SECONDS
        while button is not None and not button.isEnabled() and time.monotonic() < end:
            self.pause()
        if button is None or not button.isVisible() or not button.isEnabled():
            raise DemoError(f"the button {name!r} cannot be pressed; the panel says: {self.session.message}")
        _mouse_and_keys.mouseClick(button, Qt.MouseButton.LeftButton)
        self.pause()

    def choose(self, name: str, text: str) -> None:
        """Choose an entry of a combo box, by its text or by the words before its first comma."""
        combo: QComboBox | None = self.panel.findChild(QComboBox, name)
        texts = [combo.itemText(n) for n in range(combo.count())] if combo is not None else []
        wanted = next((n for n, one in enumerate(texts) if text in (one, one.split(", ")[0])), None)
        if combo is None or wanted is None:
            raise DemoError(f"{name!r} does not offer {text!r}")
        combo.setFocus()
        while combo.currentIndex() != wanted:
            before = combo.currentIndex()
            key = Qt.Key.Key_Down if wanted > before else Qt.Key.Key_Up
            _mouse_and_keys.keyClick(combo, key)
            if combo.currentIndex() == before:
                raise DemoError(f"{text!r} cannot be chosen in {name!r}")
        self.pause()

    def use_tool(self, name: str) -> None:
        """Choose a tool, unless it is in use."""
        if self.session.tool.value != name:
            self.press(f"tool_{name}")

    def click(self, point: Sequence[float]) -> None:
        """Click a point of the image (y, x)."""
        _mouse_and_keys.mouseClick(self._canvas, Qt.MouseButton.LeftButton, pos=self._on_canvas(point))
        self.pause()

    def stroke(self, path: NDArray[Any]) -> None:
        """Drag along points of the image (y, x)."""
        points = [self._on_canvas(point) for point in path]
        _mouse_and_keys.mousePress(self._canvas, Qt.MouseButton.LeftButton, pos=points[0])
        for point in points[1:]:
            _mouse_and_keys.mouseMove(self._canvas, point)
            self.pause(2)
        _mouse_and_keys.mouseRelease(self._canvas, Qt.MouseButton.LeftButton, pos=points[-1])
        self.pause()

    def undo(self) -> None:
        """Press Control-Z over the canvas."""
        self._canvas.setFocus()
        _mouse_and_keys.keyClick(self._canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        self.pause()

    def look_at(self, rows: slice, columns: slice) -> None:
        """Zoom so that a part of the image just fills the canvas."""
        scale = self.viewer.layers[self.session.image].scale[-2:]
        height, width = (rows.stop - rows.start) * scale[0], (columns.stop - columns.start) * scale[1]
        camera = self.viewer.scene.camera
        camera.zoom = min(self._canvas.height() / height, self._canvas.width() / width)
        camera.center = ((rows.start + rows.stop - 1) / 2 * scale[0], (columns.start + columns.stop - 1) / 2 * scale[1])
        self.pause(300)

    def screenshot(self, name: str) -> None:
        """Keep a picture of the whole window."""
        self.pause(300)
        self._shots += 1
        self.viewer.screenshot(str(self.folder / f"{self._shots}-{name}.png"), canvas_only=False, flash=False)

    def _on_canvas(self, point: Sequence[float]) -> QPoint:
        """Return where a point of the image lies on the canvas; the camera moves there if it is out of sight."""
        scale = np.asarray(self.viewer.layers[self.session.image].scale[-2:])
        camera = self.viewer.scene.camera
        offset = (np.asarray(point) * scale - np.asarray(camera.center)[-2:]) * camera.zoom
        y, x = offset + np.array([self._canvas.height(), self._canvas.width()]) / 2
        if not (0 <= y < self._canvas.height() and 0 <= x < self._canvas.width()):
            raise DemoError(f"the point {tuple(point)} is out of sight")
        return QPoint(round(x), round(y))


def _open_window() -> Any:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*_WINDOW)
    sample = load_sample(_SAMPLE)
    viewer.add_image(sample.image, name="nuclei", scale=sample.pixel_size)
    return viewer


def _go_through_the_loop(user: ScriptedUser) -> None:
    """Segment, correct the left half, train, compare, use the new model."""
    truth = load_sample(_SAMPLE).truth
    half = (slice(0, truth.shape[0]), slice(0, truth.shape[1] // 2))
    other = (half[0], slice(half[1].stop, truth.shape[1]))
    user.look_at(slice(0, truth.shape[0]), slice(0, truth.shape[1]))
    user.screenshot("open")

    user.press("segment")
    user.wait("the segmentation", lambda: user.session.segmented and user.session.prediction is JobState.IDLE)
    before = user.document.labels.copy()
    if before.max() == 0:
        raise DemoError("nothing was found")
    user.screenshot("segmented")

    user.look_at(*half)
    _correct(user, truth, half)
    user.press("complete")
    if user.session.checked == 0:
        raise DemoError("nothing is checked after 'View is complete'")
    user.screenshot("corrected")

    corrected, status = user.document.labels.copy(), user.document.status.copy()
    user.choose("minutes", "1 min")
    user.press("train")
    user.wait("the first steps of the training", lambda: "step 5" in user.session.message, 180)
    _paint_and_take_back(user, truth, half)
    user.screenshot("training")
    user.look_at(slice(0, truth.shape[0]), slice(0, truth.shape[1]))  # the preview is of what is in view
    user.wait("the end of the training", lambda: user.session.has_preview, 300)
    user.wait("the preview", lambda: user.session.prediction is JobState.IDLE)
    user.screenshot("preview")
    if not np.array_equal(user.document.labels, corrected):
        raise DemoError("training changed the labels before 'Use new' was pressed")
    print(f"New model: {user.session.verdict}")

    user.press("use_new")
    user.wait("the segmentation with the new model", lambda: user.session.prediction is JobState.IDLE)
    after = user.document.labels
    checked = status == 1
    if not np.array_equal(after[checked], corrected[checked]):
        raise DemoError("checked voxels changed when the new model was used")
    user.screenshot("new-model")

    for name, labels in (("before", before), ("after", after), ("truth", truth)):
        write_labels(user.folder / f"labels-{name}.tif", labels, "YX")
    untouched = np.zeros(truth.shape, bool)
    untouched[other] = True
    for place, counts in (("whole image", None), ("half that was never corrected", untouched)):
        # an object of which a sliver reaches into the other half does not count there
        scores = [match_objects(truth, labels, checked=counts).average_precision for labels in (before, after)]
        print(f"AP at IoU 0.5, {place}: {scores[0]:.3f} before, {scores[1]:.3f} after")


def _correct(user: ScriptedUser, truth: NDArray[Any], area: tuple[slice, slice]) -> None:
    """Delete what is wrong in an area, draw what is missing, confirm one object, mark some background."""
    inside = np.zeros(truth.shape, bool)
    inside[area] = True
    wrong = _unmatched(user.document.labels, truth, inside)
    user.use_tool("delete")
    for number in wrong:
        count = np.count_nonzero(user.document.labels == number)
        user.click(_inner_point(user.document.labels == number))
        if np.count_nonzero(user.document.labels == number) >= count:
            raise DemoError(f"object {number} is still there after a click with Delete")
    user.use_tool("draw")
    user.document.editable.brush_size = 1
    missing = _unmatched(truth, user.document.labels, inside)
    for number in missing:
        _draw(user, truth == number)
    user.use_tool("confirm")
    good = next(n for n in np.unique(user.document.labels[area]) if n > 0)
    user.click(_inner_point(user.document.labels == good))
    user.use_tool("background")
    user.document.editable.brush_size = 5
    empty = _inner_point((truth == 0) & (user.document.labels == 0) & inside)
    user.stroke(np.array([empty, np.add(empty, (0, 3))]))
    user.use_tool("draw")
    print(f"Corrected: {len(wrong)} deleted, {len(missing)} drawn, 1 confirmed, 1 background stroke")


def _draw(user: ScriptedUser, shape: NDArray[np.bool_]) -> None:
    """Draw a closed outline, which fills itself. Starts where no other object is."""
    outline = max(find_contours(np.pad(shape, 1).astype(float), 0.5), key=len)[:-1] - 1
    outline = np.clip(outline, 0, np.array(shape.shape) - 1)
    labels = user.document.labels
    taken = binary_dilation(labels > 0, iterations=2)
    free = [n for n, (y, x) in enumerate(outline) if not taken[round(y), round(x)]]
    if not free:
        return
    count = len(np.unique(labels))
    user.stroke(np.concatenate([np.roll(outline, -free[0], axis=0), outline[free[0]][None]]))
    if len(np.unique(user.document.labels)) <= count:
        raise DemoError("a stroke on background made no new object")


def _paint_and_take_back(user: ScriptedUser, truth: NDArray[Any], area: tuple[slice, slice]) -> None:
    """Paint while the network learns, and take it back: the window must not wait for the training."""
    labels = user.document.labels.copy()
    empty = np.zeros(truth.shape, bool)
    empty[area] = labels[area] == 0
    user.stroke(np.array([_inner_point(empty), np.add(_inner_point(empty), (0, 4))]))
    if np.array_equal(user.document.labels, labels):
        raise DemoError("painting while training had no effect")
    user.undo()
    if not np.array_equal(user.document.labels, labels):
        raise DemoError("Control-Z did not take the stroke back")


def _unmatched(labels: NDArray[Any], other: NDArray[Any], inside: NDArray[np.bool_]) -> list[int]:
    """Return the objects, mostly in an area, that match none of the others."""
    found = match_objects(labels, other, _GOOD_ENOUGH).found
    return [n for n, hit in found.items() if not hit and inside[labels == n].mean() > 0.5]


def _inner_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the voxel of a mask that lies deepest in it."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(y), int(x)

"""Whether the window stays awake: gaps of its event loop while one paints and the network learns, and what tools take.

    python benchmarks/responsiveness.py [--side 2048] [--seconds 15] [--rounds 2] [--outline] [--propose]

On the real napari window (without a display: under ``xvfb-run -a -s "-screen 0 1280x1024x24"``) with the sample of
nuclei, repeated to the side. A timer of 1 ms tells how long the event loop was away: at rest; while strokes are
painted, a move of the mouse every 16 ms; and both again while a training runs in the background. The phases take turns.
Prints median, 99th percentile and longest gap in ms, and the 99th percentile against the same without training. What
the window costs by itself is told by the same strokes on a plain labels layer, which only napari knows of. Then, the
whole image in view, the time from a move of the slider of the foreground threshold to the outline at the moved
threshold (the layer is made when a mouse button is pressed on the slider), and the time from a move of the mouse to the
outline of *Propose* on the screen: by the clock, and of a core, beside that of the same canvas drawn anew by itself.

With --outline or --propose only that is measured.
"""

from __future__ import annotations

import argparse
import os
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt, QThreadPool, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QSlider, QStyle, QStyleOptionSlider
from skimage.measure import regionprops

from napari_unet.gui.demo import ScriptedUser
from napari_unet.gui.session import JobState
from napari_unet.samples import load_sample
from napari_unet.user_data import HOME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels
    from numpy.typing import NDArray

MOVE_MS = 16
STROKE = 24
"""Moves of the mouse in a stroke."""

VIEW = 256
"""Pixels of the image that are looked at while painting."""

PLACES = 40
"""Where in the image something is proposed."""

LATE_MS = 1000
"""What has not been drawn after this long is not waited for."""


class Gaps:
    """How long the event loop was away, each time that it was."""

    def __init__(self) -> None:
        self.milliseconds: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def measure(self, seconds: float) -> None:
        """Let the window live, and look at the clock."""
        self._last = time.perf_counter()
        self._timer.start(1)
        QTest.qWait(round(1000 * seconds))
        self._timer.stop()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.milliseconds.append(1000 * (now - self._last))
        self._last = now


class Painter:
    """Paints one stroke after another and takes some back, a step at each tick of a timer."""

    def __init__(self, user: ScriptedUser) -> None:
        self._user = user
        self._rng = np.random.default_rng(0)
        self._left: list[np.ndarray] = []
        self._plain: Labels | None = None
        self.strokes = 0
        self._timer = QTimer()
        self._timer.timeout.connect(self._step)

    def start(self, plain: Labels | None = None) -> None:
        """Take the brush, for the labels or for a layer that is none of ours."""
        self._plain = plain
        if plain is None:
            self._user.use_tool("draw")
        else:
            self._user.viewer.layers.selection.active = plain
            plain.mode = "paint"
        (plain or self._user.document.editable).brush_size = 5
        self._timer.start(MOVE_MS)

    def stop(self) -> None:
        """End the stroke."""
        self._timer.stop()
        if self._left:
            self._send(QEvent.Type.MouseButtonRelease, self._left[0])
            self._left.clear()

    def _step(self) -> None:
        if not self._left:
            start, angle = self._rng.uniform(40, VIEW - 40, 2), self._rng.uniform(0, 2 * np.pi)
            turns = angle + np.arange(STROKE) / 9
            way = 1.5 * np.cumsum(np.stack([np.sin(turns), np.cos(turns)], 1), 0)
            self._left = list(np.clip(start + way, 4, VIEW - 4))
            self._send(QEvent.Type.MouseButtonPress, self._left[0])
        elif len(self._left) > 1:
            self._left.pop(0)
            self._send(QEvent.Type.MouseMove, self._left[0])
        else:
            self._send(QEvent.Type.MouseButtonRelease, self._left.pop())
            self.strokes += 1
            if self.strokes % 4 == 0:
                (self._plain or self._user.panel.workbench.correcting).undo()

    def _send(self, kind: QEvent.Type, point: np.ndarray) -> None:
        send_mouse(self._user, kind, point, held=kind is not QEvent.Type.MouseButtonRelease)


def send_mouse(user: ScriptedUser, kind: QEvent.Type, point: np.ndarray, *, held: bool) -> None:
    """Send the canvas what a mouse would."""
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    canvas, where = user._canvas, QPointF(user._on_canvas(point))
    button = none if kind is QEvent.Type.MouseMove else left
    event = QMouseEvent(
        kind, where, QPointF(canvas.mapToGlobal(where)), button, left if held else none, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(canvas, event)


def wait(user: ScriptedUser, condition: Callable[[], bool], seconds: float = 600) -> None:
    """Wait until something has happened."""
    user.wait("what was asked for", condition, seconds)


def open_window(folder: Path, side: int) -> ScriptedUser:
    """Return a user who has segmented the image, declared a corner of it complete and looks there."""
    sample = load_sample("nuclei_2d")
    repeats = -(-side // min(sample.image.shape))
    image = np.tile(sample.image, (repeats, repeats))[:side, :side]
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 960)
    viewer.add_image(image, name="nuclei", axis_labels=("y", "x"))
    user = ScriptedUser(viewer, folder)
    user.press("segment")
    wait(user, lambda: user.session.segmented and user.session.prediction is JobState.IDLE)
    user.look_at(slice(0, VIEW), slice(0, VIEW))
    user.press("complete")
    return user


def measure_phases(user: ScriptedUser, seconds: float, results: dict[str, Gaps], suffix: str) -> None:
    """Measure at rest and while painting."""
    for name in ("at rest", "painting, plain napari", "painting"):
        gaps = results.setdefault(name + suffix, Gaps())
        painter, plain = Painter(user), None
        if "plain" in name:
            plain = user.viewer.add_labels(np.zeros(user.document.shape, np.int32), name="plain")
        user.pause(500)
        if name != "at rest":
            painter.start(plain)
        gaps.measure(seconds)
        painter.stop()
        if plain is not None:
            user.viewer.layers.selection.active = user.document.editable
            user.viewer.layers.remove(plain)


def train(user: ScriptedUser) -> None:
    """Start a training and wait until it is under way."""
    user.choose("minutes", "20 min")
    user.press("train")
    wait(user, lambda: "step " in user.session.message)


def stop_training(user: ScriptedUser) -> None:
    """End it and forget what it has learned."""
    user.press("stop")
    wait(user, lambda: user.session.training is JobState.IDLE and user.session.prediction is JobState.IDLE)
    if user.session.has_preview:
        user.press("keep_old")


def preview_times(user: ScriptedUser) -> dict[str, NDArray[Any]]:
    """Return how long outlines of missed objects took, from the move of the mouse until they were drawn.

    In ms, for each of some places all over the image, which is in view as a whole: by the clock and of a core, for what
    is computed alone, for all until the outline is drawn, and for the same canvas drawn anew by itself.
    """
    document, proposing = user.document, user.panel.workbench.correcting.proposing
    side = document.shape[-1]
    size = user.panel.workbench.object_size or user.panel.workbench.spec.object_diameter_px
    found = regionprops(document.labels)
    inner = [one.coords[np.abs(one.coords - one.centroid).sum(1).argmin()] for one in found]
    shuffled = [inner[n] for n in np.random.default_rng(0).permutation(len(inner))]
    document.clear()
    user.look_at(slice(0, side), slice(0, side))
    user.use_tool("propose")
    user.pause(1000)
    times: dict[str, list[Any]] = {"computed": [], "drawn": [], "anew": []}
    for point in shuffled:
        start, used = time.perf_counter(), time.process_time()
        proposal = document.propose(tuple(point), dims=2, object_diameter_px=size)
        if proposal is None or not proposal.mask.any():
            continue
        times["computed"].append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)))
        user.pause(60)  # a move that follows another within 10 ms is dropped
        before = proposing.proposal
        move = partial(send_mouse, user, QEvent.Type.MouseMove, point, held=False)
        times["drawn"].append(time_until_drawn(user, move, lambda seen=before: proposing.proposal is not seen))
        times["anew"].append(draw_anew(user))
        if len(times["anew"]) == PLACES:
            break
    return {name: np.array(values) for name, values in times.items()}


def time_until_drawn(
    user: ScriptedUser, act: Callable[[], object], shows: Callable[[], bool] = lambda: True
) -> tuple[float, float]:
    """Do something, and return after how many ms the canvas was drawn that shows it: by the clock, and of a core."""
    draws: list[Any] = []
    events = user.viewer.window._qt_viewer.canvas._scene_canvas.events

    def on_draw(event: Any) -> None:
        if shows():
            draws.append(event)

    events.draw.connect(on_draw, position="last")
    start, used = time.perf_counter(), time.process_time()
    act()
    while not draws and 1000 * (time.perf_counter() - start) < LATE_MS:
        QApplication.processEvents()
    took = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)
    events.draw.disconnect(on_draw)
    return took


def draw_anew(user: ScriptedUser) -> tuple[float, float]:
    """Return the time that it takes to draw the canvas by itself."""
    return time_until_drawn(user, user.viewer.window._qt_viewer.canvas._scene_canvas.update)


def outline_times(user: ScriptedUser) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return how long the outline at a moved threshold took until it was drawn, and the canvas drawn anew by itself.

    In ms, for each move: by the clock, and of a core. The last is the press on the slider, before the first move.
    """
    side = user.document.shape[-1]
    user.look_at(slice(0, side), slice(0, side))
    user.pause(500)
    if not user.panel.workbench.tuning.follows_at_once:  # another part of the image was predicted last
        user.choose("scope", user.panel.segment.scope.itemText(0))
        user.press("segment")
        wait(user, lambda: user.session.prediction is JobState.IDLE and user.panel.workbench.tuning.follows_at_once)
    slider = user.panel.segment.settings.foreground
    grip = slider.style().subControlRect(*handle_of(slider)).center()
    pressed = time_until_drawn(user, partial(QTest.mousePress, slider, Qt.MouseButton.LeftButton, pos=grip))
    user.pause(300)  # nobody moves sooner
    moved, still = [], []
    for value in (*range(30, 60), *range(58, 29, -1)):
        moved.append(time_until_drawn(user, partial(slider.setValue, value)))
        still.append(draw_anew(user))
    QTest.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=grip)
    wait(user, lambda: QThreadPool.globalInstance().activeThreadCount() == 0)  # the objects of the last threshold
    return np.array(moved), np.array(still), np.array(pressed)


def handle_of(slider: QSlider) -> tuple[Any, ...]:
    """Return what Qt wants to know to say where the handle of a slider is."""
    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    return QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle, slider


def print_outline_times(user: ScriptedUser) -> None:
    """Measure and print them."""
    moved, still, pressed = outline_times(user)
    (wall, core), (alone, core_alone) = np.median(moved, 0), np.median(still, 0)
    print(
        f"\nOutline at a moved threshold: median {wall:.1f} ms, longest {moved[:, 0].max():.1f} ms, "
        f"of {len(moved)}; of a core median {core:.1f} ms; the first move {moved[0, 0]:.1f} ms, "
        f"of a core {moved[0, 1]:.1f} ms; the press before it {pressed[0]:.1f} ms\n"
        f"The same canvas drawn anew by itself: median {alone:.1f} ms, of a core {core_alone:.1f} ms"
    )


def print_preview_times(user: ScriptedUser) -> None:
    """Measure and print them."""
    times = preview_times(user)
    print(
        f"\nPropose, at {PLACES} places of the image, all of it in view: ms by the clock, median and longest; of a core"
    )
    for name, what in (
        ("drawn", "from the move of the mouse until the outline is drawn"),
        ("computed", "computing it alone"),
        ("anew", "the same canvas drawn anew by itself"),
    ):
        (wall, core), (longest, _) = np.median(times[name], 0), times[name].max(0)
        print(f"{what:54} {wall:8.1f} {longest:8.1f} {core:8.1f}")
    first = times["drawn"][0]
    print(f"{'the first of them, until it is drawn':54} {first[0]:8.1f} {'':8} {first[1]:8.1f}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--outline", action="store_true", help="measure the outline at a moved threshold alone")
    parser.add_argument("--propose", action="store_true", help="measure the outline of Propose alone")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        os.environ[HOME_VARIABLE] = folder
        user = open_window(Path(folder) / "pictures", options.side)
        if options.outline or options.propose:
            if options.outline:
                print_outline_times(user)
            if options.propose:
                print_preview_times(user)
            user.panel.workbench.close()
            user.viewer.close()
            return
        results: dict[str, Gaps] = {}
        for _ in range(options.rounds):
            measure_phases(user, options.seconds, results, "")
            train(user)
            measure_phases(user, options.seconds, results, ", training")
            stop_training(user)
        print(f"{options.side} x {options.side} pixels, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        print(f"{'gaps of the event loop, ms':36} {'median':>8} {'99 %':>8} {'longest':>8} {'99 % ratio':>11}")
        for name, gaps in results.items():
            values = np.array(gaps.milliseconds)
            high = np.percentile(values, 99)
            alone = np.percentile(results[name.removesuffix(", training")].milliseconds, 99)
            print(f"{name:36} {np.median(values):8.1f} {high:8.1f} {values.max():8.1f} {high / alone:11.2f}")
        print_outline_times(user)
        print_preview_times(user)
        user.panel.workbench.close()
        user.viewer.close()


if __name__ == "__main__":
    main()

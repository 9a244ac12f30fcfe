"""Step 3: train."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyqtgraph
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QMenu
from superqt import QCollapsible

from napari_unet.events import StepDone, Validated
from napari_unet.gui.forecast import steps_line
from napari_unet.gui.session import JobState
from napari_unet.gui.tones import set_tone
from napari_unet.gui.widgets import (
    Section,
    button,
    caption,
    narrow,
    quiet,
    row,
    set_choices,
    set_highlight,
    wrapped_label,
)

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["TrainPanel"]

_MINUTES = (1, 2, 5, 10, 20, 60)
_DRAW_EVERY_MS = 500
"""The curve is drawn so often at most: steps come faster than one can look, and drawing keeps the window busy."""


class TrainPanel(Section):
    """Train and Stop, the live curve, and what becomes of the new model."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("3  Train")
        self._workbench = workbench
        self._session = workbench.session
        self.train = button("Train", self._train, name="train")
        self.stop = button(
            "Stop", workbench.learning.stop, name="stop", tooltip="End after this step, with the best so far."
        )
        self.resume = button(
            "Continue training", self._resume, name="resume",
            tooltip="Go on with the training that was broken off. Train begins a new one.",
        )  # fmt: skip
        self.minutes = quiet(QComboBox())
        self.minutes.setObjectName("minutes")
        self.minutes.addItems([f"{n} min" for n in _MINUTES])
        self.minutes.setCurrentText("5 min")
        self.minutes.setToolTip(
            "How long to train at most; with few corrections it ends earlier. You can stop at any time and keep what "
            "was learned."
        )
        self.base = narrow(QComboBox())
        self.base.setObjectName("base_model")
        self.base.setToolTip(
            "Every training in this folder starts from this model and all that is checked, not from the version "
            "before: so errors do not add up. It is the one of the first training; choose another here."
        )
        self.forecast = wrapped_label("forecast")
        set_tone(self.forecast, "quiet")
        self.curve = Curve()
        self.folded = QCollapsible("Curve")
        self.folded.setObjectName("curve")
        self.folded.addWidget(self.curve.widget)
        self.verdict = wrapped_label("verdict")
        self.compare = button(
            "Compare",
            workbench.learning.toggle_preview,
            name="compare",
            tooltip="Show or hide what the new model finds here.",
        )
        self.use_new = button(
            "Use new", workbench.learning.use_new, name="use_new",
            tooltip="Segment again with the new model. What is checked stays as it is.",
        )  # fmt: skip
        self.keep_old = button(
            "Keep old",
            workbench.learning.keep_old,
            name="keep_old",
            tooltip="Forget the new model; nothing has changed.",
        )
        self.back = button("Back", self._go_back, name="back")
        self.more_versions = button(
            "Versions", self._show_versions, name="versions", tooltip="Every model that was replaced, with its labels."
        )
        self.menu = QMenu(self)
        self.menu.setObjectName("versions_menu")
        self._lay_out()
        self._follow()
        self._render()
        self._render_base()

    def _lay_out(self) -> None:
        self._base_row = row(caption("Starts from"), self.base, stretch=(0, 1))
        self.add(self.resume)
        self.add(row(self.train, self.stop, stretch=(3, 1)))
        self.add(row(self.minutes, self.forecast, stretch=(0, 1)))
        self.add(self._base_row)
        self.add(self.verdict)
        self.add(row(self.compare, self.use_new, self.keep_old, stretch=(1, 1, 1)))
        self.add(row(self.back, self.more_versions, stretch=(3, 1)))
        self.add(self.folded)

    def _follow(self) -> None:
        """Render again whenever something has changed."""
        self.minutes.currentIndexChanged.connect(self._render)
        self.base.textActivated.connect(self._workbench.learning.choose_base)
        for name in ("image", "model", "training", "prediction", "checked", "corrected", "newer", "step_seconds",
                     "enough", "versions", "unfinished", "has_preview", "verdict", "trained_elsewhere",
                     "segmented"):  # fmt: skip
            getattr(self._session.events, name).connect(self._render)
        for name in ("base", "model"):
            getattr(self._session.events, name).connect(self._render_base)

    def on_event(self, event: Any) -> None:
        """Draw a step or a score."""
        self.curve.add(event)

    def close_connections(self) -> None:
        """Draw nothing any more."""
        self.curve.close()

    def _train(self) -> None:
        self.curve.clear()
        self._workbench.learning.train(minutes=_MINUTES[self.minutes.currentIndex()])
        self._show_curve()

    def _resume(self) -> None:
        self.curve.clear()
        self._workbench.learning.resume()
        self._show_curve()

    def _show_curve(self) -> None:
        if self._session.training is not JobState.IDLE:
            self.folded.expand(animate=False)

    def _render(self) -> None:
        session = self._session
        busy = session.training is not JobState.IDLE
        self.train.setText("Training..." if busy else self._what_to_train_on())
        self.train.setEnabled(bool(session.image) and not busy and not session.has_preview)
        self.train.setToolTip("Learn from exactly what is checked, in the background; you can go on correcting.")
        self.minutes.setEnabled(not busy)
        self.base.setEnabled(not busy)
        self.forecast.setText(self._beside_the_minutes(busy))
        self.stop.setVisible(busy)
        self.stop.setEnabled(session.training is JobState.RUNNING)
        self.verdict.setVisible(bool(session.verdict))
        away = session.trained_elsewhere
        self.verdict.setText(f"The new model was trained {away}." if away else session.verdict)
        self.folded.setVisible(not away)
        for one in (self.compare, self.use_new, self.keep_old):
            one.setVisible(session.has_preview)
        # it segments again, and one prediction runs at a time: that of the preview ends first
        self.use_new.setEnabled(session.prediction is JobState.IDLE)
        for one, advice in ((self.use_new, "use"), (self.keep_old, "keep"), (self.compare, "unsure")):
            set_highlight(one, session.has_preview and not away and session.advice == advice)
        self._render_versions(may_go_back=not session.has_preview and session.prediction is JobState.IDLE)
        may_train = not busy and not session.has_preview
        may_resume = may_train and session.unfinished is not None
        self.resume.setVisible(may_resume)
        if session.unfinished is not None:
            left = session.unfinished
            self.resume.setText("Show the new model" if left.is_finished else f"Continue training ({left.progress})")
        set_highlight(self.resume, may_resume)
        set_highlight(self.train, session.checked > 0 and may_train and not may_resume)
        set_highlight(self.stop, busy and session.enough)

    def _render_base(self) -> None:
        base = self._session.base
        self._base_row.setVisible(bool(base))
        if base:
            set_choices(self.base, self._workbench.learning.bases(), base)

    def _render_versions(self, *, may_go_back: bool) -> None:
        versions = self._session.versions
        self.back.setVisible(bool(versions))
        self.more_versions.setVisible(len(versions) > 1)
        for one in (self.back, self.more_versions):
            one.setEnabled(may_go_back)
        if versions:
            name = versions[0].model
            room = self.back.fontMetrics().horizontalAdvance("n" * 22)
            short = self.back.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, room)
            self.back.setText(f"Back to {short}")
            self.back.setToolTip(
                f"Use {name!r} again, with the labels it had left; what is checked stays. Control-Z undoes the labels."
            )

    def _go_back(self) -> None:
        if self._session.versions:
            self._workbench.versions.go_back(self._session.versions[0].model)

    def _show_versions(self) -> None:
        self.menu.clear()
        for one in self._session.versions:
            when = time.strftime("%d %b %H:%M", time.localtime(one.when))
            action: Any = self.menu.addAction(f"{one.model}, until {when}, {one.checked} checked")
            action.triggered.connect(lambda _checked=False, name=one.model: self._workbench.versions.go_back(name))
        self.menu.popup(self.more_versions.mapToGlobal(QPoint(0, self.more_versions.height())))

    def _what_to_train_on(self) -> str:
        session, spec = self._session, self._workbench.spec
        if not session.checked:
            return "Train"
        more = f" ({session.newer} newer)" if session.newer else ""
        if spec is not None and spec.task == "semantic":
            return f"Train on what is painted{more}"
        more = more or (f" ({session.corrected} corrected)" if session.corrected else "")
        return f"Train on {session.checked} checked{more}"

    def _beside_the_minutes(self, busy: bool) -> str:
        session = self._session
        if session.newer and (busy or session.has_preview):
            return f"{session.newer} newer correction{'s wait' if session.newer > 1 else ' waits'}"
        if busy or not session.checked:
            return ""
        return steps_line(_MINUTES[self.minutes.currentIndex()], session.step_seconds)


class Curve:
    """The loss of each step, smoothed, and the score on held-out objects."""

    def __init__(self) -> None:
        self.widget = pyqtgraph.PlotWidget(background=None)
        self.widget.setFixedHeight(130)
        self.widget.setLabel("bottom", "step")
        self.widget.showGrid(x=False, y=True, alpha=0.2)
        self.widget.setMenuEnabled(False)
        self.widget.setMouseEnabled(x=False, y=False)
        self.widget.hideButtons()
        quiet(self.widget.viewport())
        self.widget.setToolTip(
            "loss: how far the network is from what is checked, of which it learns less and less.\n"
            "AP50: how well it finds checked objects that are held out, 1 is all of them; only with complete areas."
        )
        self.widget.addLegend(offset=(-5, 5), labelTextSize="8pt")
        self._loss = self.widget.plot(pen=pyqtgraph.mkPen("#8ab4f8", width=2), name="loss")
        self._score = self.widget.plot(
            pen=pyqtgraph.mkPen("#30d158"), symbol="o", symbolSize=5, symbolBrush="#30d158", name="AP50"
        )
        self._timer = QTimer(self.widget)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DRAW_EVERY_MS)
        self._timer.timeout.connect(self._draw)
        self.clear()

    def clear(self) -> None:
        """Start a new training."""
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._scores: list[tuple[int, float]] = []
        self._draw()

    def close(self) -> None:
        """Draw nothing any more."""
        self._timer.stop()

    def add(self, event: Any) -> None:
        """Note a step or a score; it is drawn soon."""
        if isinstance(event, StepDone):
            previous = self._losses[-1] if self._losses else event.loss
            self._steps.append(event.step)
            self._losses.append(0.9 * previous + 0.1 * event.loss)
        elif isinstance(event, Validated):
            self._scores.append((event.step, event.score.average_precision))
        if not self._timer.isActive():
            self._timer.start()

    def _draw(self) -> None:
        self._loss.setData(self._steps, self._losses)
        self._score.setData([s for s, _ in self._scores], [v for _, v in self._scores])

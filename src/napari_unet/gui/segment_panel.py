"""Step 1: segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QProgressBar, QSizePolicy, QStackedWidget

from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.settings_panel import SettingsPanel
from napari_unet.gui.widgets import Section, button, narrow, row, set_highlight

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["SegmentPanel"]

_MUCH_DISK = 1e9


class SegmentPanel(Section):
    """The Segment button, what it runs on and how long that takes, Cancel; thresholds and device folded."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("1  Segment")
        self._workbench = workbench
        self._session = workbench.session
        self._chosen: Scope | None = None
        self.segment = button("Segment", self._segment, name="segment")
        self.scope = narrow(QComboBox())
        self.scope.setObjectName("scope")
        self.scope.setToolTip("The whole image, the slice or frame that is shown, or the part of it that is visible.")
        self.cancel = button(
            "Cancel",
            workbench.segmenting.cancel,
            name="cancel",
            tooltip="Stop. What is finished stays, and the next time it goes on there.",
        )
        self.bar = QProgressBar()
        self.bar.setObjectName("progress")
        self.bar.setMaximum(1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        shrinks = self.bar.sizePolicy()
        shrinks.setRetainSizeWhenHidden(True)  # what is below stays where it is, under the mouse
        self.bar.setSizePolicy(shrinks)
        self.settings = SettingsPanel(workbench)
        self._beside = QStackedWidget()  # as high with one as with the other
        self._beside.addWidget(self.scope)
        self._beside.addWidget(self.cancel)
        self._beside.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.add(row(self.segment, self._beside, stretch=(1, 1)))
        self.add(self.bar)
        self.add(self.settings)
        self.scope.activated.connect(self._choose)
        self._session.events.image.connect(self._forget_choice)
        for name in ("image", "axes", "model", "prediction", "segmented", "checked", "estimates"):
            getattr(self._session.events, name).connect(self._render)
        self._session.events.progress.connect(self._render_progress)
        self._render()
        self._render_progress()

    @property
    def _scope(self) -> Scope:
        return self._chosen if self._chosen in self._scopes else self._workbench.estimating.main_scope()

    @property
    def _scopes(self) -> list[Scope]:
        """What can be segmented."""
        return self._workbench.segmenting.scopes()

    def _segment(self) -> None:
        self._workbench.segmenting.segment(self._scope)

    def _choose(self, number: int) -> None:
        self._chosen = self._scopes[number]
        self._render()

    def _forget_choice(self) -> None:
        self._chosen = None

    def _render(self) -> None:
        session, scopes, scope = self._session, self._scopes, self._scope
        busy = session.prediction is not JobState.IDLE
        blocked = self.scope.blockSignals(True)
        texts = [self._words(one) for one in scopes]
        if [self.scope.itemText(n) for n in range(self.scope.count())] != texts:
            self.scope.clear()
            self.scope.addItems(texts)
        self.scope.setCurrentIndex(scopes.index(scope))
        self.scope.blockSignals(blocked)
        self.segment.setText(f"Segment {self._workbench.segmenting.name_of(scope)}")
        self.segment.setEnabled(bool(session.image) and not busy)
        self.segment.setToolTip(
            f"Find objects with {session.model!r}. What is checked stays as it is."
            if session.image
            else "Open an image first."
        )
        self._beside.setCurrentWidget(self.cancel if busy else self.scope)
        self.cancel.setEnabled(session.prediction is JobState.RUNNING)
        knows = bool(session.image) and self._workbench.model is not None
        set_highlight(self.segment, knows and not session.segmented and session.checked == 0)

    def _render_progress(self) -> None:
        progress = self._session.progress
        self.bar.setVisible(progress >= 0)
        # a bar paints itself at once, and the rest of the window with it; this lets it wait for the next frame
        self.bar.setUpdatesEnabled(False)
        self.bar.setValue(round(1000 * max(0.0, progress)))
        self.bar.setUpdatesEnabled(True)

    def _words(self, scope: Scope) -> str:
        """Return a scope with the time it takes, and the disk where that is much."""
        known, name = self._session.estimates.get(scope), self._workbench.segmenting.name_of(scope)
        if known is None:
            return name
        disk = f", {known.bytes_on_disk / 1e9:.0f} GB" if known.bytes_on_disk >= _MUCH_DISK else ""
        return f"{name}, {known}{disk}"

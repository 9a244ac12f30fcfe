"""Step 1: segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QProgressBar

from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.widgets import Section, button, row, set_highlight

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["SegmentPanel"]

_SCOPES = {"image": Scope.IMAGE, "slice": Scope.SLICE, "view": Scope.VIEW}


class SegmentPanel(Section):
    """The Segment button, what it runs on, and Cancel."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("1  Segment")
        self._workbench = workbench
        self._session = workbench.session
        self.segment = button("Segment", self._segment, name="segment")
        self.scope = QComboBox()
        self.scope.setObjectName("scope")
        self.scope.addItems(list(_SCOPES))
        self.scope.setToolTip("The whole image, the slice that is shown, or the part of it that is visible.")
        self.cancel = button(
            "Cancel", workbench.segmenting.cancel, name="cancel", tooltip="Stop; the labels stay as they are."
        )
        self.bar = QProgressBar()
        self.bar.setObjectName("progress")
        self.bar.setMaximum(1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.add(row(self.segment, self.scope, self.cancel, stretch=(3, 1, 1)))
        self.add(self.bar)
        for name in ("image", "model", "prediction", "progress", "segmented", "checked"):
            getattr(self._session.events, name).connect(self._render)
        self._render()

    def _segment(self) -> None:
        self._workbench.segmenting.segment(_SCOPES[self.scope.currentText()])

    def _render(self) -> None:
        session = self._session
        busy = session.prediction is not JobState.IDLE
        self.segment.setEnabled(bool(session.image) and not busy)
        self.segment.setToolTip(
            f"Find objects with {session.model!r}. What is checked stays as it is."
            if session.image
            else "Open an image first."
        )
        self.cancel.setVisible(busy)
        self.cancel.setEnabled(session.prediction is JobState.RUNNING)
        self.scope.setEnabled(not busy)
        self.bar.setVisible(session.progress >= 0)
        self.bar.setValue(round(1000 * max(0.0, session.progress)))
        set_highlight(self.segment, bool(session.image) and not session.segmented and session.checked == 0)

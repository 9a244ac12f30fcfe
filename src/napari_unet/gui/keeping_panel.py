"""What comes back from earlier sessions, and how the saving stands."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_unet.gui.keeping import saving_line
from napari_unet.gui.tones import LINK, set_tone
from napari_unet.gui.widgets import button, row, wrapped_label
from napari_unet.user_data import data_folder

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["KeepingPanel", "SavingLine"]

_LOOK_EVERY_MS = 500


class KeepingPanel(QWidget):
    """Restore, and the choice when an image is not the one that was corrected. Hidden where there is nothing to ask."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._session = workbench.session
        self.restore = button(
            "Restore the labels", workbench.documents.restore, name="restore",
            tooltip="The labels of this image were removed from napari. They are still on disk, with all corrections.",
        )  # fmt: skip
        self.question = wrapped_label("question")
        set_tone(self.question, "warning")
        self._answers = row(
            button(
                "Take over", lambda: workbench.documents.answer(take_over=True), name="take_over",
                tooltip="Use the corrections on the image as it is now.",
            ),
            button(
                "Set aside", lambda: workbench.documents.answer(take_over=False), name="set_aside",
                tooltip="Keep the corrections on disk under another name, and begin anew.",
            ),
            stretch=(1, 1),
        )  # fmt: skip
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.restore, self.question, self._answers):
            layout.addWidget(widget)
        for name in ("restorable", "question"):
            getattr(self._session.events, name).connect(self._render)
        self._render()

    def _render(self) -> None:
        session = self._session
        self.restore.setVisible(session.restorable)
        self.question.setVisible(bool(session.question))
        self.question.setText(session.question)
        self._answers.setVisible(bool(session.question))
        self.setVisible(session.restorable or bool(session.question))


class SavingLine(QLabel):
    """One line: saved just now, in which folder; or what is wrong and stays wrong until saving goes on."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self.setObjectName("saving")
        self.setWordWrap(True)
        self.setOpenExternalLinks(True)
        self.setContentsMargins(8, 0, 8, 6)
        self._workbench = workbench
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK_EVERY_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()
        self._look()

    def close_connections(self) -> None:
        """Stop looking."""
        self._timer.stop()

    def _look(self) -> None:
        document = self._workbench.document
        store = document.store if document is not None else None
        if store is None:
            self.hide()
            return
        saving = store.saving
        elsewhere = Path(saving.where) == data_folder() / "stores"
        # what is not beside the image can only be found by being told
        line = saving_line(saving, time.time()) or ("Corrections are kept" if elsewhere else "")
        if not saving.failed and line:
            folder = QUrl.fromLocalFile(saving.where).toString()
            name = "your data folder" if elsewhere else Path(saving.where).name
            line = f'{line} in <a href="{folder}" style="color: {LINK};">{name}</a>'
        self.setText(line)
        self.setToolTip(f"Every correction is saved at once, in {saving.where}.")
        set_tone(self, "warning" if saving.failed else "quiet")
        self.setVisible(bool(line))

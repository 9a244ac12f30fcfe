"""The first line of the panel: which image of the folder, or what to go on with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_unet.gui.keeping import continuable
from napari_unet.gui.widgets import button, row

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["ProjectStrip"]

_ELIDE = Qt.TextElideMode.ElideMiddle
_TEXT_WIDTH, _NAME_WIDTH = 220, 120
_BESIDE_TEXT = 20
_ARROW_WIDTH = 32


class ProjectStrip(QWidget):
    """``[<] 3/12 img_03.tif [>]``, and *Continue* while no image is open.

    Attributes
    ----------
    open : QPushButton
        *Open folder...*; it has its place elsewhere.
    """

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._session = workbench.session
        self._work = continuable()
        self.resume = button("Continue", self._resume, name="continue")
        self.open = button(
            "Open folder...", self._open, name="open_folder",
            tooltip="Work through all images of a folder. Folders can be dropped here too.",
        )  # fmt: skip
        projects = workbench.projects
        self.previous = button("<", lambda: projects.step(-1), name="previous_image", tooltip="The image before.")
        self.next = button(">", lambda: projects.step(1), name="next_image", tooltip="The next image of the folder.")
        for one in (self.previous, self.next):
            # a layout gives no room to what may shrink, beside something that grows
            one.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            one.setFixedWidth(_ARROW_WIDTH)
        self.place = QLabel()
        self.place.setObjectName("place")
        self._strip = row(self.previous, self.place, self.next, stretch=(0, 1, 0))
        self.back = button("", projects.back, name="back_to_folder")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.resume, self._strip, self.back):
            layout.addWidget(widget)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._look_for_work)
        self._session.events.image.connect(self._look_soon)
        for name in ("image", "strip", "is_elsewhere", "model"):
            getattr(self._session.events, name).connect(self._render)
        self._render()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Let the name of the image fit the width, in the font that is known by now."""
        super().resizeEvent(event)
        self._render()

    def _look_soon(self) -> None:
        self._later.start(0)  # what was worked on last is being closed

    def _look_for_work(self) -> None:
        self._work = continuable()
        self._render()

    def _render(self) -> None:
        session = self._session
        self._strip.setVisible(bool(session.strip))
        away = session.is_elsewhere
        self._write(self.place, "{}", session.strip)
        if away:
            self._write(self.place, "{} is not of this folder", session.image)
        self._write(self.back, "Back to {}", session.strip)
        self.back.setVisible(away and bool(session.strip))
        for one in (self.previous, self.next):
            one.setVisible(not away)
        self.previous.setEnabled(self._workbench.projects.can_step(-1))
        self.next.setEnabled(self._workbench.projects.can_step(1))
        self.resume.setVisible(self._work is not None and not session.image and not session.strip)
        if self._work is not None:
            self.resume.setText(self._fitting(self._work.line(time.time())))
            self.resume.setToolTip(f"Open {self._work.image} again, with labels, corrections, undo and model.")

    @staticmethod
    def _write(widget: QLabel | QPushButton, text: str, name: str) -> None:
        metrics = widget.fontMetrics()
        room = max(_NAME_WIDTH, _TEXT_WIDTH - metrics.horizontalAdvance(text.format("")))
        widget.setText(text.format(metrics.elidedText(name, _ELIDE, room)))
        widget.setToolTip(text.format(name))

    def _fitting(self, line: str) -> str:
        """Return a line in two, with a shorter name, where it is too long for the panel."""
        metrics, room = self.resume.fontMetrics(), self.width() - _BESIDE_TEXT
        if metrics.horizontalAdvance(line) <= room:
            return line
        name, _, when = line.rpartition(" (")
        return f"{metrics.elidedText(name, _ELIDE, room)}\n({when}"

    def _resume(self) -> None:
        if self._work is not None:
            self._workbench.projects.resume(self._work)

    def _open(self) -> None:
        """Ask for a folder."""
        chosen = QFileDialog.getExistingDirectory(self, "Open folder")
        if chosen:
            self._workbench.projects.open_folder(Path(chosen))

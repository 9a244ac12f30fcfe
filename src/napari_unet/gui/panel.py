"""The dock widget: choosers, three steps, one status line."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_unet.gui.canvas import make_canvas_current
from napari_unet.gui.correct_panel import CorrectPanel
from napari_unet.gui.import_panel import ImportPanel
from napari_unet.gui.keeping_panel import KeepingPanel, SavingLine
from napari_unet.gui.opening import image_path
from napari_unet.gui.project_strip import ProjectStrip
from napari_unet.gui.results_panel import ResultsPanel
from napari_unet.gui.segment_panel import SegmentPanel
from napari_unet.gui.session import Session
from napari_unet.gui.source_panel import SourcePanel
from napari_unet.gui.tones import set_tone, tones_on
from napari_unet.gui.train_panel import TrainPanel
from napari_unet.gui.widgets import wrapped_label
from napari_unet.gui.workbench import Workbench

if TYPE_CHECKING:
    import napari

__all__ = ["UNetPanel"]

_WIDTH = 330


class UNetPanel(QWidget):
    """Segment, correct, train.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.setObjectName("unet_panel")
        self.setAcceptDrops(True)
        self.session = Session()
        self.workbench = Workbench(napari_viewer, self.session, on_training_event=self._on_training_event)
        self.strip = ProjectStrip(self.workbench)
        self.keeping = KeepingPanel(self.workbench)
        self.imports = ImportPanel(self.workbench)
        self.source = SourcePanel(self.workbench, self.strip.open, self.imports.start)
        self.segment = SegmentPanel(self.workbench)
        self.correct = CorrectPanel(self.workbench)
        self.train = TrainPanel(self.workbench)
        self.results = ResultsPanel(self.workbench)
        self.status = wrapped_label("status")
        self.saving = SavingLine(self.workbench)
        self._closed = False
        self._lay_out()
        # napari destroys the panel when its window closes, without a closing event; by then only plain objects live
        self.destroyed.connect(partial(Workbench.close, self.workbench))
        self._viewer = napari_viewer
        napari_viewer.events.theme.connect(self._follow_theme)
        self._follow_theme()
        self._layers = napari_viewer.layers
        self._layers.events.removing.connect(self._before_a_layer_goes)
        self.session.events.message.connect(self._show_message)
        self.session.events.problem.connect(self._show_message)
        self.workbench.suiting.suit()
        self.workbench.documents.find()
        if not self.session.problem:
            self.workbench.say_next()
        self._show_message()

    def event(self, event: Any) -> bool:
        """Stop all work when napari takes the panel out of its dock: it neither closes nor destroys it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.shut_down()
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Stop all work when the window closes."""
        self.shut_down()
        super().closeEvent(event)

    def dragEnterEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Work through a folder that is dropped; open images."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        for path in paths:
            if path.is_dir() and path.suffix.lower() != ".zarr":
                self.workbench.projects.open_folder(path)
                return
            self.workbench.opening.open(image_path(str(path)))

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802 - Qt's name
        """Keep the dock as wide as what is in it needs: it scrolls up and down only."""
        if event.type() == QEvent.Type.LayoutRequest:
            bar = self._scroll.verticalScrollBar()
            beside = bar.sizeHint().width() if bar is not None else 0
            self._scroll.setMinimumWidth(watched.minimumSizeHint().width() + beside)
        return False

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Ask for a narrow dock: the image comes first."""
        return QSize(_WIDTH, super().sizeHint().height())

    def shut_down(self) -> None:
        """Stop the jobs and let go of the viewer. Harmless when it is done already."""
        if self._closed:
            return
        self._closed = True
        self.source.close_connections()
        self.segment.settings.close_connections()
        self.correct.close_connections()
        self.train.close_connections()
        self.saving.close_connections()
        self._layers.events.removing.disconnect(self._before_a_layer_goes)
        self._viewer.events.theme.disconnect(self._follow_theme)
        self.workbench.close()
        self.deleteLater()

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(6)
        step_0 = (self.strip, self.keeping, self.source, self.imports)
        for part in (*step_0, self.segment, self.correct, self.train, self.results):
            column.addWidget(part)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        self._scroll = scroll
        self.session.events.has_preview.connect(self._show_choice)
        self.correct.so_far.linkActivated.connect(self._show_folder)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(scroll, 1)
        # always in sight, however far the rest is scrolled
        self.status.setContentsMargins(8, 4, 8, 6)
        self.status.setMinimumHeight(3 * self.status.fontMetrics().lineSpacing() + 12)
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop)
        whole.addWidget(self.status)
        whole.addWidget(self.saving)
        inside.installEventFilter(self)

    def _follow_theme(self) -> None:
        self.setStyleSheet(tones_on(self._viewer.theme))

    def _before_a_layer_goes(self) -> None:
        make_canvas_current(self)

    def _show_choice(self, waits: bool) -> None:
        """Bring *Use new* and *Keep old* into sight, once they are laid out."""
        if waits:
            QTimer.singleShot(0, lambda: None if self._closed else self._scroll.ensureWidgetVisible(self.train.use_new))

    def _show_folder(self) -> None:
        """Bring *Segment the folder* into sight, with its options."""
        self._scroll.ensureWidgetVisible(self.results.folder)
        self.results.folder.setFocus()

    def _show_message(self) -> None:
        self.status.setText(self.session.message)
        set_tone(self.status, "warning" if self.session.problem else "")

    def _on_training_event(self, event: Any) -> None:
        self.train.on_event(event)

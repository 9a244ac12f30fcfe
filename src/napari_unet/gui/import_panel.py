"""What the panel offers to do with what is there, and the question what labels of another program are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QMenu, QProgressBar, QVBoxLayout, QWidget

from napari_unet.correction import ROI_SUFFIXES
from napari_unet.gui.layers import foreign_labels
from napari_unet.gui.opening import image_path
from napari_unet.gui.widgets import button, row, set_highlight, wrapped_label
from napari_unet.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["ImportPanel"]


class ImportPanel(QWidget):
    """Hidden where there is nothing to take over.

    Attributes
    ----------
    start : QPushButton
        *Import labels...*; it has its place elsewhere.
    """

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._session = workbench.session
        self._importing = workbench.importing
        self.start = button(
            "Import labels...", self._open_menu, name="import_labels",
            tooltip="Correct and learn from labels of cellpose, StarDist, Fiji and others: a layer, a file (TIFF, PNG, "
            "OME-Zarr, ImageJ ROIs), or those of a whole folder.",
        )  # fmt: skip
        self.menu = QMenu(self)
        self.menu.setObjectName("import_menu")
        self.offer = wrapped_label("offer")
        self.use = button("Import", self._importing.accept, name="use_offer")
        self.leave = button("Not now", self._importing.decline, name="decline_offer", tooltip="Leave it as it is.")
        self._choices = row(self.use, self.leave, stretch=(2, 1))
        self.question = wrapped_label("import_question")
        self.check = button(
            "To be checked", lambda: self._importing.take(as_truth=False), name="import_to_check",
            tooltip="A start to correct: nothing is learned from them until you check it.",
        )  # fmt: skip
        self.truth = button(
            "Truth", lambda: self._importing.take(as_truth=True), name="import_truth",
            tooltip="Everything becomes checked, empty places too: the network learns all of it.",
        )  # fmt: skip
        cancel = button("Cancel", self._importing.cancel, name="import_cancel", tooltip="Leave everything as it is.")
        self._answers = row(self.check, self.truth, cancel, stretch=(2, 1, 1))
        self.bar = QProgressBar()
        self.bar.setObjectName("import_progress")
        self.bar.setMaximum(1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        stop = button(
            "Cancel", self._importing.stop, name="import_stop", tooltip="Stop reading. What was taken over stays."
        )
        self._reading = row(self.bar, stop, stretch=(3, 1))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.offer, self._choices, self.question, self._answers, self._reading):
            layout.addWidget(widget)
        set_highlight(self.check, True)
        for name in ("offer", "import_question", "image", "importing"):
            getattr(self._session.events, name).connect(self._render)
        self._render()

    def _render(self) -> None:
        session = self._session
        asks = bool(session.import_question)
        reads = session.importing >= 0
        offers = bool(session.offer) and not asks and not reads
        self.start.setEnabled(bool(session.image))
        self.offer.setText(session.offer)
        for one, text in zip((self.use, self.leave), session.offer_buttons, strict=True):
            one.setText(text)
            one.setMinimumWidth(one.fontMetrics().horizontalAdvance(text) + 14)
        for widget in (self.offer, self._choices):
            widget.setVisible(offers)
        self.question.setText(session.import_question)
        for widget in (self.question, self._answers):
            widget.setVisible(asks)
        self._reading.setVisible(reads)
        self.bar.setValue(round(1000 * max(0.0, session.importing)))
        self.setVisible(offers or asks or reads)

    def _open_menu(self) -> None:
        self.menu.clear()
        for layer in foreign_labels(self._workbench.viewer.layers):
            self._add(f"Layer {layer.name}", lambda layer=layer: self._importing.choose_layer(layer))
        if not self.menu.isEmpty():
            self.menu.addSeparator()
        self._add("From a file...", self._choose_file)
        if self._session.strip and not self._session.is_elsewhere:
            self._add("For all images, from a folder...", self._choose_folder)
        self.menu.popup(self.start.mapToGlobal(self.start.rect().bottomLeft()))

    def _add(self, text: str, act: Any) -> None:
        action: Any = self.menu.addAction(text)
        action.triggered.connect(lambda _checked=False: act())

    def _choose_file(self) -> None:
        suffixes = (*IMAGE_SUFFIXES, *ROI_SUFFIXES, ".zattrs", ".zgroup", ".zarray")
        patterns = " ".join(f"*{suffix}" for suffix in suffixes)
        path, _ = QFileDialog.getOpenFileName(
            self, "Import labels", self._workbench.results.suggested_name(""), f"Labels ({patterns} zarr.json)"
        )
        if path:
            self._importing.choose_file(image_path(path))

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Folder of the labels", self._workbench.results.suggested_name("")
        )
        if folder:
            self._importing.choose_folder(Path(folder))

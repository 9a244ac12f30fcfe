"""Out of the panel: the table of measurements, files, and a whole folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QCheckBox, QFileDialog, QMenu, QTableView

from napari_unet.gui.session import JobState
from napari_unet.gui.widgets import Section, button, quiet, row, set_highlight
from napari_unet.models import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.gui.workbench import Workbench

__all__ = ["ResultsPanel"]

_TABLE = ("napari", "Features table widget")


class ResultsPanel(Section):
    """Measure, Export and Segment the folder."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("Results")
        self._workbench = workbench
        self._session = workbench.session
        results = workbench.results
        self.measure = button(
            "Measure objects",
            lambda: results.measure(self._show_table),
            name="measure_objects",
            tooltip="Size, shape and intensity of each object, in napari's table of features: "
            "a row that is selected there is selected in the image.",
        )
        self.export = button(
            "Export", self._open_menu, name="export", tooltip="Labels, outlines, measurements, or the model."
        )
        self.menu = QMenu(self)
        kinds = (
            ("Labels as OME-TIFF...", "-labels.ome.tif", results.export_labels),
            ("Labels as OME-Zarr...", "-labels.ome.zarr", results.export_labels),
            ("ImageJ ROIs...", "-rois.zip", results.export_rois),
            ("Measurements as CSV...", "-measurements.csv", results.export_table),
        )
        self._of_labels = [
            self._add(text, partial(results.suggested_name, ending), write) for text, ending, write in kinds
        ]
        self.menu.addSeparator()
        self._of_model = self._add("Model as a file...", self._name_of_model, results.export_model)
        self.folder = button(
            "Segment the folder...",
            self._segment_folder,
            name="segment_folder",
            tooltip="Segment all images of a folder with this model and these settings; the labels go beside them. "
            "What you checked stays as it is, what is ignored is left out. What is done already is skipped.",
        )
        self.table = _option("CSV", "with_table", "Write measurements.csv into the folder.")
        self.rois = _option("ROIs", "with_rois", "Write the outlines for ImageJ beside each image.")
        self.add(row(self.measure, self.export, stretch=(2, 1)))
        self.add(row(self.folder, self.table, self.rois, stretch=(1, 0, 0)))
        for name in ("image", "model", "segmented", "prediction", "good_enough"):
            getattr(self._session.events, name).connect(self._render)
        self._render()

    def _add(self, text: str, suggest: Callable[[], str], write: Callable[[str], None]) -> Any:
        action = self.menu.addAction(text)
        assert action is not None
        # empty where the user does not want to
        action.triggered.connect(lambda _checked=False: write(QFileDialog.getSaveFileName(self, text, suggest())[0]))
        return action

    def _name_of_model(self) -> str:
        return str(Path(self._workbench.results.suggested_name("")).with_name(f"{self._session.model}{SUFFIX}"))

    def _open_menu(self) -> None:
        self.menu.popup(self.export.mapToGlobal(self.export.rect().bottomLeft()))

    def _segment_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Segment the folder", self._workbench.results.suggested_name("")
        )
        if folder:
            self._workbench.results.segment_folder(
                folder, table=self.table.isChecked(), rois=self.rois.isChecked() and self.rois.isVisible()
            )

    def _show_table(self) -> None:
        """Show napari's own table of features beside the image."""
        window: Any = getattr(self._workbench.viewer, "window", None)
        document = self._workbench.document
        if window is None or document is None:
            return
        _, widget = window.add_plugin_dock_widget(*_TABLE, tabify=True)
        self._workbench.viewer.layers.selection.active = document.layers[0]
        measured = document.layers[0].features.drop(columns="index").dropna(how="all").index
        table = widget.findChild(QTableView)
        if table is not None and len(measured):  # the rows of ids that no object has are empty
            table.scrollTo(table.model().index(int(measured[0]), 0), QTableView.ScrollHint.PositionAtTop)

    def _render(self) -> None:
        session, spec = self._session, self._workbench.spec
        idle = session.prediction is JobState.IDLE
        semantic = spec is not None and spec.task == "semantic"
        self.measure.setText("Measure classes" if semantic else "Measure objects")
        self.measure.setEnabled(session.segmented and idle)
        self.export.setEnabled((session.segmented or self._workbench.model is not None) and idle)
        for one in self._of_labels:
            one.setEnabled(session.segmented)
        self._of_model.setEnabled(self._workbench.model is not None)
        self.folder.setEnabled(self._workbench.model is not None and idle)
        set_highlight(self.folder, session.good_enough)
        self.rois.setVisible(not semantic)
        self._of_labels[2].setVisible(not semantic)


def _option(text: str, name: str, tooltip: str) -> QCheckBox:
    made = quiet(QCheckBox(text))
    made.setObjectName(name)
    made.setToolTip(tooltip)
    return made

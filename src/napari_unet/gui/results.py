"""What leaves the panel: measurements, files, and the labels of a whole folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.correction import corrections_for
from napari_unet.errors import StoreError, UNetError
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.origin import origin_of
from napari_unet.gui.session import JobState
from napari_unet.images import image_files, image_stem, label_axes, open_image, write_labels, write_rois
from napari_unet.models import save_model
from napari_unet.prediction import BatchConfig, iter_segment_files, measure, write_measurements

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.prediction import Batch, Table

__all__ = ["Results", "as_features"]

_CSV = "measurements.csv"
_MOST_ROWS = 10**6


def as_features(table: Table, axes: str) -> Any:
    """Return measurements as a data frame in which napari finds the row of each label.

    Its table of features takes a label for the number of a row, so rows lie at their ids, those of no object empty.
    Where an id has several rows, one for each frame, they lie one below the other. Frame and slice are left out where
    the labels have neither.
    """
    import pandas as pd  # type: ignore[import-untyped]

    left_out = {"file", *(letter.lower() for letter in "TZ" if letter not in axes)}
    frame = pd.DataFrame({name: values for name, values in table.items() if name not in left_out})
    frame = frame.rename(columns={"id": "index", "class": "index"})
    frame = frame[sorted(frame.columns, key=lambda name: name != "index")]
    if frame.empty or frame["index"].duplicated().any() or frame["index"].max() >= _MOST_ROWS:
        return frame
    aligned = frame.set_index("index", drop=False).reindex(range(int(frame["index"].max()) + 1))
    aligned["index"] = aligned.index
    return aligned.reset_index(drop=True)


class Results:
    """Measures, exports, and segments folders, all in the background.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session

    # --- of this image ---------------------------------------------------------------------------------------

    def measure(self, then: Callable[[], None]) -> None:
        """Put the measurements of all objects into the features of their layer, then do something else."""
        document = self._document()
        if document is None:
            return
        table = self._measuring(document)

        def take_over(found: Table) -> None:
            if document not in self._workbench.documents:
                return
            document.layers[0].features = as_features(found, label_axes(document.axes))
            count = len(found.get("id", found.get("class", ())))
            self._session.say(f"{count} {'object' if count == 1 else 'objects'} measured: see the table of features.")
            then()

        self._start("Measuring...", table, take_over)

    def suggested_name(self, ending: str) -> str:
        """Return where to export to, beside the image where its file is known."""
        image = self._workbench.image
        if image is None:
            return ""
        path = origin_of(image).path
        folder = Path(path).parent if path else Path()
        return str(folder / f"{image_stem(path) if path else image.name}{ending}")

    def export_labels(self, path: str) -> None:
        """Write the labels as OME-TIFF or, where the name ends in ``.zarr``, as OME-Zarr."""
        self._export(path, lambda labels, axes, document: self._write_labels(path, labels, axes, document))

    def export_rois(self, path: str) -> None:
        """Write the outlines of the objects as ROIs of ImageJ."""
        self._export(path, lambda labels, axes, _: lambda: write_rois(path, labels, axes))

    def export_table(self, path: str) -> None:
        """Write the measurements as CSV."""
        self._export(path, lambda _labels, _axes, document: self._write_table(path, document))

    def export_model(self, path: str) -> None:
        """Write the model in use as a file: for another computer, or the command line."""
        model = self._workbench.model
        if model is None or not path:
            return
        try:
            written = save_model(model, path)
        except UNetError as error:
            self._session.say(str(error), problem=True)
            return
        self._session.say(f"Written: {written}. Drop it on the window of another napari to use it there.")

    # --- of a folder -----------------------------------------------------------------------------------------

    def segment_folder(self, folder: str, *, table: bool, rois: bool) -> None:
        """Segment the images of a folder, with this model and these settings, as the command line does.

        What is checked stays in them as it is.
        """
        bench, session, model = self._workbench, self._session, self._workbench.model
        if model is None:
            session.say("This model has not learned anything yet. Train it first.", problem=True)
            return
        if self._is_busy():
            return
        try:
            files = image_files([folder])
        except UNetError as error:
            session.say(str(error), problem=True)
            return
        axes, level, factor = self._told_by_window(folder)
        config = bench.choosing.predict_config()
        if config.object_diameter_px is not None:  # files count pixels of the full resolution
            config = config.model_copy(update={"object_diameter_px": config.object_diameter_px * factor})
        batch = BatchConfig(
            axes=axes,
            level=level,
            channels=bench.inputs.channels_in_files(model.spec),
            measure=table,
            rois=rois,
            find_size=bench.sizing.is_open,
        )

        corrections = corrections_for(model.spec, batch.channels or ())
        stores = [one.store for one in bench.documents if one.store is not None]

        def run(stop: StopFlag) -> Generator[Any, None, Batch]:
            for store in stores:
                if not store.wait():
                    raise StoreError(
                        f"What you corrected is not saved, so that it would be left out. {store.saving.message}"
                    )
            result = yield from iter_segment_files(
                files, model, config=config, batch=batch, corrections=corrections, stop=stop
            )
            if result.tables:
                write_measurements(Path(folder) / _CSV, result.tables)
            return result

        bench.jobs.start(
            "prediction", run, on_result=self._tell_batch, message=f"Segmenting {len(files)} images of {folder}..."
        )

    def _told_by_window(self, folder: str) -> tuple[str | None, int | None, float]:
        """Return what the image that is worked on tells of the others in its folder.

        Its axes where its file does not tell them; the level of a pyramid that it is, and how many pixels of the full
        resolution a pixel of that has.
        """
        image = self._workbench.image
        path = origin_of(image).path if image is not None and self._session.image else ""
        if not path or Path(path).parent.resolve() != Path(folder).resolve():
            return None, None, 1.0
        known = origin_of(image)
        opened, axes = open_image(path), self._session.axes
        own = axes if len(axes) == len(opened.shape) else opened.guess.axes  # a channel has fewer than its file
        told = None if opened.axes else own
        factor = opened.levels[known.level].scale.get("X", 1.0)
        return told, known.level if len(opened.levels) > 1 else None, factor

    def _tell_batch(self, result: Batch) -> None:
        done = len(result.done)
        many = f"{done} images segmented, their labels lie beside them"
        parts = ["1 image segmented, its labels lie beside it" if done == 1 else many]
        checked = sum(1 for one in result.done if one.provenance.get("corrections"))
        if checked:
            parts.append(f"{checked} with what you checked in them")
        if result.skipped:
            parts.append(f"{len(result.skipped)} skipped, done before")
        if result.tables:
            parts.append(f"measurements in {_CSV}")
        text = ("Stopped. What is written stays: " if result.stopped else "") + "; ".join(parts) + "."
        for failure in result.failed:
            text += f" {failure.path.name}: {failure.message}"
        self._session.say(text, problem=bool(result.failed))

    # --- inner -----------------------------------------------------------------------------------------------

    def _document(self) -> Document | None:
        document = self._workbench.document
        if document is None or not document.has_labels:
            self._session.say("There are no labels yet. Press Segment, or draw some.", problem=True)
            return None
        return None if self._is_busy() else document

    def _is_busy(self) -> bool:
        busy = self._session.prediction is not JobState.IDLE
        if busy:
            self._session.say("Wait for the segmentation, or cancel it.")
        return busy

    def _start(self, message: str, work: Callable[[], Any], on_result: Callable[[Any], None]) -> None:
        def run(_: StopFlag) -> Generator[Any, None, Any]:
            yield from ()
            return work()

        self._workbench.jobs.start("prediction", run, on_result=on_result, message=message)

    def _measuring(self, document: Document) -> Callable[[], Table]:
        """Return the work of measuring; it has copies of what the user may change meanwhile."""
        image, spec = document.image, self._workbench.spec
        assert spec is not None
        known = origin_of(image)
        objects = isinstance(document, ObjectDocument)
        status = _kept(document, document.status) if isinstance(document, ObjectDocument) else None
        corrected = document.corrected if isinstance(document, ObjectDocument) else frozenset()
        labels = _kept(document, document.labels)
        data, axes, classes = image.data, document.axes, [one.name for one in spec.classes]
        return lambda: measure(
            labels,
            label_axes(axes),
            data,
            axes,
            task="instances" if objects else "semantic",
            classes=classes,
            spatial_dims=spec.spatial_dims,
            pixel_size_um=known.pixel_size_um,
            channel_names=known.channels,
            status=status,
            corrected=corrected,
            file=known.path or image.name,
        )

    def _export(self, path: str, writing: Callable[[Any, str, Document], Callable[[], Any]]) -> None:
        document = self._document() if path else None
        if document is None:
            return
        work = writing(_kept(document, document.labels), label_axes(document.axes), document)
        self._start(f"Writing {Path(path).name}...", work, lambda _: self._session.say(f"Written: {path}"))

    def _write_labels(self, path: str, labels: Any, axes: str, document: Document) -> Callable[[], Any]:
        known = origin_of(document.image)
        provenance = {**self._workbench.segmenting.provenance(document), "image": document.image.name}
        return lambda: write_labels(
            path,
            labels,
            axes,
            pixel_size_um=known.pixel_size_um,
            provenance=provenance,
            frame_interval_s=known.frame_interval_s,
        )

    def _write_table(self, path: str, document: Document) -> Callable[[], Any]:
        table = self._measuring(document)
        return lambda: write_measurements(path, [table()])


def _kept(document: Document, array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that later corrections do not reach; a large array itself, of which there can be no copy."""
    return array if document.is_large else np.array(array)

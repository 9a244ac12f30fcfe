"""Many images, one after the other: labels, measurements and outlines into files."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from math import prod
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from napari_unet.annotation import Status
from napari_unet.errors import ConfigError, ImageError, UNetError
from napari_unet.events import FileDone, FileFailed, FileSkipped, FileStarted
from napari_unet.images import (
    label_axes,
    label_planes,
    open_image,
    read_provenance,
    to_canonical,
    write_labels,
    write_rois,
)
from napari_unet.models import model_hash
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.inputs import at_level, axes_of, for_image, identity_of
from napari_unet.prediction.measurements import Table, measure
from napari_unet.prediction.outputs import (
    Format,
    check_target,
    digest,
    label_paths,
    own_labels,
    rois_path,
    same_recipe,
    source_beside,
)
from napari_unet.prediction.predict import iter_predict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.events import Event
    from napari_unet.images import OpenedImage
    from napari_unet.models import Model

    _Outcome = FileDone | FileSkipped | FileFailed

__all__ = ["Batch", "BatchConfig", "Checked", "Corrections", "iter_segment_files"]

_NO_MATTER = {"device", "tile", "batch"}
"""Settings that change how fast the labels are made, not which."""

_IN_MEMORY = 256 * 2**20
"""Labels of one image with more bytes are made on disk, where a run that was killed goes on."""


class BatchConfig(BaseModel):
    """What to read of each image, and what to write for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    output: Path | None = None
    """Folder for the results. None: beside each image."""
    format: Format = "ome-tiff"
    """Format of the label files."""
    axes: str | None = None
    """Axes of the images. None: as each file tells."""
    channels: tuple[str, ...] | None = None
    """Channels that the model reads, by name or number from 0. None: all of them."""
    level: int | None = Field(default=None, ge=0)
    """Resolution of a pyramid, 0 is the full one. None: the one nearest to the model's object size."""
    overwrite: bool = False
    """Segment again what has been segmented with the same model and settings."""
    measure: bool = False
    """Measure the objects."""
    rois: bool = False
    """Write the outlines as ImageJ ROIs."""


@dataclass(frozen=True, eq=False)
class Checked:
    """What a person corrected in one image, in the axes and shape of its labels.

    Attributes
    ----------
    labels : ndarray of int
    status : ndarray of uint8
        `Status` per voxel.
    corrected : frozenset of int
        Objects whose shape the person changed.
    """

    labels: NDArray[Any]
    status: NDArray[np.uint8]
    corrected: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Corrections:
    """How corrections get into the labels of a batch: checked voxels win.

    Attributes
    ----------
    of : callable
        An image, opened, and its axes to what was corrected in it, or None.
    merge : callable
        What was corrected and the predicted labels to the labels that are written.
    """

    of: Callable[[OpenedImage, str], Checked | None]
    merge: Callable[[Checked, NDArray[Any]], NDArray[Any]]


@dataclass
class Batch:
    """What became of many images.

    Attributes
    ----------
    done, skipped, failed : list
        The events of each file.
    tables : list of dict
        Measurements of each image that has labels now, skipped ones too; none unless asked for.
    stopped : bool
    """

    done: list[FileDone] = field(default_factory=list)
    skipped: list[FileSkipped] = field(default_factory=list)
    failed: list[FileFailed] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    stopped: bool = False

    def _add(self, event: _Outcome, table: Table) -> None:
        """Note what became of one image, and its measurements, if any."""
        if isinstance(event, FileDone):
            self.done.append(event)
        elif isinstance(event, FileSkipped):
            self.skipped.append(event)
        else:
            self.failed.append(event)
        if table:
            self.tables.append(table)


def iter_segment_files(
    files: Sequence[Path],
    model: Model,
    *,
    config: PredictConfig | None = None,
    batch: BatchConfig | None = None,
    corrections: Corrections | None = None,
    stop: StopFlag | None = None,
) -> Generator[Event, None, Batch]:
    """Segment images and write their labels, one file after the other.

    One bad file does not stop the others. What has been segmented with the same weights and settings, from a file
    that has not changed since, is skipped, and so are labels that this program wrote, where they are among `files`.
    A label file that it did not write is not written over.

    Parameters
    ----------
    files : sequence of Path
        As `image_files` finds them.
    model : Model
    config : PredictConfig, optional
        Its `object_diameter_px` counts pixels of the full resolution.
    batch : BatchConfig, optional
    corrections : Corrections, optional
        Checked voxels win over what is predicted.
    stop : threading.Event, optional
        Set it from elsewhere to end early; what is written stays.

    Yields
    ------
    Event
        `FileStarted`, its `TileDone` and `Notice`, then `FileDone`, `FileSkipped` or `FileFailed`.

    Raises
    ------
    ConfigError
        If labels would overwrite an image, cannot be written to the folder, or a setting is wrong for all of them.
    """
    config, batch = config or PredictConfig(), batch or BatchConfig()
    own = own_labels(files, batch.output)
    images = [path for path in files if path not in own]
    targets = dict(zip(images, label_paths(images, batch.output, batch.format), strict=True))
    result, weights = Batch(), model_hash(model)
    part_of: dict[str, Path] = {}

    def segment(path: Path) -> Generator[Event, None, tuple[_Outcome, Table]]:
        if path in own:
            return FileSkipped(path, None, "labels that this program wrote"), {}
        whole = part_of.get(os.path.realpath(path))
        if whole is not None:
            is_link = os.path.realpath(path) == os.path.realpath(whole)
            return FileSkipped(path, None, f"{'the same file as' if is_link else 'part of'} {whole.name}"), {}
        job = _Job(path, targets[path], model, config, batch, corrections, weights)
        part_of.update(dict.fromkeys(map(os.path.realpath, job.image.files), path))
        return (yield from job.run(stop))

    for number, path in enumerate(files, start=1):
        if _is_set(stop):
            break
        yield FileStarted(path, number, len(files))
        try:
            event, table = yield from segment(path)
        except ConfigError:  # it would be the same for every file
            raise
        except (UNetError, OSError, MemoryError) as error:
            if _is_set(stop):
                break
            why = "it needs more memory than there is" if isinstance(error, MemoryError) else str(error)
            event, table = FileFailed(path, why), {}
        result._add(event, table)
        yield event
    result.stopped = _is_set(stop)
    return result


class _Job:
    """One image of a batch: opened, its settings worked out."""

    def __init__(
        self,
        path: Path,
        target: Path,
        model: Model,
        config: PredictConfig,
        batch: BatchConfig,
        corrections: Corrections | None,
        weights: str,
    ) -> None:
        self._path, self._target, self._model, self._batch = path, target, model, batch
        self.image = at_level(path, batch.level, config.object_diameter_px, model.spec.object_diameter_px)
        self._axes = axes_of(self.image, batch.axes)
        self._config = for_image(config, self.image, self._axes, batch.channels, model.spec)
        self._checked = corrections.of(self.image, self._axes) if corrections is not None else None
        self._corrections = corrections
        self._recipe = {
            "weights": weights,
            "settings": self._config.model_dump(mode="json", exclude=_NO_MATTER),
            "axes": self._axes,
            "level": self.image.level,
            "image": identity_of(self.image),
            "corrections": self._checked and digest(self._checked.labels, self._checked.status),
        }

    def run(self, stop: StopFlag | None) -> Generator[Event, None, tuple[FileDone | FileSkipped, Table]]:
        """Segment the image, or find its labels; measure them."""
        try:
            return (yield from self._run(stop))
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def _scratch(self) -> Path:
        """Where large labels are until they are written; what is left of a run that was killed lies beside it."""
        return self._target.with_name(f".{self._target.name}.unfinished.zarr")

    def _run(self, stop: StopFlag | None) -> Generator[Event, None, tuple[FileDone | FileSkipped, Table]]:
        event: FileDone | FileSkipped
        made = None if self._batch.overwrite else read_provenance(self._target)
        if same_recipe(made, self._recipe):
            event = FileSkipped(self._path, self._target, "done already with this model and these settings")
            opened = open_image(self._target)
            labels, axes = opened.data, opened.axes or label_axes(self._axes)
        else:
            shared = self._batch.output is not None
            check_target(self._target, self._path, made, overwrite=self._batch.overwrite, shared=shared)
            axes = label_axes(self._axes)
            labels, event = yield from self._segment(stop)
        if self._batch.rois and self._model.spec.task == "instances":
            write_rois(rois_path(self._target), labels, axes)
        return event, self._measured(labels, axes) if self._batch.measure else {}

    def _segment(self, stop: StopFlag | None) -> Generator[Event, None, tuple[Any, FileDone]]:
        sizes = zip(self._axes, self.image.shape, strict=True)
        is_large = 4 * prod(n for letter, n in sizes if letter not in "CS") > _IN_MEMORY
        out = self._scratch if is_large else None
        result = yield from iter_predict(
            self.image.data, self._model, axes=self._axes, config=self._config, out=out, stop=stop
        )
        labels: Any = result.labels
        if self._checked is not None and self._corrections is not None:
            if tuple(self._checked.labels.shape) != tuple(labels.shape):
                raise ImageError(
                    f"The corrections of {self._path.name} have the shape {tuple(self._checked.labels.shape)}, its "
                    f"labels {tuple(labels.shape)}. Segment the level that was corrected (--level), or leave the "
                    "corrections out (--ignore-corrections)."
                )
            labels = self._corrections.merge(self._checked, np.asarray(labels))
        axes = label_axes(self._axes)
        found = sum(1 for number in _numbers(labels, axes) if number)
        told = {**result.provenance, "corrections": self._corrected()}
        source = source_beside(self._target, self._path)
        provenance = {**told, "image": self._path.name, "source": source, "recipe": self._recipe}
        write_labels(
            self._target,
            labels,
            axes,
            pixel_size_um=self.image.pixel_size_um,
            provenance=provenance,
            frame_interval_s=self.image.frame_interval_s,
        )
        kept = f"{self._path.name}: what was checked in napari is in it, as it was left."
        notes = (*self.image.notes, *[kept] * (self._checked is not None), *self._advice(found, result.provenance))
        return labels, FileDone(self._path, self._target, found, told, notes)

    def _corrected(self) -> dict[str, int] | None:
        """Return how much of the labels a person has made; None where nobody did."""
        if self._checked is None:
            return None
        status = self._checked.status
        return {
            "checked_voxels": int(np.count_nonzero(status == Status.CHECKED)),
            "ignored_voxels": int(np.count_nonzero(status == Status.IGNORE)),
            "corrected_objects": len(self._checked.corrected),
        }

    def _advice(self, found: int, provenance: dict[str, Any]) -> list[str]:
        name, range_ = self._path.name, provenance.get("normalization", {"low": [0], "high": [1]})
        if all(low == high for low, high in zip(range_["low"], range_["high"], strict=True)):
            return [f"{name} has one value everywhere: there is nothing to see. Check the file and the channel."]
        if not found and self._model.spec.task == "instances":
            return [f"{name}: No objects. Check the object size, or try another model."]
        return []

    def _measured(self, labels: Any, axes: str) -> Table:
        checked, spec = self._checked, self._model.spec
        own = label_axes(self._axes)
        return measure(
            to_canonical(labels, axes)[:, 0],
            "TZYX",
            self.image.data,
            self._axes,
            task=spec.task,
            classes=[c.name for c in spec.classes],
            spatial_dims=spec.spatial_dims,
            pixel_size_um=self.image.pixel_size_um,
            channel_names=self.image.channel_names,
            status=None if checked is None else to_canonical(checked.status, own)[:, 0],
            corrected=frozenset() if checked is None else checked.corrected,
            file=str(self._path),
        )


def _is_set(stop: StopFlag | None) -> bool:
    return stop is not None and stop.is_set()


def _numbers(labels: Any, axes: str) -> set[int]:
    found: set[int] = set()
    for _, plane in label_planes(labels, axes):
        found.update(np.unique(plane).tolist())
    return found

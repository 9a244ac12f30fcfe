"""One image of a batch: segmented and measured, or its labels found, and all of it into files."""

from __future__ import annotations

import shutil
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status
from napari_unet.errors import ImageError
from napari_unet.events import FileDone, FileSkipped
from napari_unet.images import (
    label_axes,
    label_planes,
    measure_normalization,
    open_image,
    read_provenance,
    to_canonical,
    write_labels,
    write_rois,
)
from napari_unet.prediction.inputs import at_level, axes_of, for_image, identity_of
from napari_unet.prediction.measurements import Table, measure
from napari_unet.prediction.object_size import iter_surest_look
from napari_unet.prediction.outputs import check_target, digest, rois_path, same_recipe, source_beside
from napari_unet.prediction.predict import iter_predict
from napari_unet.prediction.suiting import is_strange
from napari_unet.prediction.view import known_axes, select_channels, viewed

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from threading import Event as StopFlag

    from napari_unet.events import Event
    from napari_unet.images import Normalization
    from napari_unet.models import Model
    from napari_unet.prediction.batch import BatchConfig, Corrections
    from napari_unet.prediction.config import PredictConfig

__all__ = ["ImageJob"]

_NO_MATTER = {"device", "tile", "batch"}
"""Settings that change how fast the labels are made, not which."""

_IN_MEMORY = 256 * 2**20
"""Labels of one image with more bytes are made on disk, where a run that was killed goes on."""


class ImageJob:
    """One image of a batch: opened, its settings worked out.

    Parameters
    ----------
    path : Path
    target : Path
        Where its labels go.
    model : Model
    config : PredictConfig
        Of the batch; its `object_diameter_px` counts pixels of the full resolution.
    batch : BatchConfig
    corrections : Corrections or None
    weights : str
        Hash of the model.

    Attributes
    ----------
    image : OpenedImage
    """

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
        self._finds_size = batch.find_size and self._config.object_diameter_px is None and model.spec.knows_size
        self._is_strange = False
        self._recipe = {
            "weights": weights,
            "settings": self._config.model_dump(mode="json", exclude=_NO_MATTER),
            "axes": self._axes,
            "level": self.image.level,
            "image": identity_of(self.image),
            "find_size": self._finds_size,
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
        normalization = self._normalization()
        config = yield from self._sized(normalization, stop)
        result = yield from iter_predict(
            self.image.data,
            self._model,
            axes=self._axes,
            config=config,
            normalization=normalization,
            out=out,
            stop=stop,
        )
        labels: Any = result.labels
        axes = label_axes(self._axes)
        if self._checked is not None and self._corrections is not None:
            if tuple(self._checked.labels.shape) != tuple(labels.shape):
                raise ImageError(
                    f"The corrections of {self._path.name} have the shape {tuple(self._checked.labels.shape)}, its "
                    f"labels {tuple(labels.shape)}. Segment the level that was corrected (--level), or leave the "
                    "corrections out (--ignore-corrections)."
                )
            labels = self._corrections.merge(self._checked, np.asarray(labels), axes)
        found = sum(1 for number in _numbers(labels, axes) if number)
        size = config.object_diameter_px
        told = {**result.provenance, "object_diameter_px": size, "corrections": self._corrected()}
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
        notes = (
            *self.image.notes,
            *[kept] * (self._checked is not None),
            *self._tell_size(size),
            *self._advice(found, result.provenance),
        )
        return labels, FileDone(self._path, self._target, found, told, notes)

    def _normalization(self) -> Normalization:
        """Measure the image once, for its object size and its labels."""
        spec = self._model.spec
        axes = known_axes(self.image.data, self._axes)
        seen = viewed(self.image.data, axes)
        channels = select_channels(seen, spec, self._config.channels, are_colours="S" in axes)
        return measure_normalization(channels, spec.percentiles)

    def _sized(self, normalization: Normalization, stop: StopFlag | None) -> Generator[Event, None, PredictConfig]:
        """Return the settings with the object size of this image, found where it is to be found."""
        if not self._finds_size:
            return self._config
        look = yield from iter_surest_look(
            self.image.data,
            self._model,
            axes=self._axes,
            normalization=normalization,
            config=self._config,
            stop=stop,
        )
        self._is_strange = is_strange(self._model.spec, look)
        size = None if look is None else look.object_size(self._model.spec)
        return self._config.model_copy(update={"object_diameter_px": size})

    def _tell_size(self, size: float | None) -> list[str]:
        spec = self._model.spec
        if size is None or not self._finds_size:
            return []
        full = size * self.image.levels[self.image.level].scale.get("X", 1.0)  # as --object-size counts
        return [
            f"{self._path.name}: the objects are about {full:.0f} px wide, {spec.object_diameter_px:.0f} in what "
            f"{spec.name!r} learned from: it saw the image at {spec.scale_for(size):.2g} times. To change that: "
            "--object-size."
        ]

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
        if self._is_strange:
            return [
                f"{name}: {self._model.spec.name!r} is less sure of these objects than of those it knows. Look at the "
                "labels; try another model with -m, or correct some objects in napari and train."
            ]
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


def _numbers(labels: Any, axes: str) -> set[int]:
    found: set[int] = set()
    for _, plane in label_planes(labels, axes):
        found.update(np.unique(plane).tolist())
    return found

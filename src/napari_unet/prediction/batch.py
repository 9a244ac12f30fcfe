"""Many images, one after the other: labels, measurements and outlines into files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from napari_unet.errors import ConfigError, UNetError
from napari_unet.events import FileDone, FileFailed, FileSkipped, FileStarted
from napari_unet.models import model_hash
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.image_job import ImageJob
from napari_unet.prediction.outputs import Format, label_paths, own_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from threading import Event as StopFlag

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.events import Event
    from napari_unet.images import OpenedImage
    from napari_unet.models import Model
    from napari_unet.prediction.measurements import Table

    _Outcome = FileDone | FileSkipped | FileFailed

__all__ = ["Batch", "BatchConfig", "Checked", "Corrections", "iter_segment_files"]


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
    find_size: bool = True
    """Find the object size of each image, see `find_object_size`, where none is given."""
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
        What was corrected, the predicted labels and their axes to the labels that are written.
    """

    of: Callable[[OpenedImage, str], Checked | None]
    merge: Callable[[Checked, NDArray[Any], str], NDArray[Any]]


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
        job = ImageJob(path, targets[path], model, config, batch, corrections, weights)
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


def _is_set(stop: StopFlag | None) -> bool:
    return stop is not None and stop.is_set()

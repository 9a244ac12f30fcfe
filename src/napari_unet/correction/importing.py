"""Labels that other programs made: read, made to fit, and taken over as one step that can be undone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_unet.annotation import Status
from napari_unet.correction.edits import IMPORT, Edit, refill
from napari_unet.correction.filling import pieces
from napari_unet.correction.pairing import ROI_SUFFIXES
from napari_unet.errors import ImageError
from napari_unet.generators import drained, scaled
from napari_unet.images import iter_rois_to_labels, open_image, read_rois

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.correction.arrays import Make
    from napari_unet.correction.edits import Box

__all__ = [
    "Incoming",
    "fit_labels",
    "import_edit",
    "iter_fit_labels",
    "iter_read_labels",
    "read_labels",
]

_LOOKING, _NUMBERING, _DRAWING = 0.4, 0.7, 0.6
"""Of the time that it takes, about: looking which numbers there are; numbering the pieces of a mask before those that
meet are joined; drawing ROIs."""

_ROOM = 2**20
"""Ids up to here stay, whatever the size of the image; tables of objects are as long as the highest id."""


@dataclass(frozen=True, eq=False)
class Incoming:
    """Labels that fit an image.

    Attributes
    ----------
    labels : ndarray of int32
        In the axes of the image without C and S.
    count : int
        Of the objects, or of the classes that are there.
    note : str
        What was done to make them fit; empty if nothing.
    """

    labels: NDArray[np.int32]
    count: int
    note: str = ""


def read_labels(path: Path, shape: Sequence[int], axes: str, *, classes: int = 0, make: Make | None = None) -> Incoming:
    """Read a label image, or ROIs of ImageJ, for an image in one go: see `iter_read_labels`."""
    return drained(iter_read_labels(path, shape, axes, classes=classes, make=make))


def iter_read_labels(
    path: Path, shape: Sequence[int], axes: str, *, classes: int = 0, make: Make | None = None
) -> Generator[float, None, Incoming]:
    """Read a label image, or ROIs of ImageJ, for an image; yields how far it is, 0 to 1.

    Parameters
    ----------
    path : Path
        TIFF, PNG, OME-Zarr; ``.roi`` or ``.zip``.
    shape : sequence of int
        Of the labels of the image.
    axes : str
        Of the labels of the image, letters of ``TZYX``.
    classes, make
        As for `fit_labels`.

    Raises
    ------
    ImageError
        If it cannot be read, or does not fit.
    """
    if path.suffix.lower() in ROI_SUFFIXES:
        drawing = iter_rois_to_labels(read_rois(path), shape, axes, make=make or np.zeros)
        drawn = yield from scaled(drawing, 0.0, _DRAWING)
        fitting = iter_fit_labels(drawn, shape, axes, name=path.name, classes=classes, make=make)
        return (yield from scaled(fitting, _DRAWING, 1.0))
    opened = open_image(path)
    if opened.axes is not None and "S" in opened.axes:
        raise ImageError(f"{path.name} is a picture in colours, not labels. Save it as 8 or 16 bit numbers.")
    found, own = opened.data, (opened.axes or "").replace("C", "")
    if opened.axes is not None and len(own) == found.ndim == len(axes) and set(own) == set(axes):
        found = found.transpose([own.index(letter) for letter in axes])
    return (yield from iter_fit_labels(found, shape, axes, name=path.name, classes=classes, make=make))


def fit_labels(
    found: Any, shape: Sequence[int], axes: str, *, name: str, classes: int = 0, make: Make | None = None
) -> Incoming:
    """Return labels from elsewhere as those of an image in one go: see `iter_fit_labels`."""
    return drained(iter_fit_labels(found, shape, axes, name=name, classes=classes, make=make))


def iter_fit_labels(
    found: Any, shape: Sequence[int], axes: str, *, name: str, classes: int = 0, make: Make | None = None
) -> Generator[float, None, Incoming]:
    """Return labels from elsewhere as those of an image; yields how far it is, 0 to 1.

    Axes of length 1 come and go; whole numbers in floats are numbers. A mask, which has one value besides 0, is parted
    into its separate pieces where objects are wanted.

    Parameters
    ----------
    found : array
    shape : sequence of int
        Of the labels of the image.
    axes : str
        Of the labels of the image, letters of ``TZYX``.
    name : str
        What to call them in messages.
    classes : int
        How many classes there are, without the background; 0 (default): they are objects.
    make : callable, optional
        Gives an array of zeros of a shape and a type, for labels that do not fit into memory (default: in memory). They
        are read in pieces.

    Raises
    ------
    ImageError
        If they do not fit; the message says why.
    """
    shape = tuple(shape)
    if [n for n in np.shape(found) if n > 1] != [n for n in shape if n > 1]:
        raise ImageError(
            f"{name} does not fit the image: it is {_sides(np.shape(found))}, and the image needs {_sides(shape)} "
            f"({axes}). Choose labels that were made on this image."
        )
    given = _lazy(found).reshape(shape)
    parts = list(pieces(tuple(slice(0, n) for n in shape)))
    values = np.zeros(0, np.int64)
    for number, part in enumerate(parts, start=1):
        values = np.union1d(values, _values(np.asarray(given[part]), name))
        yield _LOOKING * number / len(parts)
    change, note = _numbering(values, prod(shape), classes, name)
    labels = (make or np.zeros)(shape, np.int32)
    if change is None:
        count = yield from scaled(_part(given, labels, parts, axes), _LOOKING, 1.0)
        note = f"It is a mask: its {count} separate pieces become objects." if count > 1 else ""
        return Incoming(labels, count, note)
    for number, part in enumerate(parts, start=1):
        labels[part] = change(np.asarray(given[part]))
        yield _LOOKING + (1 - _LOOKING) * number / len(parts)
    return Incoming(labels, 1 if note else len(values), note)


def _lazy(found: Any) -> Any:
    """Return an array that can be reshaped without being read."""
    if isinstance(found, np.ndarray):
        return found
    import dask.array as da

    # without a name dask would read all of it to make one up
    return found if isinstance(found, da.Array) else da.from_array(found, name=False)  # type: ignore[no-untyped-call]


def _values(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the numbers in labels, without 0."""
    if labels.dtype.kind not in "buif" or (labels.dtype.kind == "f" and not (labels == np.rint(labels)).all()):
        raise ImageError(f"{name} is no label image: its values ({labels.dtype}) are no whole numbers.")
    if labels.size and labels.min() < 0:
        raise ImageError(f"{name} is no label image: it has values below 0.")
    values = np.unique(labels)
    return values[values > 0]


def _numbering(
    values: NDArray[Any], voxels: int, classes: int, name: str
) -> tuple[Callable[[NDArray[Any]], NDArray[Any]] | None, str]:
    """Return what makes labels here of those numbers, None for a mask of objects; and what to say of it."""
    highest = int(values.max(initial=0))
    if classes and len(values) == 1 and highest > classes:
        return lambda block: block > 0, "All of it becomes the first class."
    if classes and highest > classes:
        raise ImageError(f"{name} has values up to {highest}, this model has {classes} classes. Add classes first.")
    if len(values) == 1 and not classes:
        return None, ""
    if not classes and highest > max(_ROOM, voxels):
        return lambda block: np.where(block > 0, np.searchsorted(values, block) + 1, 0), ""
    return lambda block: block, ""


def import_edit(
    labels: NDArray[Any], status: NDArray[np.uint8], found: NDArray[Any], *, as_truth: bool, objects: bool = True
) -> Edit:
    """Return the step that takes labels over.

    Parameters
    ----------
    labels, status : ndarray
        As they are.
    found : ndarray of int
        In the same shape.
    as_truth : bool
        All of it is true, empty places too: everything becomes checked. Else it is to be checked: what is checked now
        stays, and the rest is filled with it.
    objects : bool
        False for classes.
    """
    whole = tuple(slice(0, n) for n in labels.shape)
    found = found.astype(labels.dtype)
    if as_truth:
        known = np.full_like(status, Status.CHECKED)
        return Edit(whole, labels.copy(), found, status.copy(), known, IMPORT)
    free = status == Status.UNCHECKED
    if objects and not free.all():
        return replace(refill(labels, status, found, whole), what=IMPORT)
    return Edit(whole, labels.copy(), np.where(free, found, labels), status.copy(), status.copy(), IMPORT)


def _part(mask: Any, labels: NDArray[np.int32], parts: Sequence[Box], axes: str) -> Generator[float, None, int]:
    """Give each separate piece of a mask a number, part by part, and return how many there are.

    `labels` is filled in. What follows in time is not one piece. `parts` are in the order of the voxels.
    """
    touching = ndi.generate_binary_structure(labels.ndim, 1)
    time = axes.find("T")
    if time >= 0:
        frames = np.moveaxis(touching, time, 0)
        frames[0] = frames[2] = False
    total, meetings = 0, [np.zeros((0, 2), np.int64)]
    for done, part in enumerate(parts, start=1):
        found, count = ndi.label(np.asarray(mask[part]) > 0, touching)
        labels[part] = np.where(found > 0, found + total, 0)
        for axis, where in enumerate(part):
            if where.start > 0 and axis != time:
                before, here = (
                    labels[(*part[:axis], slice(start, start + 1), *part[axis + 1 :])]
                    for start in (where.start - 1, where.start)
                )
                both = (before > 0) & (here > 0)
                meetings.append(np.unique(np.stack([before[both], here[both]], axis=1), axis=0))
        total += count
        yield _NUMBERING * done / len(parts)
    pairs = np.concatenate(meetings)
    graph = coo_array((np.ones(len(pairs), np.int8), tuple(pairs.T)), shape=(total + 1, total + 1))
    _, group = connected_components(graph, directed=False)
    first = np.unique(group, return_index=True)[1]  # numbers follow each other as the first voxels do
    numbers = np.argsort(np.argsort(first)).astype(np.int32)[group]
    for done, part in enumerate(parts if len(pairs) else (), start=1):
        labels[part] = numbers[labels[part]]
        yield _NUMBERING + (1 - _NUMBERING) * done / len(parts)
    return int(numbers.max())


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))

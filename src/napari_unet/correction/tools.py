"""Click tools on one object and its neighbours: merge, split, cut, fill. Pure functions that return an edit.

Each looks at the bounding boxes of its objects alone; give the boxes where they are known.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.draw import line as draw_line
from skimage.segmentation import watershed

from napari_unet.annotation import Status
from napari_unet.correction.edits import Box, Edit, make_edit, object_box
from napari_unet.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["cut_object", "fill_holes", "merge_objects", "split_object"]

_FAIR = 0.15
"""Of what is nearest to a click: the least that it gets where maps, image or shape draw the border."""


def merge_objects(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    numbers: Sequence[int],
    *,
    boxes: Sequence[Box] | None = None,
    bridge: int = 2,
) -> Edit | None:
    """Make one object of two or more. It keeps the first number and is checked in the planes that changed.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    numbers : sequence of int
    boxes : sequence of tuple of slice, optional
        Of the objects, in the same order.
    bridge : int
        Gaps of background up to twice this many voxels wide between the parts are filled (default 2), unless the
        background is checked.

    Returns
    -------
    Edit or None
        None if fewer than two of them exist.
    """
    found: Sequence[Box | None] = boxes or [object_box(labels, number) for number in numbers]
    there = {number: box for number, box in zip(numbers, found, strict=True) if box is not None}
    if len(there) < 2:
        return None
    box = _union(list(there.values()))
    before = labels[box]
    inside = np.isin(before, list(there))
    closed = _close(inside, bridge) & (before == 0) & (status[box] == Status.UNCHECKED)
    keep = next(iter(there))
    after = np.where(inside | closed, keep, before)
    return make_edit(labels, status, box, "merge", after, (after == keep) & _planes(before != after), frozenset(there))


def split_object(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    number: int,
    seeds: Sequence[Sequence[float]],
    fresh_id: int,
    *,
    maps: Any = None,
    image: Any = None,
    box: Box | None = None,
    spacing: Sequence[float] | None = None,
) -> Edit | None:
    """Divide an object between two or more clicks by a seeded watershed.

    Where the maps or the image know of no border between the clicks, the shape of the object decides; where that does
    not either, the border is halfway between the clicks.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    number : int
    seeds : sequence of points
        In voxels, one coordinate for each axis of the labels. Points of one part may not be joined: each is a part.
    fresh_id : int
        The first of the new ids; the part with most voxels keeps the old one.
    maps : array, optional
        The network's maps, one axis (foreground, boundary distance, centre distance) before those of the
        labels: the watershed follows the distances.
    image : array, optional
        In the axes of the labels: without maps the watershed follows its edges. Without both it follows the
        distance to the object's outline.
    box : tuple of slice, optional
        Of the object.
    spacing : sequence of float, optional
        Size of a voxel along each axis, for the distances (default: all equal).

    Returns
    -------
    Edit or None
        None if there is no such object.

    Raises
    ------
    AnnotationError
        If fewer than two of the seeds lie on different voxels of the object.
    """
    box = box or object_box(labels, number)
    if box is None:
        return None
    inside = labels[box] == number
    markers = np.zeros(inside.shape, np.int32)
    for point in seeds:
        place = tuple(round(c) - s.start for c, s in zip(point, box, strict=True))
        within = all(0 <= c < n for c, n in zip(place, inside.shape, strict=True))
        if within and inside[place] and not markers[place]:
            markers[place] = markers.max() + 1
    if markers.max() < 2:
        raise AnnotationError("Click two or more places inside one object to split it between them.")
    parts = _fair_parts(inside, markers, _landscapes(inside, box, maps, image, spacing), spacing)
    return _divide(labels, status, box, number, parts, fresh_id)


def cut_object(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    number: int,
    line: Sequence[Sequence[float]],
    fresh_id: int,
    *,
    box: Box | None = None,
) -> Edit | None:
    """Divide an object along a line that was drawn across it; in a stack the cut goes through all its planes.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    number : int
    line : sequence of points
        The way of the mouse; the last two coordinates count.
    fresh_id : int
        The first of the new ids; the part with most voxels keeps the old one.
    box : tuple of slice, optional
        Of the object.

    Returns
    -------
    Edit or None
        None if there is no such object.

    Raises
    ------
    AnnotationError
        If the line does not divide the object.
    """
    box = box or object_box(labels, number)
    if box is None:
        return None
    inside = labels[box] == number
    barrier = np.zeros(inside.shape[-2:], bool)
    corner = np.array([box[-2].start, box[-1].start])
    points = np.rint(np.array([tuple(point)[-2:] for point in line])).astype(int) - corner
    for start, stop in pairwise(points):
        rows, columns = draw_line(*start, *stop)
        seen = (rows >= 0) & (columns >= 0) & (rows < barrier.shape[0]) & (columns < barrier.shape[1])
        barrier[rows[seen], columns[seen]] = True
    # parts are joined by faces, so a slanted line is closed
    pieces_before = ndi.label(inside)[1]
    parts, count = ndi.label(inside & ~barrier)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    crumbs = np.flatnonzero(sizes < max(4, 0.01 * np.count_nonzero(inside)))
    parts[np.isin(parts, crumbs)] = 0
    kept = np.setdiff1d(np.unique(parts), [0])
    if len(kept) <= pieces_before:
        raise AnnotationError("The line does not cross the object. Draw it from outside to outside.")
    # a piece of the object that was apart before stays with the largest part of the rest
    parts = watershed(np.zeros(inside.shape, np.uint8), parts, mask=inside)
    parts = np.where(inside & (parts == 0), kept[np.argmax(sizes[kept])], parts)
    return _divide(labels, status, box, number, parts, fresh_id)


def fill_holes(labels: NDArray[Any], status: NDArray[np.uint8], number: int, *, box: Box | None = None) -> Edit | None:
    """Fill the holes of an object in each of its planes. Other objects in a hole, and what is ignored, stay.

    Returns
    -------
    Edit or None
        None if there is no such object, or it has no holes.
    """
    box = box or object_box(labels, number)
    if box is None:
        return None
    before = labels[box]
    after = before.copy()
    for plane in np.ndindex(before.shape[:-2]):
        filled = ndi.binary_fill_holes(before[plane] == number)
        after[plane][filled & (before[plane] == 0) & (status[box][plane] != Status.IGNORE)] = number
    if np.array_equal(before, after):
        return None
    return make_edit(
        labels, status, box, "fill holes", after, (after == number) & _planes(before != after), frozenset({number})
    )


def _fair_parts(
    inside: NDArray[np.bool_],
    markers: NDArray[np.int32],
    landscapes: Iterator[NDArray[np.float32]],
    spacing: Sequence[float] | None,
) -> NDArray[np.int32]:
    """Return the watershed on the first landscape on which no click is left with next to nothing.

    A click on a slope gets the few voxels behind it, and that is not what was meant by it.
    """
    halfway = watershed(ndi.distance_transform_edt(markers == 0, sampling=spacing), markers, mask=inside)
    shares = _FAIR * np.bincount(halfway.ravel())[1:]
    for landscape in landscapes:
        parts: NDArray[np.int32] = watershed(landscape, markers, mask=inside)
        if (np.bincount(parts.ravel(), minlength=shares.size + 1)[1:] >= shares).all():
            return parts
    return np.asarray(halfway, np.int32)


def _landscapes(
    inside: NDArray[np.bool_], box: Box, maps: Any, image: Any, spacing: Sequence[float] | None
) -> Iterator[NDArray[np.float32]]:
    """Yield what a watershed may rise along, the best first: low in the middle of the parts, high between them."""
    if maps is not None and maps.shape[0] >= 3:
        inward = np.asarray(maps[(slice(1, 3), *box)], np.float32).min(0)
        yield np.asarray(-ndi.gaussian_filter(np.where(inside, inward, 0), 1.0))
    elif maps is not None:
        yield np.asarray(-ndi.gaussian_filter(np.asarray(maps[(0, *box)], np.float32), 1.0))
    elif image is not None:
        pixels = np.nan_to_num(np.asarray(image[box], np.float32), posinf=0, neginf=0)
        yield ndi.gaussian_gradient_magnitude(pixels, 1.0)
    depth = ndi.distance_transform_edt(np.pad(inside, 1), sampling=spacing)
    yield -np.asarray(depth[(slice(1, -1),) * inside.ndim], np.float32)


def _divide(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    box: Box,
    number: int,
    parts: NDArray[Any],
    fresh_id: int,
) -> Edit:
    """Return the edit that gives the parts of an object ids of their own; the largest keeps the old one."""
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    ids = np.zeros(sizes.size, labels.dtype)
    others = np.setdiff1d(np.flatnonzero(sizes), [sizes.argmax()])
    ids[sizes.argmax()] = number
    ids[others] = fresh_id + np.arange(others.size)
    after = np.where(parts > 0, ids[parts], labels[box])
    corrected = frozenset(map(int, ids[ids > 0]))
    return make_edit(labels, status, box, "split", after, parts > 0, corrected)


def _close(inside: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Close gaps in each plane. Nothing reaches beyond the array."""
    closed = inside.copy()
    ball = ndi.iterate_structure(ndi.generate_binary_structure(2, 1), reach) if reach > 0 else None
    if ball is not None:
        for plane in np.ndindex(inside.shape[:-2]):
            closed[plane] = ndi.binary_closing(np.pad(inside[plane], reach), ball)[reach:-reach, reach:-reach]
    return closed


def _planes(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which planes (the last two axes) hold a change, to be broadcast."""
    return np.asarray(changed.any((-2, -1), keepdims=True))


def _union(boxes: list[Box]) -> Box:
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))

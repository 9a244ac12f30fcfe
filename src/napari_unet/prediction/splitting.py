"""Splits one component of the foreground into its objects, whole, or in windows where it is too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.prediction.components import Grid, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_unet.prediction.components import Box

__all__ = ["highest", "split", "split_in_windows"]

_SMOOTHING = 1.0
"""Sigma in voxels. Removes single-voxel peaks of the distance maps, which would become seeds of their own."""

_REACH = 4
"""How far the smoothing reaches, in voxels."""


def split(
    inside: NDArray[np.bool_],
    inward: NDArray[np.float32],
    at_edge: list[tuple[bool, bool]],
    threshold: float,
    peak: float = 0.0,
) -> NDArray[Any]:
    """Return the parts of one component, numbered from 1; zeros where it is a single object.

    The smoothing sees nothing beside the component, but its mirror image beyond the edge of an image that
    cuts it. A seed that reaches nowhere above `peak` makes no part of its own beside one that does.

    Parameters
    ----------
    inside : ndarray of bool
        ``(Z)YX``: the component in its bounding box.
    inward : ndarray of float32
        Distance to the boundary or from the rim, the smaller of both, there.
    at_edge : list of (bool, bool)
        For each axis whether the box starts and ends at the edge of the image.
    threshold : float
        Seeds are where the smoothed distance is above this.
    peak : float
        Distance that a seed has to exceed somewhere.
    """
    inward = np.where(inside, inward, 0)
    if inward.max() <= threshold:
        return np.zeros(inside.shape, np.int32)
    margin = [tuple(0 if cut else _REACH for cut in sides) for sides in at_edge]
    smooth = ndi.gaussian_filter(np.pad(inward, margin), _SMOOTHING, radius=_REACH)
    crop = tuple(slice(before, before + n) for (before, _), n in zip(margin, inside.shape, strict=True))
    peaks = smooth[crop]
    seeds, count = ndi.label(inside & (peaks > threshold))
    if count > 1:
        sure = highest(inward, seeds, count) > peak
        seeds, count = np.where(sure, sure.cumsum(), 0)[seeds], int(sure.sum())
    if count < 2:
        return np.zeros(inside.shape, np.int32)
    return np.asarray(watershed(-peaks, seeds, mask=inside))


def highest(values: NDArray[np.float32], parts: NDArray[Any], count: int) -> NDArray[np.float32]:
    """Return the highest value in each part; that of part 0, which is none, is 0."""
    found = np.zeros(count + 1, np.float32)
    inside = parts > 0
    np.maximum.at(found, parts[inside], values[inside])
    return found


def split_in_windows(
    read: Callable[[Box], tuple[NDArray[np.bool_], NDArray[np.float32]]],
    box: Box,
    shape: tuple[int, ...],
    threshold: float,
    voxels: int,
) -> Generator[tuple[Box, NDArray[np.int64]], None, NDArray[np.int64]]:
    """Split a component that is too large to be split whole, in windows that overlap.

    Windows lie on one grid of the image. Two objects of neighbouring windows are one where they are each other's
    best match in what both windows see, and cover half of the smaller there.

    Parameters
    ----------
    read : callable
        Takes a box, returns the component and the inward distance in it.
    box : tuple of slice
        Bounding box of the component.
    shape : tuple of int
        Of the image.
    threshold : float
        As for `split`.
    voxels : int
        Most that a window may have.

    Yields
    ------
    tuple
        Place of a window's core, and numbers from 1 there, 0 outside the component. Its return value is the group of
        each number: what is in one group is one object.
    """
    side = max(3, int(voxels ** (1 / len(shape)) + 1e-9))
    overlap = max(1, side // 6)
    grid = Grid(shape, (side - 2 * overlap,) * len(shape))
    strips: dict[tuple[int, tuple[int, ...]], NDArray[np.int64]] = {}
    pairs: list[NDArray[np.int64]] = []
    total = 0
    for position in sorted(grid.positions(box)):
        core = grid.box(position)
        wide = tuple(
            slice(max(0, s.start - overlap), min(n, s.stop + overlap)) for s, n in zip(core, shape, strict=True)
        )
        inside, inward = read(wide)
        labels = _window_labels(inside, inward, threshold) + total * inside
        total = max(total, int(labels.max(initial=0)))
        inner = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, wide, strict=True))
        for axis in range(len(shape)):
            low = (*inner[:axis], slice(inner[axis].start, inner[axis].start + overlap), *inner[axis + 1 :])
            high = (*inner[:axis], slice(inner[axis].stop, inner[axis].stop + overlap), *inner[axis + 1 :])
            before = strips.pop((axis, position), None)
            if before is not None:
                pairs.append(_same(before, labels[low]))
            above = tuple(p + (a == axis) for a, p in enumerate(position))
            if core[axis].stop < shape[axis]:
                strips[(axis, above)] = labels[high].copy()
        yield core, labels[inner]
    return joined(pairs, total + 1)


def _window_labels(inside: NDArray[np.bool_], inward: NDArray[np.float32], threshold: float) -> NDArray[np.int64]:
    pieces, count = ndi.label(inside)
    labels: NDArray[np.int64] = pieces.astype(np.int64)
    for number, found in enumerate(ndi.find_objects(pieces), start=1):
        # beyond the window it goes on: mirrored there, as at the edge of the image
        at_edge = [(s.start == 0, s.stop == n) for s, n in zip(found, pieces.shape, strict=True)]
        parts = split(pieces[found] == number, inward[found], at_edge, threshold)
        labels[found][parts > 1] = count + parts[parts > 1] - 1
        count += int(parts.max(initial=1)) - 1
    return labels


def _same(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which numbers of two opinions on the same voxels mean one object."""
    one, other = (array[tuple(slice(min(n, m)) for n, m in zip(one.shape, other.shape, strict=True))]
                  for array in (one, other))  # fmt: skip
    both = (one > 0) & (other > 0)
    pairs, shared = np.unique(np.stack([one[both], other[both]], axis=1), axis=0, return_counts=True)
    best: list[list[int]] = []
    for pair, count in zip(pairs, shared, strict=True):
        rivals = (pairs == pair).any(1)
        smaller = min(np.count_nonzero(one == pair[0]), np.count_nonzero(other == pair[1]))
        if count == shared[rivals].max() and 2 * count >= smaller:
            best.append([int(n) for n in pair])
    return np.array(best, np.int64).reshape(-1, 2)

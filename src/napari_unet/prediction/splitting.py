"""Splits one component of the foreground into its objects, whole, or in windows where it is too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

from napari_unet.prediction.components import Grid, joined
from napari_unet.prediction.stopping import unless_stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_unet.prediction.components import Box
    from napari_unet.prediction.stopping import Flag

__all__ = ["Basins", "highest", "smoothed", "split", "split_in_windows"]

_SMOOTHING = 1.0
"""Sigma in voxels. Removes single-voxel peaks of the distance maps, which would become seeds of their own."""

_REACH = 4
"""How far the smoothing reaches, in voxels."""


class Basins:
    """Every peak of the distance with its basin; which of them are one object is quickly told for any prominence.

    Two basins are one object unless the distance dips between them by a share of the lower peak: a share, because a
    network that is less sure draws all distances lower.

    Parameters
    ----------
    inside : ndarray of bool
        ``(Z)YX``: where the foreground is.
    inward : ndarray of float32
        Distance to the boundary or from the rim, the smaller of both.
    smooth : ndarray of float32
        The same without single-voxel peaks, which would have basins of their own.

    References
    ----------
    .. [1] Najman, Schmitt: Geodesic saliency of watershed contours and hierarchical segmentation, PAMI 1996.
    """

    def __init__(self, inside: NDArray[np.bool_], inward: NDArray[np.float32], smooth: NDArray[np.float32]) -> None:
        everywhere = np.ones((3,) * inside.ndim)
        tops, count = ndi.label(inside & (ndi.maximum_filter(smooth, 3) == smooth), everywhere)
        self._basins = watershed(-smooth, tops, mask=inside) if count > 1 else inside.astype(np.int32)
        self._peaks = highest(inward, self._basins, count)
        self._heights = highest(smooth, self._basins, count)
        self._saddles = _saddles(self._basins, smooth) if count > 1 else []

    def objects(self, prominence: float, peak: float = 0.0, *, unsure: bool = True) -> NDArray[Any]:
        """Return the objects, by numbers above 0; zeros where there is one at most.

        Parameters
        ----------
        prominence : float
            How deep the distance has to dip between two objects, 0 to 1.
        peak : float
            A basin that reaches nowhere above this is no object of its own beside one that does.
        unsure : bool
            Whether objects without any basin that does are returned too.
        """
        if unsure and len(self._peaks) < 3:  # that of the ground, and one
            return np.zeros(self._basins.shape, np.int32)
        sure = self._peaks > peak
        groups = _grouped(self._heights, self._saddles, sure, 1 - prominence)
        if unsure and groups.max() < 2:
            return np.zeros(self._basins.shape, np.int32)
        kept = groups if unsure else np.where(np.isin(groups, groups[sure]), groups, 0)
        return np.asarray(kept[self._basins])


def split(
    inside: NDArray[np.bool_],
    inward: NDArray[np.float32],
    at_edge: list[tuple[bool, bool]],
    prominence: float,
    peak: float = 0.0,
) -> NDArray[Any]:
    """Return the parts of one component, numbered from 1; zeros where it is a single object.

    The smoothing sees nothing beside the component, but its mirror image beyond the edge of an image that
    cuts it.

    Parameters
    ----------
    inside : ndarray of bool
        ``(Z)YX``: the component in its bounding box.
    inward : ndarray of float32
        Distance to the boundary or from the rim, the smaller of both, there.
    at_edge : list of (bool, bool)
        For each axis whether the box starts and ends at the edge of the image.
    prominence, peak : float
        As for `Basins.objects`.
    """
    if max(inside.shape) < 3:  # each voxel lies beside each other one: there is one peak
        return np.zeros(inside.shape, np.int32)
    inward = np.where(inside, inward, 0)
    return Basins(inside, inward, smoothed(inside, inward, at_edge)).objects(prominence, peak)


def smoothed(
    inside: NDArray[np.bool_], inward: NDArray[np.float32], at_edge: list[tuple[bool, bool]]
) -> NDArray[np.float32]:
    """Return the distance smoothed, 0 outside; parameters are those of `split`."""
    if not any(map(any, at_edge)):
        smooth = ndi.gaussian_filter(inward, _SMOOTHING, radius=_REACH, mode="constant")
        return np.where(inside, smooth, np.float32(0))
    margin = [tuple(0 if cut else _REACH for cut in sides) for sides in at_edge]
    smooth = ndi.gaussian_filter(np.pad(inward, margin), _SMOOTHING, radius=_REACH)
    crop = tuple(slice(before, before + n) for (before, _), n in zip(margin, inside.shape, strict=True))
    return np.where(inside, smooth[crop], np.float32(0))


def _saddles(basins: NDArray[Any], height: NDArray[np.float32]) -> list[tuple[float, int, int]]:
    """Return for each two neighbouring basins the highest way from one to the other, the highest first."""
    ways = []
    for axis in range(basins.ndim):
        before, after = ((slice(None),) * axis + (cut,) for cut in (slice(None, -1), slice(1, None)))
        one, other = basins[before], basins[after]
        beside = (one != other) & (one > 0) & (other > 0)
        pair = np.sort([one[beside], other[beside]], axis=0)
        ways.append(np.stack([*pair, np.minimum(height[before], height[after])[beside]]))
    one, other, level = np.concatenate(ways, axis=1)
    order = np.lexsort((-level, other, one))
    one, other, level = one[order], other[order], level[order]
    first = np.ones(len(one), bool)
    first[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return sorted(
        zip(level[first].tolist(), one[first].astype(int), other[first].astype(int), strict=True), reverse=True
    )


def _grouped(
    heights: NDArray[np.float32], saddles: list[tuple[float, int, int]], sure: NDArray[np.bool_], share: float
) -> NDArray[np.int32]:
    """Return the object of each basin, from 1; that of basin 0, which is none, is 0."""
    parent = list(range(len(heights)))
    top, is_sure = heights.tolist(), sure.tolist()

    def root(basin: int) -> int:
        while parent[basin] != basin:
            parent[basin] = parent[parent[basin]]
            basin = parent[basin]
        return basin

    for saddle, *pair in saddles:
        # the lower of both joins the other, and what is sure takes what is not
        lower, higher = sorted(map(root, pair), key=lambda basin: (is_sure[basin], top[basin]))
        if lower != higher and (not is_sure[lower] or saddle >= share * min(top[lower], top[higher])):
            parent[lower] = higher
    roots = np.array([root(basin) for basin in range(len(heights))])
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)


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
    prominence: float,
    voxels: int,
    stop: Flag | None = None,
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
    prominence : float
        As for `split`.
    voxels : int
        Most that a window may have.
    stop : threading.Event, optional
        Ends it, in the midst of a window too.

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
        labels = unless_stopped(stop, _window_labels, inside, inward, prominence) + total * inside
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


def _window_labels(inside: NDArray[np.bool_], inward: NDArray[np.float32], prominence: float) -> NDArray[np.int64]:
    pieces, count = ndi.label(inside)
    labels: NDArray[np.int64] = pieces.astype(np.int64)
    for number, found in enumerate(ndi.find_objects(pieces), start=1):
        # beyond the window it goes on: mirrored there, as at the edge of the image
        at_edge = [(s.start == 0, s.stop == n) for s, n in zip(found, pieces.shape, strict=True)]
        parts = split(pieces[found] == number, inward[found], at_edge, prominence)
        labels[found][parts > 1] = count + parts[parts > 1] - 1
        count += int(parts.max(initial=1)) - 1
    return labels


def _same(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which numbers of two opinions on the same voxels mean one object."""
    one, other = (array[tuple(slice(min(n, m)) for n, m in zip(one.shape, other.shape, strict=True))]
                  for array in (one, other))  # fmt: skip
    both = (one > 0) & (other > 0)
    pairs, shared = np.unique(np.stack([one[both], other[both]], axis=1), axis=0, return_counts=True)
    rivals, sizes = [], []
    for numbers, paired in zip((one, other), pairs.T, strict=True):
        known, size = np.unique(numbers, return_counts=True)
        place = np.searchsorted(known, paired)
        most = np.zeros(len(known), np.int64)
        np.maximum.at(most, place, shared)
        rivals.append(most[place])
        sizes.append(size[place])
    best = (shared == np.maximum(*rivals)) & (2 * shared >= np.minimum(*sizes))
    return np.asarray(pairs[best], np.int64).reshape(-1, 2)

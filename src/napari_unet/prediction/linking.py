"""Objects of one plane or frame linked to those of the one before: the same object gets the same id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from napari_unet.prediction.components import Grid, joined
from napari_unet.prediction.stopping import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event as StopFlag

    from numpy.typing import NDArray

__all__ = ["link", "link_arrays", "match"]


def link(before: NDArray[Any], labels: NDArray[Any], *, min_overlap: float = 0.5, above: int = 0) -> NDArray[np.int32]:
    """Return `labels` with the ids of the objects that they continue.

    Parameters
    ----------
    before, labels : ndarray of int
        The plane (or frame) before and the one to link to it, of one shape. 0 is background.
    min_overlap : float
        Least share of the smaller of two objects that lies on the other, for the two to be linked. Objects that end
        or begin get small quickly: intersection over union would lose them.
    above : int
        Objects that continue none get ids above this, in the order of theirs; at least the highest id so far.

    Returns
    -------
    ndarray of int32

    Notes
    -----
    One object continues at most one, and is continued by at most one: the pairs with the largest sum of intersections
    over unions (optimal assignment). It is no tracking: nothing is found again that was lost, divisions are not known.

    Examples
    --------
    >>> link(np.array([[7, 7, 0, 9]]), np.array([[1, 1, 2, 0]]), above=9)
    array([[ 7,  7, 10,  0]], dtype=int32)
    """
    linked = np.array(labels, np.int32)
    link_arrays(before, linked, labels.shape, min_overlap=min_overlap, base=0, above=above)
    return linked


def link_arrays(
    before: Any,
    labels: Any,
    block: Sequence[int],
    *,
    min_overlap: float,
    base: int,
    above: int,
    stop: StopFlag | None = None,
) -> int:
    """Link labels in place, block by block; return the highest id there is then.

    Parameters
    ----------
    before, labels : array
        Anything with a shape and slicing.
    block : sequence of int
        Voxels to work on at once, per axis.
    min_overlap : float
    base : int
        Ids in `labels` are above this.
    above : int
        As for `link`.
    stop : threading.Event, optional
        Ends it before the next block; the labels may be linked in part then.
    """
    grid = Grid(tuple(labels.shape), tuple(min(b, n) for b, n in zip(block, labels.shape, strict=True)))
    pairs, shared, sizes_before, sizes = _count(before, labels, grid, stop)
    ids = np.array(sorted(sizes), np.int64)
    continued = match(pairs, shared, sizes_before, sizes, min_overlap)
    new = np.zeros(int(ids.max(initial=base)) - base + 1, np.int32)
    highest = above
    for number in ids:
        if int(number) in continued:
            new[number - base] = continued[int(number)]
        else:
            highest += 1
            new[number - base] = highest
    for _, box in grid:
        check(stop)
        part = np.asarray(labels[box])
        if part.any():
            labels[box] = new[np.where(part > 0, part - base, 0)]
    return highest


def match(
    pairs: NDArray[np.int64],
    shared: NDArray[np.int64],
    sizes_before: dict[int, int],
    sizes: dict[int, int],
    min_overlap: float,
) -> dict[int, int]:
    """Return for objects that continue one which it is.

    Parameters
    ----------
    pairs : ndarray
        ``(pair, 2)``: objects before and now that overlap.
    shared : ndarray
        Voxels that they share.
    sizes_before, sizes : dict
        Voxels of each object.
    min_overlap : float
        Least share of the smaller one.
    """
    if not len(pairs):
        return {}
    size = np.array([(sizes_before[int(a)], sizes[int(b)]) for a, b in pairs])
    enough = shared >= min_overlap * size.min(axis=1)
    overlap = (shared / (size.sum(axis=1) - shared))[enough]
    pairs = pairs[enough]
    old, old_index = np.unique(pairs[:, 0], return_inverse=True)
    now, now_index = np.unique(pairs[:, 1], return_inverse=True)
    # few objects compete: each group of them is assigned on its own
    group = joined([np.stack([old_index, now_index + len(old)], axis=1)], len(old) + len(now))[old_index]
    order = np.argsort(group, kind="stable")
    continued: dict[int, int] = {}
    for some in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, row = np.unique(old_index[some], return_inverse=True)
        columns, column = np.unique(now_index[some], return_inverse=True)
        gain = np.zeros((len(rows), len(columns)))
        gain[row, column] = overlap[some]
        for r, c in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[r, c] > 0:
                continued[int(now[columns[c]])] = int(old[rows[r]])
    return continued


def _count(
    before: Any, labels: Any, grid: Grid, stop: StopFlag | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[int, int], dict[int, int]]:
    """Return which objects overlap, by how many voxels, and how many each has."""
    shared: dict[tuple[int, int], int] = {}
    sizes_before: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for _, box in grid:
        check(stop)
        one, other = np.asarray(before[box]), np.asarray(labels[box])
        for part, known in ((one, sizes_before), (other, sizes)):
            for number, count in _occurrences(part):
                known[number] = known.get(number, 0) + count
        both = (one > 0) & (other > 0)
        width = int(other.max(initial=0)) + 1
        for pair, count in _occurrences(one[both].astype(np.int64) * width + other[both]):
            key = divmod(pair, width)
            shared[key] = shared.get(key, 0) + count
    pairs = np.array(sorted(shared), np.int64).reshape(-1, 2)
    return pairs, np.array([shared[a, b] for a, b in pairs.tolist()], np.int64), sizes_before, sizes


def _occurrences(values: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Return the numbers other than 0, and how often each occurs."""
    if int(values.max(initial=0)) <= values.size:  # counting is faster than sorting
        counts = np.bincount(values.ravel())
        numbers = np.flatnonzero(counts)
        counts = counts[numbers]
    else:
        numbers, counts = np.unique(values, return_counts=True)
    found = zip(numbers.tolist(), counts.tolist(), strict=True)
    return (one for one in found if one[0] > 0)

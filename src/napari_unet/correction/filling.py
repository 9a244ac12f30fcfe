"""A new prediction into labels that a person has worked on, piece by piece: how large they are does not matter."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box

__all__ = ["Refill", "pieces", "within"]

_PIECE = 2**21
"""Voxels that are looked at together, where there are many: half a second of work, so that it can be stopped."""

_SIDE = 512
"""Of a chunk of the arrays on disk."""


_HALF = 32
"""Bits of the second of two numbers that are kept as one."""


def pieces(box: Box, voxels: int | None = None) -> Iterator[Box]:
    """Cut a box into parts of at most so many voxels (default 2 million), across its first axes where that will do.

    Planes that are larger are cut where chunks on disk end.
    """
    voxels = voxels or _PIECE
    lengths = [part.stop - part.start for part in box]
    if prod(lengths) <= voxels or max(lengths) <= 1:
        yield box
        return
    axis = next(n for n, length in enumerate(lengths) if length > 1)
    step = max(1, voxels // prod(lengths[axis + 1 :]))
    if axis == len(box) - 2 and _SIDE**2 <= voxels < _SIDE * lengths[-1]:
        columns = voxels // _SIDE // _SIDE * _SIDE
        for part in _steps(box[-1], columns):
            yield from pieces((*box[:-1], part), voxels)
        return
    if axis == len(box) - 2 and step > _SIDE:
        step -= step % _SIDE
    for part in _steps(box[axis], step):
        yield from pieces((*box[:axis], part, *box[axis + 1 :]), voxels)


def _steps(part: slice, step: int) -> Iterator[slice]:
    for start in range(part.start, part.stop, step):
        yield slice(start, min(start + step, part.stop))


def within(inner: Box, outer: Box) -> Box:
    """Return a box as it is counted from the corner of another that holds it."""
    return tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))


class _Rows(NamedTuple):
    """Voxels by the plane and what they have in common: predicted object, old object, whether they are known."""

    plane: NDArray[np.int64]
    number: NDArray[np.int64]
    old: NDArray[np.int64]
    kept: NDArray[np.int64]
    voxels: NDArray[np.int64]

    def those(self, wanted: NDArray[np.bool_]) -> _Rows:
        return _Rows(*(column[wanted] for column in self))

    @property
    def place(self) -> NDArray[np.int64]:
        """Plane and predicted object, two numbers in one."""
        return self.plane << _HALF | self.number

    @property
    def place_old(self) -> NDArray[np.int64]:
        return self.plane << _HALF | self.old


class Refill:
    """Which predicted objects are taken over, and under which number.

    What is known stays. A predicted object that shares half of itself, or of what is known of an object, with that
    object is that object: it yields, or goes on under its number where not all of it is known. One that only touches
    what is known gives way where it does.

    An object that was linked from planes is asked this in each of them, for linking errs: it yields in the planes where
    all is known of the object that it is, and what is above and below stays, each under a number of its own. Nobody has
    said how far an object goes that is known in a single plane: what it was linked with goes on under its number.

    First every piece is looked at, then it is decided, then every piece can be filled. Memory goes with the number of
    objects (of linked ones: in each plane), not of voxels. An object that was found before keeps its number, and with
    it its colour: what is seen to change has changed.

    Parameters
    ----------
    shape : tuple of int
        Of all that was predicted.
    linked : sequence of int
        Axes along which predicted objects were linked, plane by plane.
    """

    def __init__(self, shape: Sequence[int], linked: Sequence[int] = ()) -> None:
        self._linked = tuple(linked)
        self._lengths = tuple(shape[axis] for axis in self._linked)
        self._counts = [np.zeros((5, 0), np.int64)]
        self._places: NDArray[np.int64] = np.zeros(0, np.int64)  # a plane and a predicted object, two numbers in one
        self._numbers: NDArray[np.int64] = np.zeros(0, np.int64)

    def look(self, part: Box, predicted: NDArray[Any], old: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Count what a piece has of each object.

        Parameters
        ----------
        part : tuple of slice
            Where the piece is in what was predicted.
        predicted, old : ndarray of int
            New labels and those that are there, of the piece.
        status : ndarray of uint8
        """
        for plane, here in self._planes(part):
            found = _occurrences(predicted[here], old[here], status[here] != Status.UNCHECKED)
            self._counts.append(np.stack([np.full(found[0].size, plane), *found]))

    def decide(self, first_free: int) -> int:
        """Give new numbers, the first of them `first_free`; return the first that is free now."""
        rows = _Rows(*np.concatenate(self._counts, axis=1))
        rows, old = rows.those(rows.number > 0), rows.those(rows.old > 0)
        known, is_open = old.those(old.kept > 0), old.those(old.kept == 0)
        self._places, sizes = _sums(rows.voxels, rows.place)
        planes, ids = _apart(self._places)
        where, what, shared = self._shared(known, sizes)
        partner, whole = np.zeros_like(ids), np.zeros_like(ids)
        partner[self._at(where)] = what
        continues = (partner > 0) & np.isin(planes << _HALF | partner, is_open.place_old)
        hidden = np.bincount(self._at(rows.place), rows.voxels * rows.kept, ids.size)
        takes = (partner == 0) & (2 * hidden <= sizes)

        # in planes where nothing is known of the object that it is in others, it goes on under the number of that
        these, objects, _ = _largest(*_sums(shared, _apart(where)[1], what))
        is_one = np.isin(ids, these)
        whole[is_one] = objects[np.searchsorted(these, ids[is_one])]
        whole[~np.isin(whole, np.union1d(is_open.old, _in_one_plane(known)))] = 0
        follows = takes & (whole > 0) & ~np.isin(planes << _HALF | whole, known.place_old)

        rest = takes & ~follows
        unit = self._units(planes, ids, rest)
        before = self._found_before(rows.those((rows.old > 0) & (rows.kept == 0)), unit)
        before[np.isin(before, known.old)] = 0
        fresh = np.flatnonzero(before == 0)
        before[fresh] = np.arange(first_free, first_free + fresh.size)
        self._numbers = np.where(continues, partner, np.where(follows, whole, 0))
        self._numbers[rest] = before[unit[rest]]
        return first_free + int(fresh.size)

    def fill(self, part: Box, predicted: NDArray[Any], old: NDArray[Any], status: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the new labels of a piece."""
        new = np.empty_like(old)
        for plane, here in self._planes(part):
            first, end = np.searchsorted(self._places, [plane << _HALF, (plane + 1) << _HALF])
            ids = _apart(self._places[first:end])[1]
            numbers = np.zeros(int(ids.max(initial=0)) + 1, old.dtype)
            numbers[ids] = self._numbers[first:end]
            new[here] = numbers[predicted[here]]
        return np.where(status != Status.UNCHECKED, old, new)

    def _planes(self, part: Box) -> Iterator[tuple[int, tuple[slice, ...]]]:
        """Yield the number of each plane of a piece, and where it is in the piece."""
        for index in product(*(range(part[axis].start, part[axis].stop) for axis in self._linked)):
            here = [slice(None)] * len(part)
            for axis, n in zip(self._linked, index, strict=True):
                here[axis] = slice(n - part[axis].start, n - part[axis].start + 1)
            yield int(np.ravel_multi_index(index, self._lengths)) if index else 0, tuple(here)

    def _at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._places, places)

    def _shared(
        self, known: _Rows, sizes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the places whose object is one that is known there, which it is, and what they have in common."""
        places, known_sizes = _sums(known.voxels, known.place_old)
        both = known.those(known.number > 0)
        where, what, shared = _sums(both.voxels, both.place, both.old)
        of_known = known_sizes[np.searchsorted(places, where >> _HALF << _HALF | what)]
        # less is a neighbour that it touches
        is_it = 2 * shared > np.minimum(sizes[self._at(where)], of_known)
        return _largest(where[is_it], what[is_it], shared[is_it])

    def _units(self, planes: NDArray[np.int64], ids: NDArray[np.int64], rest: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for each place in `rest` which object it is of: what was taken out of one leaves several; else -1."""
        part, some = np.zeros_like(ids), np.flatnonzero(rest & np.isin(ids, ids[~rest]))
        some = some[np.argsort(ids[some], kind="stable")]
        for mine in np.split(some, np.flatnonzero(np.diff(ids[some])) + 1) if some.size else []:
            index = np.stack(np.unravel_index(planes[mine], self._lengths))
            grid = np.zeros(np.ptp(index, axis=1) + 1, bool)
            where = tuple(index - index.min(axis=1, keepdims=True))
            grid[where] = True
            part[mine] = ndi.label(grid)[0][where]
        unit = np.full_like(ids, -1)
        unit[rest] = np.unique(np.stack([ids[rest], part[rest]]), axis=1, return_inverse=True)[1]
        return unit

    def _found_before(self, rows: _Rows, unit: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each object the number it had, 0 where it had none.

        Two objects are the same where they have more in common with each other than with any third.
        """
        before = np.zeros(int(unit.max(initial=-1)) + 1, np.int64)
        mine = unit[self._at(rows.place)]
        units, olds, common = _sums(rows.voxels[mine >= 0], mine[mine >= 0], rows.old[mine >= 0])
        first, its_old, _ = _largest(units, olds, common)
        first_old, its_unit, _ = _largest(olds, units, common)
        same = its_unit[np.searchsorted(first_old, its_old)] == first
        before[first[same]] = its_old[same]
        return before


def _in_one_plane(known: _Rows) -> NDArray[np.int64]:
    numbers, planes = np.unique(_apart(np.unique(known.place_old))[1], return_counts=True)
    alone: NDArray[np.int64] = numbers[planes == 1]
    return alone


def _occurrences(predicted: NDArray[Any], old: NDArray[Any], kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Return what occurs together where there is an object, and how often."""
    columns = [array.ravel() for array in (predicted, old, kept)]
    changes = np.flatnonzero(np.logical_or.reduce([column[1:] != column[:-1] for column in columns]))
    starts = np.concatenate([[0], changes + 1])
    lengths = np.diff(starts, append=columns[0].size)
    one, other, known = (column[starts].astype(np.int64) for column in columns)
    some = (one > 0) | (other > 0)
    return _sums(lengths[some], one[some], other[some], known[some])


def _sums(values: NDArray[np.int64], *columns: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Return what columns hold, each combination once and sorted, and the sum of the values of each."""
    order = np.lexsort(columns[::-1])
    columns = tuple(column[order] for column in columns)
    is_new = np.ones(order.size, bool)
    is_new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    starts = np.flatnonzero(is_new)
    sums = np.add.reduceat(values[order], starts) if starts.size else values[:0]
    return *(column[starts] for column in columns), sums


def _largest(
    ids: NDArray[np.int64], others: NDArray[np.int64], amounts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return each id once, sorted, with that of the others of which it has most, and how much."""
    order = np.lexsort((others, -amounts))
    ids, first = np.unique(ids[order], return_index=True)
    return ids, others[order][first], amounts[order][first]


def _apart(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two numbers that are in each."""
    return keys >> _HALF, keys & ((1 << _HALF) - 1)

"""A new prediction into labels that a person has worked on, piece by piece: how large they are does not matter."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _either(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which numbers are in one of two sets, or in both."""
    size = max(one.size, other.size)
    return np.asarray(np.pad(one, (0, size - one.size)) | np.pad(other, (0, size - other.size)))


def _in_common(predicted: NDArray[Any], old: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which objects have voxels in common, two numbers in one, and how many."""
    one, other = predicted.ravel(), old.ravel()
    changes = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=one.size)
    both = (one[starts] > 0) & (other[starts] > 0)
    starts, lengths = starts[both], lengths[both]
    keys, place = np.unique(one[starts].astype(np.int64) << _HALF | other[starts].astype(np.int64), return_inverse=True)
    return keys, np.bincount(place, lengths, keys.size).astype(np.int64)


def _apart(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the two numbers that are in each."""
    return keys >> _HALF, keys & ((1 << _HALF) - 1)


class Refill:
    """Which predicted objects are taken over, and under which number.

    What is known stays. A predicted object that shares half of itself, or of what is known of an object, with that
    object is that object: it yields, or goes on under its number where not all of it is known. One that only touches
    what is known gives way where it does.

    First every piece is looked at, then it is decided, then every piece can be filled. Memory goes with the number of
    objects, not of voxels. An object that was found before keeps its number, and with it its colour: what is seen to
    change has changed.
    """

    def __init__(self) -> None:
        self._sizes: NDArray[np.int64] = np.zeros(1, np.int64)
        self._on_kept: NDArray[np.int64] = np.zeros(1, np.int64)
        self._shared: dict[tuple[int, int], int] = {}
        self._open: NDArray[np.bool_] = np.zeros(1, bool)
        self._known: NDArray[np.int64] = np.zeros(1, np.int64)
        self._runs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._new_ids: NDArray[np.int64] = np.zeros(1, np.int64)

    def look(self, predicted: NDArray[Any], old: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Count what a piece has of each object.

        Parameters
        ----------
        predicted, old : ndarray of int
            New labels and those that are there, of a piece.
        status : ndarray of uint8
        """
        count = max(int(predicted.max(initial=0)) + 1, self._sizes.size)
        if count > self._sizes.size:
            room = max(count, 2 * self._sizes.size)
            self._sizes, self._on_kept = (np.pad(a, (0, room - a.size)) for a in (self._sizes, self._on_kept))
        sizes = np.bincount(predicted.ravel())
        self._sizes[: sizes.size] += sizes
        kept = status != Status.UNCHECKED
        any_kept = bool(kept.any())
        if old.any():
            self._runs.append(_in_common(predicted, np.where(kept, 0, old) if any_kept else old))
            self._open = _either(self._open, np.bincount(old[~kept] if any_kept else old.ravel()) > 0)
        if not any_kept:
            return
        known = np.bincount(old[kept])
        size = max(known.size, self._known.size)
        self._known = np.pad(known, (0, size - known.size)) + np.pad(self._known, (0, size - self._known.size))
        on_kept = np.bincount(predicted[kept].ravel())
        self._on_kept[: on_kept.size] += on_kept
        keys, shared = _in_common(predicted, np.where(kept, old, 0))
        for number, kept_number, voxels in zip(*_apart(keys), shared, strict=True):
            pair = int(number), int(kept_number)
            self._shared[pair] = self._shared.get(pair, 0) + int(voxels)

    def decide(self, first_free: int) -> int:
        """Give new numbers, the first of them `first_free`; return the first that is free now."""
        partner, most = np.zeros_like(self._sizes), np.zeros_like(self._sizes)
        for (number, kept_number), voxels in sorted(self._shared.items()):
            # less is a neighbour that it touches
            is_it = 2 * voxels > min(self._sizes[number], self._known[kept_number])
            if is_it and voxels > most[number]:
                partner[number], most[number] = kept_number, voxels
        continues = np.isin(partner, np.flatnonzero(self._open)) & (partner > 0)
        drops = (partner > 0) & ~continues
        drops |= 2 * self._on_kept > self._sizes
        takes = ~continues & ~drops & (self._sizes > 0)
        takes[0] = False
        before = self._found_before(takes)
        fresh = takes & (before == 0)
        after = first_free + int(np.count_nonzero(fresh))
        self._new_ids = before
        self._new_ids[fresh] = np.arange(first_free, after)
        self._new_ids[continues] = partner[continues]
        return after

    def _found_before(self, takes: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for each predicted object the number it had, 0 where it had none that is free now.

        Two objects are the same where they have more in common with each other than with any third.
        """
        before = np.zeros_like(self._sizes)
        if not self._runs:
            return before
        keys, counts = (np.concatenate(some) for some in zip(*self._runs, strict=True))
        pairs, place = np.unique(keys, return_inverse=True)
        common = np.bincount(place, counts, pairs.size)
        numbers, old = _apart(pairs)
        order = np.argsort(-common, kind="stable")
        numbers, old = numbers[order], old[order]
        first, first_old = (np.zeros(ids.size, bool) for ids in (numbers, old))
        first[np.unique(numbers, return_index=True)[1]] = True
        first_old[np.unique(old, return_index=True)[1]] = True
        same = first & first_old & takes[numbers] & ~np.isin(old, np.flatnonzero(self._known))
        before[numbers[same]] = old[same]
        return before

    def fill(self, predicted: NDArray[Any], old: NDArray[Any], status: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the new labels of a piece."""
        new = self._new_ids.astype(old.dtype)[predicted]
        return np.where(status != Status.UNCHECKED, old, new)

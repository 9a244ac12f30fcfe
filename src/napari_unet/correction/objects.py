"""Where each object is, kept up to date edit by edit: no click searches the image."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box, Edit

__all__ = ["ObjectTable", "count_pieces"]

_MANY = 2**18
"""Voxels from which counting beats sorting."""


_MOST_TO_SEARCH = 2**20
"""Voxels of a box beyond which it may be larger than its object that has lost some."""

_VOXELS_PER_OBJECT = 250
"""So many voxels are counted in the time in which one box is compared."""


class ObjectTable:
    """Bounding box, size and checked voxels of each object.

    Built once from the whole arrays; an update costs time by the size of the edit and of the objects it shrinks.

    Parameters
    ----------
    labels : ndarray of int
    status : ndarray of uint8
    boxes : iterable of tuple of slice, optional
        Parts, none of them over another, that hold everything there is. None: one, the whole.
    """

    def __init__(self, labels: NDArray[Any], status: NDArray[np.uint8], boxes: Iterable[Box] | None = None) -> None:
        self._boxes: dict[int, Box] = {}
        self._sizes: dict[int, int] = {}
        self._checked: dict[int, int] = {}
        self._known: NDArray[np.int64] = np.zeros((2, 0, 0), np.int64)
        self._stale: set[int] = set()
        for box in [tuple(slice(0, n) for n in labels.shape)] if boxes is None else boxes:
            self.add(labels, status, box)

    def add(self, labels: NDArray[Any], status: NDArray[np.uint8], part: Box) -> None:
        """Take up what is in a part of the arrays that was not counted yet."""
        here, known_here = labels[part], status[part]
        if not here.any():
            return
        for number, inner in enumerate(ndi.find_objects(here), start=1):
            if inner is not None:
                box = tuple(slice(i.start + o.start, i.stop + o.start) for i, o in zip(inner, part, strict=True))
                self._boxes[number] = _union(self._boxes[number], box) if number in self._boxes else box
                self._stale.add(number)
        for plane, known in zip(here, known_here, strict=True):
            _add(self._sizes, plane, 1)
            _add(self._checked, plane[known == Status.CHECKED], 1)

    def update(self, edit: Edit, labels: NDArray[Any], *, reverted: bool = False) -> None:
        """Follow an edit that was applied to the labels, or reverted."""
        old, new = (edit.labels_before, edit.status_before), (edit.labels_after, edit.status_after)
        if reverted:
            old, new = new, old
        relabelled = old[0] != new[0]
        changed = relabelled | (old[1] != new[1])
        for (numbers, known), sign in ((old, -1), (new, 1)):
            _add(self._checked, numbers[changed & (known == Status.CHECKED)], sign)
        lost, gained = (_counts(numbers[relabelled]) for numbers in (old[0], new[0]))
        _apply(self._sizes, lost, -1)
        _apply(self._sizes, gained, 1)
        touched = np.union1d(lost[0], gained[0])
        self._stale.update(touched.tolist())
        here = _boxes_in(new[0], touched[touched > 0], edit.box)
        shrunk = {int(number) for number in lost[0]}
        for number in map(int, touched[touched > 0]):
            before, now = self._boxes.pop(number, None), here.get(number)
            if number not in self._sizes:
                continue
            if before is None or _contains(edit.box, before):
                box = now
            elif number not in shrunk and now is not None:
                box = _union(before, now)
            else:
                box = _tighten(labels, number, before if now is None else _union(before, now))
            if box is not None:
                self._boxes[number] = box

    def exchanged(self, before: ObjectTable, after: ObjectTable, labels: NDArray[Any]) -> ObjectTable:
        """Return what becomes of it where parts of the arrays get other contents.

        Parameters
        ----------
        before, after : ObjectTable
            Of these parts alone, as they were and as they are.
        labels : ndarray of int
            All of them, as they are.
        """
        table = ObjectTable(labels, labels, ())
        for mine, old, new, sums in (
            (self._sizes, before._sizes, after._sizes, table._sizes),
            (self._checked, before._checked, after._checked, table._checked),
        ):
            sums.update(mine)
            for counts, sign in ((old, -1), (new, 1)):
                for number, count in counts.items():
                    sums[number] = sums.get(number, 0) + sign * count
            for number in [number for number in old if not sums[number]]:
                del sums[number]
        changed = before._sizes.keys() | after._sizes.keys()
        table._boxes.update(self._boxes)
        for number in changed:
            if number not in table._sizes:
                table._boxes.pop(number, None)
                continue
            elsewhere = self._sizes.get(number, 0) - before._sizes.get(number, 0)
            now = after._boxes.get(number)
            box = self._boxes[number] if elsewhere else after._boxes[number]
            if elsewhere and now is not None:
                box = _union(box, now)
            if elsewhere and number in before._sizes and prod(s.stop - s.start for s in box) <= _MOST_TO_SEARCH:
                box = _tighten(labels, number, box) or box
            table._boxes[number] = box
        table._known = self._known
        table._stale.update(self._stale, changed)
        return table

    def box(self, number: int) -> Box | None:
        """Return the bounding box of an object, None if there is none of that number."""
        return self._boxes.get(number)

    def count_in(self, labels: NDArray[Any], box: Box) -> int:
        """Return how many objects have voxels in a box: by the size of the box, or by the number of objects."""
        inner = tuple(slice(*s.indices(n)[:2]) for s, n in zip(box, labels.shape, strict=True))
        if not self._boxes or all(s == slice(0, n) for s, n in zip(inner, labels.shape, strict=True)):
            return len(self)
        if prod(max(0, s.stop - s.start) for s in inner) <= _VOXELS_PER_OBJECT * len(self):
            return len(_counts(labels[inner])[0])
        starts, stops = self._corners()
        low, high = np.array([(s.start, s.stop) for s in inner]).T
        touches = ((starts < high) & (stops > low)).all(1)
        within = touches & ((starts >= low) & (stops <= high)).all(1)
        cut = np.flatnonzero(touches & ~within)
        return int(np.count_nonzero(within)) + sum(_reaches_into(labels, int(number), inner, self) for number in cut)

    def size(self, number: int) -> int:
        """Return how many voxels an object has."""
        return self._sizes.get(number, 0)

    def is_checked(self, number: int) -> bool:
        """Whether something of an object is checked."""
        return number in self._checked

    def _corners(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the boxes start and stop, by number; empty ones for numbers that are free."""
        if self._stale:
            dims = max((len(box) for box in self._boxes.values()), default=0)
            corners = np.zeros((2, self.highest + 1, dims), np.int64)
            known = min(corners.shape[1], self._known.shape[1]) if self._known.shape[2] == dims else 0
            if known:
                corners[:, :known] = self._known[:, :known]
            for number in self._stale if known else self._boxes:
                if number < corners.shape[1]:
                    box = self._boxes.get(number, (slice(0, 0),) * dims)
                    corners[:, number] = [[s.start for s in box], [s.stop for s in box]]
            self._known = corners
            self._stale.clear()
        return self._known[0], self._known[1]

    @property
    def checked(self) -> int:
        """How many objects are checked."""
        return len(self._checked)

    @property
    def highest(self) -> int:
        """The highest number."""
        return max(self._boxes, default=0)

    def __len__(self) -> int:
        return len(self._boxes)

    def __iter__(self) -> Iterator[int]:
        return iter(self._boxes)


def count_pieces(labels: NDArray[Any], number: int, box: Box, reach: int = 3) -> int:
    """Return in how many pieces an object is. Pieces up to 2 `reach` voxels apart count as one.

    More than one is worth a look: two cells with one number, or a stroke that joined what it should not.
    """
    inside = np.pad(labels[box] == number, reach)
    count: int = ndi.label(ndi.binary_dilation(inside, iterations=reach))[1]
    return count


def _counts(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the numbers other than 0 among values, and how often each occurs."""
    if values.size > _MANY:
        counts = np.bincount(values.ravel())
        numbers = np.flatnonzero(counts)
        return numbers[numbers > 0], counts[numbers[numbers > 0]]
    numbers, counts = np.unique(values, return_counts=True)
    return numbers[numbers > 0], counts[numbers > 0]


def _add(table: dict[int, int], values: NDArray[Any], sign: int) -> None:
    _apply(table, _counts(values), sign)


def _apply(table: dict[int, int], counts: tuple[NDArray[Any], NDArray[np.int64]], sign: int) -> None:
    for number, count in zip(counts[0].tolist(), counts[1].tolist(), strict=True):
        total = table.get(number, 0) + sign * count
        if total:
            table[number] = total
        else:
            table.pop(number, None)


def _boxes_in(labels: NDArray[Any], numbers: NDArray[Any], outer: Box) -> dict[int, Box]:
    """Return the boxes, in the image, of some numbers in the labels of a box."""
    if not numbers.size:
        return {}
    if labels.size > _MANY:
        places = np.zeros(max(int(labels.max()), int(numbers.max())) + 1, np.int32)
        places[numbers] = np.arange(1, numbers.size + 1)
        compact = places[labels]
    else:
        at = np.minimum(np.searchsorted(numbers, labels), numbers.size - 1)
        compact = np.where(numbers[at] == labels, at + 1, 0)
    found = ndi.find_objects(compact, max_label=numbers.size)
    return {
        int(number): tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, outer, strict=True))
        for number, box in zip(numbers, found, strict=True)
        if box is not None
    }


def _reaches_into(labels: NDArray[Any], number: int, box: Box, table: ObjectTable) -> bool:
    there = table.box(number)
    if there is None:
        return False
    common = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(there, box, strict=True))
    return bool((labels[common] == number).any())


def _contains(outer: Box, inner: Box) -> bool:
    return all(o.start <= i.start and i.stop <= o.stop for o, i in zip(outer, inner, strict=True))


def _union(one: Box, other: Box) -> Box:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


def _tighten(labels: NDArray[Any], number: int, box: Box) -> Box | None:
    return _boxes_in(labels[box], np.array([number]), box).get(number)

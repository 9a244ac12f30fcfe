"""Connected components of a foreground that is read block by block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Box", "Components", "Grid", "find_components", "first_voxels", "joined"]

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Grid:
    """An array cut into blocks of one size; those at the upper ends are smaller.

    Attributes
    ----------
    shape, block : tuple of int
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks per axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Box]]:
        """Yield position and place of each block, in raster order."""
        for position in product(*map(range, self.counts)):
            yield position, self.box(position)

    def box(self, position: Sequence[int]) -> Box:
        """Return the place of a block."""
        return tuple(
            slice(p * b, min((p + 1) * b, n)) for p, b, n in zip(position, self.block, self.shape, strict=True)
        )

    def positions(self, box: Box) -> Iterator[tuple[int, ...]]:
        """Yield the positions of the blocks that a box touches."""
        ranges = (range(s.start // b, -(-s.stop // b)) for s, b in zip(box, self.block, strict=True))
        yield from product(*ranges)


@dataclass(frozen=True, eq=False)
class Components:
    """Connected components, numbered from 1 in the order of their first voxels.

    Attributes
    ----------
    numbers : dict
        For each block the component of each of its local labels; ``[0]`` is 0.
    boxes : ndarray
        ``(component, axis, 2)``: bounding boxes. Component 0 is empty.
    first : ndarray of int64
        Raster index of the first voxel of each component.
    size : ndarray of int64
        Voxels of each component.
    in_one_block : ndarray of bool
    """

    numbers: dict[tuple[int, ...], NDArray[np.int64]]
    boxes: NDArray[np.int64]
    first: NDArray[np.int64]
    size: NDArray[np.int64]
    in_one_block: NDArray[np.bool_]

    def box(self, number: int) -> Box:
        """Return the bounding box of a component."""
        return tuple(slice(int(a), int(b)) for a, b in self.boxes[number])


def find_components(foreground: Callable[[Box], NDArray[np.bool_]], grid: Grid) -> Components:
    """Find the components of each block, and join those that meet at a face between two blocks."""
    parts: list[tuple[NDArray[np.int64], ...]] = []  # boxes, first voxels and sizes of the labels of each block
    pairs: list[NDArray[np.int64]] = []
    faces: dict[tuple[int, tuple[int, ...]], NDArray[np.int64]] = {}
    ranges: dict[tuple[int, ...], tuple[int, int]] = {}
    total = 0
    for position, box in grid:
        local, count = ndi.label(foreground(box))
        ranges[position] = (total, count)
        for axis, (at, last) in enumerate(zip(position, grid.counts, strict=True)):
            if at > 0:
                pairs.append(_touching(faces.pop((axis, position)), _numbered(local.take(0, axis), total)))
            if at < last - 1:
                above = tuple(p + (a == axis) for a, p in enumerate(position))
                faces[(axis, above)] = _numbered(local.take(-1, axis), total)
        if count:
            parts.append(_measured(local, count, box, grid.shape))
        total += count
    return _joined_up(parts, pairs, ranges, total, len(grid.shape))


def first_voxels(local: NDArray[Any], count: int, box: Box, shape: Sequence[int]) -> NDArray[np.int64]:
    """Return for labels 0..count of a block the raster index, in the whole array, of their first voxels."""
    flat = local.ravel()
    order = np.flatnonzero(flat)[::-1]
    where = np.zeros(count + 1, np.int64)
    where[flat[order]] = order  # the last to be written is the first voxel
    coordinates = np.unravel_index(where, local.shape)
    first = [c + s.start for c, s in zip(coordinates, box, strict=True)]
    return np.asarray(np.ravel_multi_index(first, tuple(shape)), np.int64)


def joined(pairs: list[NDArray[np.int64]], total: int) -> NDArray[np.int64]:
    """Return for numbers ``0..total-1`` which group each belongs to, when pairs of them belong together."""
    edges = np.concatenate([np.empty((0, 2), np.int64), *pairs])
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(total, total))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _numbered(local: NDArray[np.int32], offset: int) -> NDArray[np.int64]:
    return np.where(local > 0, local.astype(np.int64) + offset, 0)


def _touching(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    both = (one > 0) & (other > 0)
    return np.unique(np.stack([one[both], other[both]], axis=1), axis=0)


def _measured(local: NDArray[np.int32], count: int, box: Box, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    start = np.array([s.start for s in box])[None, :, None]
    boxes = np.array([[(s.start, s.stop) for s in found] for found in ndi.find_objects(local)], np.int64) + start
    sizes = np.bincount(local.ravel(), minlength=count + 1)[1:]
    return boxes, first_voxels(local, count, box, shape)[1:], sizes


def _joined_up(
    parts: list[tuple[NDArray[np.int64], ...]],
    pairs: list[NDArray[np.int64]],
    ranges: dict[tuple[int, ...], tuple[int, int]],
    total: int,
    dims: int,
) -> Components:
    empty = (np.empty((0, dims, 2), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    boxes, first, size = (np.concatenate(columns) for columns in zip(empty, *parts, strict=True))
    group = joined([pair - 1 for pair in pairs], total)
    count = int(group.max(initial=-1)) + 1
    group_first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(group_first, group, first)
    rank = np.empty(count, np.int64)
    rank[np.argsort(group_first)] = np.arange(1, count + 1)
    number = rank[group]

    low = np.full((count + 1, dims), np.iinfo(np.int64).max)
    high = np.zeros((count + 1, dims), np.int64)
    np.minimum.at(low, number, boxes[..., 0])
    np.maximum.at(high, number, boxes[..., 1])
    low[0] = 0
    all_numbers = np.concatenate([[0], number])
    return Components(
        numbers={
            position: np.concatenate([[0], all_numbers[start + 1 : start + 1 + n]])
            for position, (start, n) in ranges.items()
        },
        boxes=np.stack([low, high], axis=-1),
        first=np.concatenate([[0], np.sort(group_first)]),
        size=np.bincount(number, size, minlength=count + 1).astype(np.int64),
        in_one_block=np.bincount(number, minlength=count + 1) <= 1,
    )

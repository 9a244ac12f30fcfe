"""Seam-exact tiling: the tiled prediction is the same function as the untiled one.

The image is mirrored outward without end; the network is shift-equivariant on the grid of its poolings and
sees no farther than its receptive radius. So tiles that start on that grid and carry a halo of at least the
radius give, on their core, just what one pass over the whole mirrored image gives::

    |<- halo ->|<-------- core -------->|<- halo ->|
    +----------+------------------------+----------+
    |  context |  kept                  |  context |   one tile
    +----------+------------------------+----------+
    start-halo start (on the grid)    stop     stop+halo

Where that halo costs too much, tiles with a smaller one overlap and are blended (`blending.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Tile", "cut_tile", "mirror_index", "plan_overlapping_tiles", "plan_tiles"]


@dataclass(frozen=True)
class Tile:
    """One forward pass: what the network reads and what of its output is kept, per axis.

    Attributes
    ----------
    start : tuple of int
        First voxel of the core, in the image; on the alignment grid.
    core : tuple of int
        Size of the core: of what the network puts out.
    keep : tuple of slice
        Where the kept part goes in the image: the core without what lies outside the region.
    """

    start: tuple[int, ...]
    core: tuple[int, ...]
    keep: tuple[slice, ...]

    @property
    def from_core(self) -> tuple[slice, ...]:
        """The kept part, counted from the start of the core."""
        return tuple(
            slice(keep.start - start, keep.stop - start) for keep, start in zip(self.keep, self.start, strict=True)
        )


def mirror_index(start: int, stop: int, n: int) -> NDArray[np.intp]:
    """Return the indices ``start..stop-1`` of an axis of length `n` mirrored outward without end.

    The edge voxel is not repeated (period ``2n - 2``); an axis of one voxel repeats it.

    Examples
    --------
    >>> mirror_index(-3, 6, 4)
    array([3, 2, 1, 0, 1, 2, 3, 2, 1])
    """
    if n == 1:
        return np.zeros(stop - start, np.intp)
    period = 2 * n - 2
    folded = np.arange(start, stop, dtype=np.intp) % period
    return np.minimum(folded, period - folded)


def plan_tiles(region: Sequence[slice], max_core: Sequence[int], alignment: Sequence[int]) -> list[Tile]:
    """Cover a region with cores of one size that start on the alignment grid.

    Parameters
    ----------
    region : sequence of slice
        What to predict, per axis, in voxels of the image.
    max_core : sequence of int
        Largest core per axis. The cores are evened out below it, so that none is nearly empty.
    alignment : sequence of int
        Product of the poolings per axis.

    Returns
    -------
    list of Tile
        In raster order. Their `keep` parts cover the region once, without overlap.

    Examples
    --------
    >>> [tile.start for tile in plan_tiles([slice(0, 100)], [48], [16])]
    [(0,), (48,), (64,)]
    """
    axes = [_plan_axis(*arguments) for arguments in zip(region, max_core, alignment, strict=True)]
    return [
        Tile(
            start=tuple(start for start, _, _ in parts),
            core=tuple(core for _, core, _ in parts),
            keep=tuple(keep for _, _, keep in parts),
        )
        for parts in product(*axes)
    ]


def _plan_axis(region: slice, max_core: int, step: int) -> list[tuple[int, int, slice]]:
    first = region.start // step * step
    last = -(-region.stop // step) * step
    count = -(-(last - first) // max(step, max_core // step * step))
    core = -(-(last - first) // (count * step)) * step
    parts = []
    done = region.start
    for number in range(count):
        start = min(first + number * core, last - core)
        stop = min(start + core, region.stop)
        if stop > done:
            parts.append((start, core, slice(done, stop)))
            done = stop
    return parts


def plan_overlapping_tiles(
    region: Sequence[slice], extent: Sequence[int], core: Sequence[int], overlap: Sequence[int]
) -> list[Tile]:
    """Return the tiles of one grid over the whole image that a region needs.

    Parameters
    ----------
    region : sequence of slice
    extent : sequence of int
        Size of the image.
    core : sequence of int
        From tile to tile.
    overlap : sequence of int
        How far the tiles reach beyond that on each side; at most half of it where there are three tiles or more.

    Returns
    -------
    list of Tile
        The longest axis of the image is gone along last, so that little waits for its neighbour. Their `keep` parts
        overlap.

    Examples
    --------
    >>> [(tile.start, tile.keep) for tile in plan_overlapping_tiles([slice(0, 90)], [90], [48], [16])]
    [((-16,), (slice(0, 64, None),)), ((32,), (slice(32, 90, None),))]
    """
    axes = [_plan_overlapping_axis(*arguments) for arguments in zip(region, extent, core, overlap, strict=True)]
    order = sorted(range(len(axes)), key=lambda axis: -extent[axis])
    back = [order.index(axis) for axis in range(len(axes))]
    found = []
    for parts in product(*(axes[axis] for axis in order)):
        starts, keeps = zip(*(parts[place] for place in back), strict=True)
        size = tuple(n + 2 * over for n, over in zip(core, overlap, strict=True))
        found.append(Tile(start=starts, core=size, keep=keeps))
    return found


def _plan_overlapping_axis(region: slice, extent: int, core: int, overlap: int) -> list[tuple[int, slice]]:
    parts = []
    for start in range(-overlap, extent - overlap, core):
        keep = slice(max(start, region.start), min(start + core + 2 * overlap, region.stop))
        if keep.start < keep.stop:
            parts.append((start, keep))
    return parts


def cut_tile(image: Any, tile: Tile, halo: Sequence[int], size: Sequence[int] | None = None) -> NDArray[Any]:
    """Cut a tile and its halo out of the mirrored image.

    Parameters
    ----------
    image : array
        ``C(Z)YX``, NumPy or dask: only the block that is needed is read.
    tile : Tile
    halo : sequence of int
        Context on each side, per spatial axis.
    size : sequence of int, optional
        Size of the result per spatial axis, where the network needs more than core + 2 halo (default).

    Returns
    -------
    ndarray
        ``C(Z)YX`` of that size.
    """
    indices = [
        mirror_index(start - margin, start - margin + length, n)
        for start, margin, length, n in zip(
            tile.start,
            halo,
            size or [core + 2 * margin for core, margin in zip(tile.core, halo, strict=True)],
            image.shape[1:],
            strict=True,
        )
    ]
    read = tuple(slice(int(index.min()), int(index.max()) + 1) for index in indices)
    result = np.asarray(image[(slice(None), *read)])
    for axis, (index, part) in enumerate(zip(indices, read, strict=True), start=1):
        local = index - part.start
        if not np.array_equal(local, np.arange(result.shape[axis])):
            result = np.take(result, local, axis=axis)
    return result

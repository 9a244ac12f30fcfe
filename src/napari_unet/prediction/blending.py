r"""Tiles that overlap, blended: where they meet, one fades out as the other fades in.

Along each axis the weights of two neighbours are ramps that sum to one; a voxel in a corner has the products. What a
tile puts out for a place that a later tile reaches, too, waits for it, so that each place is written once, when it is
complete::

    weight  1 |--------\  /---------
              |         \/
            0 |         /\
              |--------/  \---------
                      |<2 overlap>|
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_unet.prediction.planning import Layout
    from napari_unet.prediction.tiling import Tile

__all__ = ["Blend", "weights"]

Key = tuple[int, ...]
Place = tuple[slice, ...]


class Blend:
    """Sums up tiles that overlap and writes each place when the last tile that reaches it has come.

    Parameters
    ----------
    layout : Layout
    write : callable
        Takes a place in the image and its values (``C(Z)YX``).
    folder : Path, optional
        Where parts wait on disk, in files without a name. None: in memory.
    """

    def __init__(
        self, layout: Layout, write: Callable[[Place, torch.Tensor], None], folder: Path | None = None
    ) -> None:
        self._layout, self._write, self._folder = layout, write, folder
        self._waiting: dict[Key, list[tuple[Place, torch.Tensor]]] = defaultdict(list)
        self._done: set[Key] = set()

    def skip(self, done: Sequence[Tile], coming: Sequence[Tile]) -> list[Tile]:
        """Leave out what a run before this one has written; return the tiles that have to be run again for the rest."""
        self._done = {tile.start for tile in done} if coming else set()
        return [tile for tile in done if any(key not in self._done for key, _ in self._pieces(tile))] if coming else []

    def add(self, tile: Tile, values: torch.Tensor) -> None:
        """Take what a tile puts out on the part to keep (``C(Z)YX``)."""
        for axis, ramp in enumerate(weights(tile, self._layout), start=1):
            shape = [len(ramp) if a == axis else 1 for a in range(values.ndim)]
            values = values * torch.from_numpy(ramp).to(values.dtype).reshape(shape)
        own: tuple[Place, torch.Tensor] | None = None
        for key, place in self._pieces(tile):
            if key in self._done:
                continue
            part = values[(slice(None), *_within(place, tile.keep))]
            if key == tile.start:
                own = place, part
            else:
                self._waiting[key].append((place, self._put_away(part)))
        if own is not None:
            place, total = own
            for where, part in self._waiting.pop(tile.start, ()):
                total[(slice(None), *_within(where, place))] += part
            self._write(place, total)

    def _pieces(self, tile: Tile) -> Iterator[tuple[Key, Place]]:
        """Return the parts of a tile, each with the start of the tile that completes it."""
        layout = self._layout
        axes: list[list[tuple[int, slice]]] = []
        for start, keep, core, over, n in zip(
            tile.start, tile.keep, layout.core, layout.overlap, layout.extent, strict=True
        ):
            border = keep.stop if start + over + core >= n else min(max(start + core, keep.start), keep.stop)
            parts = [(start, slice(keep.start, border)), (start + core, slice(border, keep.stop))]
            axes.append([(owner, part) for owner, part in parts if part.start < part.stop])
        for chosen in product(*axes):
            yield tuple(owner for owner, _ in chosen), tuple(part for _, part in chosen)

    def _put_away(self, values: torch.Tensor) -> torch.Tensor:
        if self._folder is None:
            return values.clone()
        array = values.numpy()
        with tempfile.TemporaryFile(dir=self._folder) as file:  # the space is free again when the array is gone
            kept = np.memmap(file, array.dtype, "w+", shape=array.shape)
        kept[:] = array
        return torch.from_numpy(kept)


def weights(tile: Tile, layout: Layout) -> Iterable[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the weights of a tile along each axis of the part to keep."""
    for start, keep, core, over, n in zip(
        tile.start, tile.keep, layout.core, layout.overlap, layout.extent, strict=True
    ):
        place = np.arange(keep.start, keep.stop) + 0.5 - start
        ramp = np.ones(len(place))
        if start + over > 0:
            ramp *= np.clip(place / (2 * over), 0, 1)
        if start + over + core < n:
            ramp *= np.clip((core + 2 * over - place) / (2 * over), 0, 1)
        yield ramp


def _within(place: Place, whole: Place) -> Place:
    return tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(place, whole, strict=True))

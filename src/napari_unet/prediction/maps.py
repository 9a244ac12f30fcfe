"""Maps of one frame while it is predicted: in memory where they are small, else on disk in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.images import covering, resample_plane

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.prediction.view import View

__all__ = ["FrameMaps", "MapStore"]


class MapStore:
    """Maps on the grid that the network sees.

    Whatever it is kept in, it is read in half precision, so that labels do not depend on where the maps were kept.

    Parameters
    ----------
    count : int
        Number of maps.
    shape : sequence of int
        ``(Z)YX`` of the region.
    folder : Path, optional
        Where to keep them on disk; what is there already is taken up again. None: in memory.
    chunk : sequence of int
        Size of the tiles, per axis.
    offset : sequence of int
        How far inside the first tile's core the region starts: tiles and chunks coincide.
    """

    def __init__(
        self, count: int, shape: Sequence[int], folder: Path | None, chunk: Sequence[int], offset: Sequence[int]
    ) -> None:
        self.shape: tuple[int, ...] = (count, *shape)
        self.folder = folder
        self._offset = (0, *offset)
        if folder is None:
            self._offset = (0,) * len(self.shape)
            self.array: Any = np.empty(self.shape, np.float32)
            return
        import zarr

        padded = tuple(n + o for n, o in zip(self.shape, self._offset, strict=True))
        chunks = tuple(min(c, n) for c, n in zip((count, *chunk), padded, strict=True))
        if folder.exists():
            self.array = zarr.open_array(folder, mode="r+")
            if (self.array.shape, self.array.chunks) == (padded, chunks):
                return
        self.array = zarr.create_array(
            folder, shape=padded, chunks=chunks, dtype=np.float16, fill_value=0, compressors=None, overwrite=True
        )

    def write(self, where: Sequence[slice], values: NDArray[Any]) -> None:
        """Keep the maps (``C(Z)YX``) of a part of the region."""
        self.array[self._inside((slice(None), *where))] = values.astype(self.array.dtype, copy=False)

    def __getitem__(self, key: Sequence[slice]) -> NDArray[np.float32]:
        """Return a block as float32 that half precision can hold."""
        block = np.asarray(self.array[self._inside(key)])
        return block.astype(np.float16, copy=False).astype(np.float32)

    def _inside(self, key: Sequence[slice]) -> tuple[slice, ...]:
        parts = (part.indices(n) for part, n in zip(key, self.shape, strict=True))
        return tuple(slice(a + o, b + o) for (a, b, _), o in zip(parts, self._offset, strict=True))


class FrameMaps:
    """Maps of one frame on the grid of the image, brought there block by block.

    Attributes
    ----------
    shape : tuple of int
        ``C(Z)YX`` of the region.
    """

    def __init__(self, store: Any, view: View) -> None:
        self._store, self._view = store, view
        self.shape: tuple[int, ...] = (store.shape[0], *view.shape)

    def __getitem__(self, key: Sequence[slice]) -> NDArray[np.float32]:
        """Return a block; `key` has one slice, with a step of one, for each axis."""
        view = self._view
        if view.scale == 1:
            block: NDArray[np.float32] = self._store[tuple(key)]
            return block
        *lead, rows, columns = (slice(*part.indices(n)[:2]) for part, n in zip(key, self.shape, strict=True))
        wanted = [slice(p.start + w.start, p.stop + w.start) for p, w in zip((rows, columns), view.wanted, strict=True)]
        needed = [covering(part, view.scale, n) for part, n in zip(wanted, view.full, strict=True)]
        first = [part.start for part in view.region[-2:]]
        inside = [slice(p.start - f, p.stop - f) for p, f in zip(needed, first, strict=True)]
        source = self._store[(*lead, *inside)]
        return resample_plane(source, [part.start for part in needed], view.scale, wanted, view.full)

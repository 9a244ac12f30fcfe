"""Which image corrections belong to: where it was, and what it looks like."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ImageIdentity", "identify", "identity_in"]

_WHOLE = 4 * 2**20
"""Voxels up to which an image is hashed whole."""

_BLOCK = 64
_BLOCKS = 64


@dataclass(frozen=True)
class ImageIdentity:
    """What tells one image from another.

    Attributes
    ----------
    name : str
        File name, or the name of the layer where there is no file.
    path : str or None
        File or folder that it was read from; an address for a remote one; None: it has none.
    shape : tuple of int
    dtype : str
    axes : str
    digest : str
        Hash of shape, type and sampled pixels. Equal for the same pixels in memory, in dask and on disk.
    channel : int or None
        Which channel of its file it is, from 0; None: all of them.
    level : int
        Which resolution of a pyramid; 0 is the full one.
    """

    name: str
    path: str | None
    shape: tuple[int, ...]
    dtype: str
    axes: str
    digest: str
    channel: int | None = None
    level: int = 0

    @property
    def part(self) -> str:
        """What it is of its file, in words: ``channel 2 level 1``, channels counted from 1; empty for all of it."""
        channel = [] if self.channel is None else [f"channel {self.channel + 1}"]
        return " ".join([*channel, *[f"level {self.level}"] * bool(self.level)])

    @property
    def folder(self) -> Path | None:
        """Folder that the image is in; None if it has none on this machine."""
        if self.path is None or "://" in self.path:
            return None
        return Path(self.path).parent


def identify(
    image: Any,
    axes: str,
    *,
    path: str | Path | None = None,
    name: str = "image",
    channel: int | None = None,
    level: int = 0,
) -> ImageIdentity:
    """Return the identity of an image. Reads at most 64 blocks of 64 x 64 voxels of a large one.

    Parameters
    ----------
    image : array
        NumPy, dask or zarr.
    axes : str
    path : path, optional
        Where it was read from.
    name : str
        What to call it where there is no path.
    channel : int, optional
        Which channel of the file it is. None: all of them.
    level : int
        Which resolution of the file (default 0, the full one).
    """
    dtype = np.dtype(image.dtype)
    digest = hashlib.blake2b(repr((tuple(image.shape), dtype.kind, dtype.itemsize)).encode(), digest_size=16)
    for block in _sampled_blocks(image):
        digest.update(np.ascontiguousarray(block.astype(dtype.newbyteorder("<"), copy=False)).tobytes())
    where = None if path is None else str(path) if "://" in str(path) else str(Path(path).absolute())
    return ImageIdentity(
        name=name if where is None else where.rstrip("/").rpartition("/")[2] if "://" in where else Path(where).name,
        path=where,
        shape=tuple(int(n) for n in image.shape),
        dtype=dtype.name,
        axes=axes,
        digest=digest.hexdigest(),
        channel=None if where is None else channel,
        level=0 if where is None else level,
    )


def identity_in(known: Any) -> ImageIdentity | None:
    """Return the identity that a store has written down; None where that is damaged. Old ones have no channel."""
    names = {field.name for field in fields(ImageIdentity)}
    try:
        values = {name: value for name, value in known.items() if name in names}
        return ImageIdentity(**{**values, "shape": tuple(int(n) for n in values["shape"])})
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _sampled_blocks(image: Any) -> Iterator[np.ndarray[Any, Any]]:
    if np.prod(image.shape, dtype=np.int64) <= _WHOLE:
        yield np.asarray(image)
        return
    sides = [min(n, _BLOCK) if n > _BLOCK else 1 for n in image.shape]
    grid = [-(-n // side) for n, side in zip(image.shape, sides, strict=True)]
    count = int(np.prod(grid, dtype=np.int64))
    # golden-ratio steps fill the grid evenly
    places = sorted({int((step * 0.6180339887498949 % 1.0) * count) for step in range(_BLOCKS)})
    for place in places:
        corner = np.unravel_index(place, grid)
        yield np.asarray(
            image[tuple(slice(int(c) * side, (int(c) + 1) * side) for c, side in zip(corner, sides, strict=True))]
        )

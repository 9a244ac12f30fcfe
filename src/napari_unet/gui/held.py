"""Labels and status as they were left, read back piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.correction import pieces
from napari_unet.generators import scaled
from napari_unet.gui.room import fits, zeros_in_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_unet.correction import Box, Store

__all__ = ["Held", "read_back"]

_READING = 0.7
"""Of the time that it takes; the rest is counting."""


@dataclass
class Held:
    """What a document holds of an image.

    Attributes
    ----------
    labels : ndarray of int32
    framed : ndarray of uint8
        `Status` per voxel, with a frame of one unchecked pixel around each plane, so that napari draws the outline of
        what is checked along the edge of the image, too.
    is_large : bool
        Whether they are in a file instead of memory.
    found : object
        What the document has counted in them.
    """

    labels: NDArray[np.int32]
    framed: NDArray[np.uint8]
    is_large: bool
    found: Any = None

    @property
    def status(self) -> NDArray[np.uint8]:
        """Status per voxel, in the shape of the labels: what is inside the frame."""
        return self.framed[..., 1:-1, 1:-1]

    def zeros(self, dtype: Any) -> NDArray[Any]:
        """Return another array of the same shape, in memory or in a file as the others are."""
        return _zeros(self.labels.shape, dtype, self.is_large)


def read_back(
    shape: tuple[int, ...],
    store: Store | None,
    begin: Callable[[Held], Any],
    count: Callable[[Held, Box], None],
) -> Generator[float, None, Held]:
    """Return the work of reading labels and status as they were left; empty ones where there are none.

    Yields how far it is, 0 to 1. It may run in a worker.

    Parameters
    ----------
    shape : tuple of int
        Of the labels.
    store : Store or None
    begin : callable
        Returns what is `found` in labels where nothing was counted yet.
    count : callable
        Takes up what is in a part of them.
    """
    large = not fits(shape)
    framed = _zeros((*shape[:-2], *(n + 2 for n in shape[-2:])), np.uint8, large)
    held = Held(_zeros(shape, np.int32, large), framed, large)
    if store is None or store.is_empty:
        held.found = begin(held)
        return held
    into = {held.labels.dtype: held.labels, framed.dtype: held.status}
    yield from scaled(store.iter_load(lambda _, dtype: into[np.dtype(dtype)]), 0.0, _READING)
    held.found = begin(held)
    parts = list(pieces(tuple(slice(0, n) for n in shape)))
    for number, part in enumerate(parts, start=1):
        count(held, part)
        yield _READING + (1 - _READING) * number / len(parts)
    return held


def _zeros(shape: tuple[int, ...], dtype: Any, large: bool) -> NDArray[Any]:
    return zeros_in_file(shape, dtype) if large else np.zeros(shape, dtype)

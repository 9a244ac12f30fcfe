"""Writes into labels layers and shows just what has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box

__all__ = ["write_into"]

_MOST_VOXELS = 2**16
"""From so many changed voxels on the whole plane is drawn anew: napari keeps the indices of those that are not."""


def write_into(layer: Labels, box: Box, values: NDArray[Any]) -> None:
    """Write into the data of a layer; what the canvas shows of it follows, by the size of the change.

    Parameters
    ----------
    layer : Labels
        Its data must be a NumPy array.
    box : tuple of slice
    values : ndarray of int
        In the shape of the box.
    """
    changed = layer.data[box] != values
    count = int(np.count_nonzero(changed))
    if not count:
        return
    if layer.visible and count <= _MOST_VOXELS:
        indices = tuple(at + part.start for at, part in zip(np.nonzero(changed), box, strict=True))
        with layer.events.paint.blocker():
            layer.data_setitem(indices, values[changed])
        return
    layer.data[box] = values
    layer.refresh(thumbnail=False, highlight=False, extent=False)

"""Where labels are while a window has them: in memory, or in a file where they would take too much of it."""

from __future__ import annotations

import tempfile
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.prediction import free_memory_of_host
from napari_unet.user_data import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["MOST_AT_ONCE", "fits", "how_many_fit", "make_for", "zeros_in_file"]

MOST_AT_ONCE = 2**26
"""Voxels of labels in a file that are changed in one step, which holds them in memory several times."""


_BYTES = 5
"""Of labels and status, per voxel."""

_COPIES = 3
"""A step that takes over a whole prediction holds what was before and what is now beside the labels."""


def fits(shape: Sequence[int]) -> bool:
    """Return whether labels and status, and a step that changes all of them, fit into half of the free memory."""
    return _BYTES * _COPIES * prod(shape) <= free_memory_of_host() // 2


def how_many_fit(voxels: int, pixel_bytes: int) -> int:
    """Return how many parts of an image, with their labels and status, fit into a quarter of the free memory.

    Parameters
    ----------
    voxels : int
        Of a part.
    pixel_bytes : int
        What a voxel of the image takes, with all its channels.
    """
    return free_memory_of_host() // 4 // (voxels * (_BYTES + pixel_bytes))


def make_for(shape: Sequence[int]) -> Callable[..., Any] | None:
    """Return what gives arrays of zeros for labels that do not fit into memory; None where they do."""
    return None if fits(shape) else zeros_in_file


def zeros_in_file(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array of zeros whose memory is a file: the system takes it back where it is short.

    The file has no name, or goes with the program, and takes room on the disk only where something was written.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        made = np.memmap(file, dtype=np.dtype(dtype), mode="w+", shape=tuple(shape))
    return made.view(np.ndarray)

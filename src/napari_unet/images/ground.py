"""Whether objects are dark on bright ground, or bright on dark ground."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["has_bright_ground"]

_WINDOW = 512
_BRIGHT = 0.65
"""How far up between dark and bright the median of stained and unstained tissue and smears lies at least; that of
fluorescence, phase contrast and electron microscopy lies lower, with one exception in 350 planes of ten data sets."""


def has_bright_ground(image: Any) -> bool:
    """Return whether most of the middle of an image is about as bright as its brightest parts, as in stained tissue.

    Parameters
    ----------
    image : array
        ``TCZYX``, NumPy or dask: a window of 512 x 512 of the first channel is read, of the middle slice and frame.
    """
    if np.dtype(image.dtype).kind not in "buif" or 0 in image.shape:
        return False
    frames, _, slices, *sides = image.shape
    window = tuple(slice(max(0, (n - _WINDOW) // 2), (n + _WINDOW) // 2) for n in sides)
    values = np.asarray(image[(frames // 2, 0, slices // 2, *window)]).astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return False
    low, middle, high = np.percentile(finite, (1, 50, 99))
    return bool(middle - low > _BRIGHT * (high - low))

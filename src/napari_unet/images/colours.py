"""Colour pictures, for models that take their brightness or their colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_unet.images.lazy import lazy_array

__all__ = ["fit_colours"]

_IN_MEMORY = 2**24
"""Bytes of a picture that is averaged at once; of a larger one, block by block where it is needed."""


def fit_colours(image: Any, count: int) -> Any:
    """Return what a model of `count` channels takes of a colour picture (``TCZYX``).

    For one channel the brightness, which is the mean of red, green and blue as float32; otherwise its colours without
    transparency.

    Parameters
    ----------
    image : array
        NumPy or dask, or what has `select` and `averaged`.
    count : int
    """
    colours = list(range({2: 1, 4: 3}.get(image.shape[1], image.shape[1])))
    if count != 1 or len(colours) == 1:
        if len(colours) == image.shape[1]:
            return image
        return image.select(colours) if hasattr(image, "select") else image[:, : len(colours)]
    if hasattr(image, "averaged"):
        return image.averaged(colours)
    if isinstance(image, np.ndarray) and image.nbytes > _IN_MEMORY:
        image = lazy_array(image, (1, image.shape[1], 1, *(min(n, 1024) for n in image.shape[3:])))
    return image[:, : len(colours)].mean(axis=1, keepdims=True, dtype=np.float32)

"""Intensity normalisation. It belongs to the image, never to a tile, a view or a slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Normalization", "measure_normalization"]

_BLOCK = 256
_MAX_BLOCKS = 64


@dataclass(frozen=True)
class Normalization:
    """An affine map of the intensities, one per channel: `low` becomes 0 and `high` becomes 1.

    Attributes
    ----------
    low, high : tuple of float
        Intensities per channel. Where they coincide (a constant channel) the result is 0; where `low` is the larger
        one, what is dark becomes bright.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def is_constant(self) -> bool:
        """Whether every channel is constant, so that there is nothing to see."""
        return all(low == high for low, high in zip(self.low, self.high, strict=True))

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return `image` (``C(Z)YX``) normalised to float32; NaN and infinities become the low end."""
        shape = (-1,) + (1,) * (image.ndim - 1)
        low = np.asarray(self.low, np.float64).reshape(shape)
        high = np.asarray(self.high, np.float64).reshape(shape)
        with np.errstate(over="ignore", invalid="ignore"):
            span = np.where(high != low, high - low, np.inf)
            result = ((image.astype(np.float64, copy=False) - low) / span).astype(np.float32)
        if image.dtype.kind == "f":
            np.nan_to_num(result, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return result


def measure_normalization(image: Any, percentiles: tuple[float, float] = (1.0, 99.8)) -> Normalization:
    """Measure the normalisation of an image on a fixed sample of it.

    The sample is the whole image where that is small, else 64 blocks of 256x256 voxels at
    deterministic positions, spread over all frames and slices. So a view, a slice or a block of the image is
    normalised just as the whole.

    Parameters
    ----------
    image : array
        ``TCZYX``, NumPy or dask.
    percentiles : tuple of float
        Percentiles that become 0 and 1. The default, 1 and 99.8, is StarDist's. The larger one first turns the
        intensities over.

    Raises
    ------
    ImageError
        If the image is empty or of a type that has no order.
    """
    if 0 in image.shape:
        raise ImageError(f"The image is empty (shape {tuple(image.shape)}). Open one that has pixels.")
    if np.dtype(image.dtype).kind not in "buif":
        raise ImageError(f"Images of type {image.dtype} cannot be segmented. Convert the image to integers or floats.")
    lows, highs = [], []
    for channel in range(image.shape[1]):
        sample = np.concatenate([block.ravel() for block in _sample_blocks(image, channel)])
        finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
        low, high = _percentiles(finite, percentiles) if finite.size else (0.0, 0.0)
        if low == high and finite.size:
            # a few bright spots on an even ground: the percentiles coincide, the image is not constant
            ends = float(finite.min()), float(finite.max())
            low, high = ends if percentiles[0] < percentiles[1] else ends[::-1]
        lows.append(low)
        highs.append(high)
    return Normalization(tuple(lows), tuple(highs))


def _percentiles(values: NDArray[Any], percentiles: tuple[float, float]) -> tuple[float, float]:
    if values.dtype.kind == "b":
        values = values.view(np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):  # values near the largest float
        low, high = np.percentile(values, percentiles)
    return float(low), float(high)


def _sample_blocks(image: Any, channel: int) -> list[NDArray[Any]]:
    frames, _, slices, height, width = image.shape
    planes = [(t, z) for t in range(frames) for z in range(slices)]
    if len(planes) * height * width <= _MAX_BLOCKS * _BLOCK**2:
        return [np.asarray(image[:, channel])]
    corners = [(t, z, y, x) for t, z in planes for y in range(0, height, _BLOCK) for x in range(0, width, _BLOCK)]
    # a stride coprime to the raster would still march along one axis; golden-ratio steps fill evenly
    count = min(_MAX_BLOCKS, len(corners))
    order = np.argsort((np.arange(len(corners)) * 0.6180339887498949) % 1.0, kind="stable")
    return [
        np.asarray(image[t, channel, z, y : y + _BLOCK, x : x + _BLOCK])
        for t, z, y, x in (corners[i] for i in sorted(order[:count]))
    ]

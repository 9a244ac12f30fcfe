"""Rescaling on one global grid: a block of the rescaled image is the same whichever way it is cut out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["Rescaled", "covering", "nearest_index", "resample_plane", "scaled_length"]


def scaled_length(n: int, scale: float) -> int:
    """Return how many voxels an axis of `n` has after scaling: at least one."""
    return max(1, round(n * scale))


class Rescaled:
    """An image scaled in the plane (its last two axes), computed where it is read.

    Voxel ``i`` of the result covers ``[i / scale, (i + 1) / scale)`` of the source, for all blocks alike, so tiles
    have no seams. Linear interpolation; where it shrinks, the mean over what a voxel covers.

    Parameters
    ----------
    image : array
        ``C(Z)YX``, NumPy or dask.
    scale : float
        Factor by which objects get larger.
    prepare : callable, optional
        Applied to each block of the source that is read: the normalisation. It comes first, because one NaN would
        spread over all that is interpolated with it.
    """

    def __init__(self, image: Any, scale: float, prepare: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray) -> None:
        self._image = image
        self._scale = scale
        self._prepare = prepare
        self.shape: tuple[int, ...] = (*image.shape[:-2], *(scaled_length(n, scale) for n in image.shape[-2:]))

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[np.float32]:
        """Return a block; `key` has one slice, with a step of one, for each axis."""
        *lead, rows, columns = key
        (row_part, row_weights), (column_part, column_weights) = (
            _weights(range(*part.indices(m)), n, self._scale)
            for part, m, n in zip((rows, columns), self.shape[-2:], self._image.shape[-2:], strict=True)
        )
        source = self._prepare(np.asarray(self._image[(*lead, row_part, column_part)]))
        return _apply(source.astype(np.float32, copy=False), row_weights, column_weights)


def resample_plane(
    array: NDArray[np.float32], first: Sequence[int], scale: float, region: Sequence[slice], full: Sequence[int]
) -> NDArray[np.float32]:
    """Bring a block of a rescaled image back to the grid that it was rescaled from.

    Parameters
    ----------
    array : ndarray
        ``C(Z)YX``, block of the rescaled image.
    first : sequence of int
        Its first row and column there.
    scale : float
        The factor it was rescaled by.
    region : sequence of slice
        Rows and columns of the original grid to return; the block must cover them.
    full : sequence of int
        Rows and columns of the whole rescaled image.

    Returns
    -------
    ndarray of float32
    """
    parts, weights = zip(
        *(_weights(range(r.start, r.stop), n, 1 / scale) for r, n in zip(region, full, strict=True)), strict=True
    )
    rows, columns = (slice(p.start - start, p.stop - start) for p, start in zip(parts, first, strict=True))
    return _apply(array[..., rows, columns], *weights)


def covering(region: slice, scale: float, full: int) -> slice:
    """Return the rescaled voxels that `resample_plane` needs for a region of the original grid, along one axis."""
    return _span(range(region.start, region.stop), full, 1 / scale)


def nearest_index(n: int, scale: float) -> NDArray[np.intp]:
    """Return for each voxel of a rescaled axis the source voxel that its centre lies in: for labels."""
    centres = (np.arange(scaled_length(n, scale)) + 0.5) / scale
    return np.minimum(centres.astype(np.intp), n - 1)


def _apply(source: NDArray[np.float32], rows: csr_array, columns: csr_array) -> NDArray[np.float32]:
    planes = source.reshape(-1, *source.shape[-2:])
    result = np.empty((len(planes), rows.shape[0], columns.shape[0]), np.float32)
    for plane, to in zip(planes, result, strict=True):
        to[...] = (columns @ (rows @ plane).T).T
    return result.reshape(*source.shape[:-2], *result.shape[1:])


def _weights(target: range, n: int, scale: float) -> tuple[slice, csr_array]:
    """Return which of `n` source voxels the target voxels need along one axis, and with which weights.

    A triangle around each target's centre, one source voxel wide at least, one target voxel wide where it shrinks.
    """
    width = max(1.0, 1 / scale)
    span = _span(target, n, scale)
    centres = ((np.arange(target.start, target.stop) + 0.5) / scale - 0.5).clip(0, n - 1)
    near = np.floor(centres - width).astype(np.intp)[:, None] + np.arange(math.ceil(2 * width) + 1)
    weights = np.maximum(0.0, 1 - np.abs(near - centres[:, None]) / width)
    weights[(near < span.start) | (near >= span.stop)] = 0
    weights /= weights.sum(1, keepdims=True)
    row, place = np.nonzero(weights)
    entries = weights[row, place].astype(np.float32), (row, near[row, place] - span.start)
    return span, csr_array(entries, shape=(len(centres), span.stop - span.start))


def _span(target: range, n: int, scale: float) -> slice:
    """Return which of `n` source voxels the target voxels need along one axis."""
    width = max(1.0, 1 / scale)
    first, last = ((index + 0.5) / scale - 0.5 for index in (target.start, target.stop - 1))
    low = max(0, min(n - 1, math.floor(first - width) + 1))
    return slice(low, min(n, max(low + 1, math.ceil(last + width))))

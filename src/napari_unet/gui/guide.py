"""What the tools follow: the maps of what was predicted last, and the intensities of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.images import label_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.correction import Box

__all__ = ["MOST_VOXELS", "Gray", "Guide"]

MOST_VOXELS = 2**24
"""Maps of more are not kept."""


class Guide:
    """Maps of a part of an image, addressed by the voxels of the whole; 0 where nothing was predicted.

    Parameters
    ----------
    maps : ndarray
        Axes ``(T)C(Z)YX``, as they are predicted.
    axes : str
        Of the image.
    box : tuple of slice
        Which voxels of the labels they are of.
    shape : tuple of int
        Of the labels.
    """

    def __init__(self, maps: NDArray[Any], axes: str, box: Box, shape: tuple[int, ...]) -> None:
        present = [letter for letter in "TCZYX" if letter in axes or letter == "C"]
        self.maps: NDArray[Any] = maps.transpose([present.index(letter) for letter in "C" + label_axes(axes)])
        self.box = box
        self.shape = (self.maps.shape[0], *shape)

    def __getitem__(self, key: Any) -> Any:
        """Return the maps in a box or at a voxel; a number alone gives one map, to be asked in the same way."""
        if isinstance(key, int):
            return _OneMap(self, key)
        which, *place = key
        if isinstance(place[0], slice):
            return self._cut(which, tuple(place))
        local = [int(c) - s.start for c, s in zip(place, self.box, strict=True)]
        inside = all(0 <= c < n for c, n in zip(local, self.maps.shape[1:], strict=True))
        return self.maps[(which, *local)] if inside else 0.0

    def _cut(self, which: Any, place: Box) -> NDArray[Any]:
        part = self.maps[which]
        extra = part.ndim - len(place)
        cut = np.zeros((*part.shape[:extra], *(s.stop - s.start for s in place)), np.float32)
        starts = [max(p.start, b.start) for p, b in zip(place, self.box, strict=True)]
        stops = [min(p.stop, b.stop) for p, b in zip(place, self.box, strict=True)]
        if all(a < b for a, b in zip(starts, stops, strict=True)):
            there, here = (
                (
                    *[slice(None)] * extra,
                    *(slice(a - s.start, b - s.start) for a, b, s in zip(starts, stops, origin, strict=True)),
                )
                for origin in (place, self.box)
            )
            cut[there] = part[here]
        return cut


class _OneMap:
    def __init__(self, guide: Guide, which: int) -> None:
        self._guide, self._which = guide, which

    def __getitem__(self, place: Box) -> Any:
        return self._guide[(self._which, *place)]


class Gray:
    """An image in the axes of its labels: the mean of its channels, read where it is asked for.

    Parameters
    ----------
    pixels : array
        NumPy, dask or zarr.
    axes : str
    """

    def __init__(self, pixels: Any, axes: str) -> None:
        self._pixels, self._axes = pixels, axes

    def __getitem__(self, place: Box) -> NDArray[np.float32]:
        """Return the intensities in a box."""
        by_letter = dict(zip(label_axes(self._axes), place, strict=True))
        part = np.asarray(self._pixels[tuple(by_letter.get(letter, slice(None)) for letter in self._axes)], np.float32)
        channels = tuple(n for n, letter in enumerate(self._axes) if letter not in by_letter)
        gray: NDArray[np.float32] = part.mean(channels) if channels else part
        return gray

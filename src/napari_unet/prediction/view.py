"""What is predicted of an image: its frames, and the part of each on the grid that the network sees."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError
from napari_unet.images import (
    Normalization,
    Rescaled,
    check_axes,
    covering,
    fit_colours,
    guess_axes,
    resample_plane,
    scaled_length,
    to_canonical,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.models import ModelSpec

__all__ = ["Lazy", "View", "frame_of", "frames_of", "known_axes", "region_box", "select_channels", "spatial", "viewed"]


class Lazy:
    """A stored array, zarr or alike, seen as ``TCZYX``: nothing is read but the blocks that are asked for.

    Parameters
    ----------
    array : array
        Anything with a shape, a dtype and basic slicing.
    axes : str
        Its axes.
    channels : sequence of int, optional
        Which channels to show. None: all.
    mean : bool
        Show the mean of these channels, as one.
    """

    def __init__(self, array: Any, axes: str, channels: Sequence[int] | None = None, *, mean: bool = False) -> None:
        self._array = array
        self._axes = axes.replace("S", "C")
        self._channels = channels
        self._mean = mean
        sizes = dict(zip(self._axes, array.shape, strict=True))
        if channels is not None:
            sizes["C"] = 1 if mean else len(channels)
        self.shape = tuple(sizes.get(letter, 1) for letter in "TCZYX")
        self.ndim = len(self.shape)
        self.dtype = np.dtype(np.float32 if mean else array.dtype)

    def averaged(self, channels: Sequence[int]) -> Lazy:
        """Return the mean of these of its channels, as one."""
        return Lazy(self._array, self._axes, channels, mean=True)

    def select(self, channels: Sequence[int]) -> Lazy:
        """Return the same array with these of its channels."""
        return Lazy(self._array, self._axes, [(self._channels or range(self.shape[1]))[c] for c in channels])

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a block; `key` has an integer or a slice for each axis, from the left."""
        key = key if isinstance(key, tuple) else (key,)
        parts = dict(zip("TCZYX", [*key, *[slice(None)] * (5 - len(key))], strict=True))
        at = sum(isinstance(parts[letter], slice) for letter in "T")
        if self._channels is not None:
            wanted = parts["C"]
            if self._mean:
                blocks = [self._read({**parts, "C": c}) for c in self._channels]
                mean: NDArray[np.float32] = np.mean(blocks, axis=0, dtype=np.float32)
                return mean if isinstance(wanted, int) else np.expand_dims(mean, at)
            chosen = self._channels[wanted]
            blocks = [self._read({**parts, "C": c}) for c in ([chosen] if isinstance(chosen, int) else chosen)]
            return blocks[0] if isinstance(chosen, int) else np.stack(blocks, axis=at)
        return self._read(parts)

    def _read(self, parts: Mapping[str, Any]) -> NDArray[Any]:
        # integers are read as slices of one and taken out at the end, so that the order of the axes stays known
        own = tuple(p if isinstance(p := parts[letter], slice) else slice(p, p + 1) for letter in self._axes)
        block = np.asarray(self._array[own])
        canonical: NDArray[Any] = to_canonical(block, self._axes)
        return canonical[tuple(slice(None) if isinstance(parts[letter], slice) else 0 for letter in "TCZYX")]


class _Frame:
    """One frame (``C(Z)YX``) of a stored array."""

    def __init__(self, image: Lazy, t: int, z: int | None) -> None:
        self._image, self._t, self._z = image, t, z
        self.shape = image.shape[1:] if z is None else (image.shape[1], *image.shape[3:])
        self.ndim, self.dtype = len(self.shape), image.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        if self._z is None:
            return self._image[(self._t, *key)]
        return self._image[(self._t, key[0], self._z, *key[1:])]


def viewed(image: Any, axes: str) -> Any:
    """Return an image as ``TCZYX`` without reading it: NumPy and dask as they are, others block by block."""
    if not hasattr(getattr(image, "dtype", None), "kind"):  # lists, tensors
        image = np.asarray(image)
    if isinstance(image, np.ndarray) or hasattr(image, "dask"):  # others may call their axes otherwise
        return to_canonical(image, axes)
    return Lazy(image, axes)


def frame_of(canonical: Any, t: int, z: int | None) -> Any:
    """Return one frame (``C(Z)YX``) of a ``TCZYX`` image; `z` None: all slices."""
    if isinstance(canonical, Lazy):
        return _Frame(canonical, t, z)
    return canonical[t] if z is None else canonical[t, :, z]


def select_channels(image: Any, spec: ModelSpec, channels: tuple[int, ...] | None, *, are_colours: bool = False) -> Any:
    """Return the channels of a ``TCZYX`` image that feed the model, or say why they do not fit.

    Of a colour picture a model of one channel takes the brightness, one of three what is not transparency.

    Raises
    ------
    ImageError
        If the number of channels is not the model's.
    """
    count = image.shape[1]
    if channels is None and are_colours:
        image = fit_colours(image, spec.in_channels)
        count = image.shape[1]
    elif channels is not None:
        if any(not 0 <= c < count for c in channels):
            raise ImageError(f"The image has {count} channels, numbered from 0; there is none for {channels}.")
        chosen = list(channels)
        image = image.select(chosen) if isinstance(image, Lazy) else image[:, chosen]
        count = len(channels)
    if count != spec.in_channels:
        wanted = ", ".join(spec.channels)
        raise ImageError(
            f"The image has {count} channel{'s' * (count != 1)} but the model {spec.name!r} takes "
            f"{spec.in_channels} ({wanted}). Choose the channels to use, or split them into images of their "
            "own."
        )
    return image


def known_axes(image: Any, axes: str | None) -> str:
    """Return the axes of an image, or say that a person has to.

    Raises
    ------
    ImageError
        If they cannot be known or do not fit, or the image is empty.
    """
    shape = tuple(image.shape) if hasattr(image, "shape") else np.shape(image)
    if axes is None:
        axes = guess_axes(shape)
        if axes is None:
            raise ImageError(
                f"An image of shape {shape} could be a stack, a movie or channels. Say which with "
                "axes, for example 'ZYX', 'TYX' or 'CYX'."
            )
    axes = check_axes(axes, len(shape))
    if 0 in shape:
        raise ImageError(f"The image is empty (shape {shape}). Open one that has pixels.")
    return axes


def region_box(image: Any, region: Mapping[str, slice] | None) -> dict[str, slice]:
    """Return what is to be predicted, a slice for each letter of ``TCZYX``.

    Raises
    ------
    ImageError
        If the region makes no sense.
    """
    box = {letter: slice(0, n) for letter, n in zip("TCZYX", image.shape, strict=True)}
    for letter, part in (region or {}).items():
        if letter not in {"T", "Z", "Y", "X"}:
            raise ImageError(f"A region has the axes T, Z, Y and X, not {letter!r}.")
        start, stop, step = part.indices(box[letter].stop)
        if step != 1:
            raise ImageError(f"The region goes along {letter} in steps of {step}. Leave out the step.")
        if stop <= start:
            raise ImageError(f"The region is empty along {letter}. Choose one that overlaps the image.")
        box[letter] = slice(start, stop)
    return box


def spatial(box: Mapping[str, slice], spec: ModelSpec) -> list[slice]:
    """Return the part of a box that the network sees at once."""
    return [box[letter] for letter in ("ZYX" if spec.spatial_dims == 3 else "YX")]


def frames_of(box: Mapping[str, slice], spec: ModelSpec) -> list[tuple[tuple[int, int | None], tuple[int, ...]]]:
    """Return where each frame lies in the image, (t, z), and in the result (counted in the box)."""
    first_t, first_z = box["T"].start, box["Z"].start
    times = range(first_t, box["T"].stop)
    if spec.spatial_dims == 3:
        return [((t, None), (t - first_t,)) for t in times]
    return [((t, z), (t - first_t, z - first_z)) for t, z in product(times, range(first_z, box["Z"].stop))]


class View:
    """What is predicted of a frame, and the rescaled grid that the network sees it on.

    Attributes
    ----------
    shape : tuple of int
        ``(Z)YX`` of the region, on the grid of the image.
    region : list of slice
        What the network has to predict, on the grid that it sees.
    extent : list of int
        Size of the whole frame on that grid.
    scale : float
        Factor by which objects get larger.
    """

    def __init__(self, wanted: list[slice], frame: Sequence[int], scale: float) -> None:
        self.scale = scale
        self.shape = tuple(part.stop - part.start for part in wanted)
        self.wanted = wanted[-2:]
        self.full = [scaled_length(n, scale) for n in frame[-2:]]
        self.extent = [*frame[-len(wanted) : -2], *self.full]
        rescaled = [covering(part, scale, n) for part, n in zip(self.wanted, self.full, strict=True)]
        self.region = wanted if scale == 1 else [*wanted[:-2], *rescaled]

    def source(self, pixels: Any, normalization: Normalization) -> tuple[Any, Callable[[NDArray[Any]], NDArray[Any]]]:
        """Return a frame (``C(Z)YX``) on the grid that the network sees, and what is still to do with its blocks."""
        if self.scale == 1:
            return pixels, normalization.apply
        return Rescaled(pixels, self.scale, normalization.apply), np.asarray

    def restore(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return maps of the region on the grid of the image."""
        if self.scale == 1:
            return maps
        first = [part.start for part in self.region[-2:]]
        return resample_plane(maps, first, self.scale, self.wanted, self.full)

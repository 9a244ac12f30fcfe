"""Holes of objects: background that one object alone encloses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec

__all__ = ["fill_holes", "filled_objects", "hole_sizes", "may_be_object", "surrounding"]


def fill_holes(
    labels: NDArray[Any],
    decoder: DecoderSpec | None = None,
    others: NDArray[np.bool_] | None = None,
    inward: NDArray[np.float32] | None = None,
) -> NDArray[Any]:
    """Return objects with their holes filled.

    A hole is background that cannot be left through faces of voxels without crossing one and the same object. What is
    open to the edge of the array is none, nor is what several objects enclose together. Nor is a place where something
    lies that may be an object of its own.

    Parameters
    ----------
    labels : ndarray of int
        ``(Z)YX``, objects; 0 is background.
    decoder : DecoderSpec
    others : ndarray of bool
        Background that belongs to other components of the foreground.
    inward : ndarray of float32
        As for `may_be_object`.
    """
    regions, at, owner = _holes(labels)
    if not owner.any():
        return labels
    if decoder is not None and others is not None and others.ravel()[at].any():
        components, _ = ndi.label(others & (owner[regions] > 0))
        for number, box in enumerate(ndi.find_objects(components), start=1):
            inside = components[box] == number
            if may_be_object(decoder, inside, None if inward is None else inward[box]):
                owner[regions[box][inside][0]] = 0
    filled = labels.copy()
    filling = owner[regions.ravel()[at]]
    filled.ravel()[at[filling > 0]] = filling[filling > 0]
    return filled


def filled_objects(
    parts: NDArray[Any], decoder: DecoderSpec, others: NDArray[np.bool_] | None, inward: NDArray[np.float32] | None
) -> NDArray[Any]:
    """Return the objects of one component with their holes filled; one that is too small is as good as background.

    Parameters are those of `fill_holes`; `others` None: there is no background in it.
    """
    filled = parts if others is None else fill_holes(parts, decoder, others, inward)
    is_small = np.bincount(filled.ravel()) < decoder.min_size
    if not is_small[1:].any():
        return filled
    again = fill_holes(np.where(is_small[filled], 0, filled), decoder, others, inward)
    return np.where(again > 0, again, filled)


def may_be_object(decoder: DecoderSpec, inside: NDArray[np.bool_], inward: NDArray[np.float32] | None) -> bool:
    """Tell whether a component, filled, is large enough for an object, and the network sure enough of it.

    Parameters
    ----------
    decoder : DecoderSpec
    inside : ndarray of bool
        ``(Z)YX``: the component.
    inward : ndarray of float32 or None
        Distance to the boundary or from the rim, the smaller of both; None where it is of no account.
    """
    if inward is not None and decoder.peak_threshold and inward[inside].max() <= decoder.peak_threshold:
        return False
    size = np.count_nonzero(inside)
    if size < decoder.min_size and decoder.fill_holes:
        regions, is_closed = _closed(inside)
        size += np.count_nonzero(is_closed[regions])
    return bool(size >= decoder.min_size)


def hole_sizes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each label up to the highest the voxels of its holes, as `fill_holes` fills them."""
    regions, at, owner = _holes(labels)
    sizes = np.bincount(owner[regions.ravel()[at]], minlength=int(labels.max(initial=0)) + 1)
    sizes[0] = 0
    return sizes


def surrounding(labels: NDArray[Any]) -> set[int]:
    """Return the labels that lie at background which is not open to the edge: no other has a hole."""
    regions, is_closed = _closed(labels)
    return set(np.unique(_rims(labels, regions, np.flatnonzero(is_closed[regions]))[1]).tolist())


def _closed(labels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the connected regions of the background, and which of them do not reach the edge of the array."""
    regions, count = ndi.label(labels == 0)
    is_closed = np.ones(count + 1, bool)
    is_closed[0] = False
    for axis in range(labels.ndim):
        for end in (0, -1):
            is_closed[regions.take(end, axis)] = False
    return regions, is_closed


def _rims(
    labels: NDArray[Any], regions: NDArray[np.int32], at: NDArray[np.intp]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return pairs of a region and a label beside it, from the voxels at these raster indices, none at an edge."""
    steps = np.cumprod([1, *labels.shape[:0:-1]])
    flat = labels.ravel()
    beside = np.concatenate([flat[at + sign * step] for step in steps for sign in (-1, 1)])
    region = np.tile(regions.ravel()[at], 2 * labels.ndim)
    return region[beside > 0], beside[beside > 0]


def _holes(labels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[Any]]:
    """Return the regions of the background, raster indices of those not open to the edge, and whose hole each is.

    That is 0 for a region which several labels enclose together.
    """
    regions, is_closed = _closed(labels)
    at = np.flatnonzero(is_closed[regions]) if is_closed.any() else np.empty(0, np.intp)
    region, beside = _rims(labels, regions, at)
    lowest = np.full(len(is_closed), np.iinfo(labels.dtype).max, labels.dtype)
    highest = np.zeros(len(is_closed), labels.dtype)
    np.minimum.at(lowest, region, beside)
    np.maximum.at(highest, region, beside)
    return regions, at, np.where(lowest == highest, highest, 0)

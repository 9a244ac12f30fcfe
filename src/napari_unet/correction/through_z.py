"""From slice to slice: an object between two drawn slices, and on into the next one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status
from napari_unet.correction.edits import Edit, make_edit, object_box
from napari_unet.correction.proposals import propose
from napari_unet.errors import AnnotationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box
    from napari_unet.correction.proposals import Proposal

__all__ = ["extend_object", "interpolate_object"]

_LEAST_OVERLAP = 0.3
"""Intersection over union with the slice before, below which the object is held to end."""


def interpolate_object(
    labels: NDArray[Any], status: NDArray[np.uint8], number: int, *, axis: int = -3, box: Box | None = None
) -> Edit | None:
    """Fill the slices that an object skips, between those where it is.

    Its outlines are moved onto each other, their signed distances blended, and the blend moved to where the
    object is at that height. The result is unchecked; it yields to other objects and to whatever is checked.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    number : int
    axis : int
        Of the slices (default: the third from the end).
    box : tuple of slice, optional
        Of the object.

    Returns
    -------
    Edit or None
        None if there is no such object, or it skips no slice.

    Raises
    ------
    AnnotationError
        If the labels are a plane.
    """
    if labels.ndim < 3:
        raise AnnotationError("Interpolating needs a stack: this image is one plane.")
    box = box or object_box(labels, number)
    if box is None:
        return None
    before = labels[box]
    after = before.copy()
    slices, drawn = np.moveaxis(after, axis, 0), np.moveaxis(before == number, axis, 0)
    free = np.moveaxis((before == 0) & (status[box] == Status.UNCHECKED), axis, 0)
    for rest in np.ndindex(drawn.shape[1:-2]):
        at = (slice(None), *rest)
        known = np.flatnonzero(drawn[at].any((-2, -1)))
        for low, high in pairwise(known):
            for between in range(low + 1, high):
                share = (between - low) / (high - low)
                blend = _blend(drawn[(low, *rest)], drawn[(high, *rest)], share)
                slices[(between, *rest)][blend & free[(between, *rest)]] = number
    if np.array_equal(before, after):
        return None
    return make_edit(labels, status, box, "interpolate", after, np.zeros(before.shape, bool), frozenset({number}))


def extend_object(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    number: int,
    plane: tuple[int, ...],
    step: int,
    *,
    maps: Any = None,
    image: Any = None,
    axis: int = -3,
    box: Box | None = None,
) -> Edit | None:
    """Continue an object into the next slice: the proposal there that agrees best with its outline here.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    number : int
    plane : tuple of int
        The slice to start from: a coordinate for each axis but the last two.
    step : {1, -1}
        Up or down.
    maps, image : array, optional
        As for `propose`.
    axis : int
        Of the slices (default: the third from the end).
    box : tuple of slice, optional
        Of the object.

    Returns
    -------
    Edit or None
        Checked, for it is looked at. None where the stack or the object ends.
    """
    box = box or object_box(labels, number)
    place = labels.ndim + axis if axis < 0 else axis
    following = tuple(c + step * (one == place) for one, c in enumerate(plane))
    if box is None or not 0 <= following[place] < labels.shape[place]:
        return None
    outline: tuple[Any, ...] = (*plane, *box[-2:])
    here: NDArray[np.bool_] = labels[outline] == number
    if not here.any():
        return None
    depth = ndi.distance_transform_edt(np.pad(here, 1))[1:-1, 1:-1]
    middle = np.unravel_index(int(depth.argmax()), depth.shape)
    row, column = (int(c) + s.start for c, s in zip(middle, box[-2:], strict=True))
    point: tuple[int, ...] = (*following, row, column)
    if labels[point]:
        return None  # somebody else's place, or there already
    diameter = 2 * float(np.sqrt(np.count_nonzero(here) / np.pi))
    chain = propose(labels, status, point, maps=maps, image=image, object_diameter_px=diameter)
    best = None if chain is None else _most_alike(chain, here, box)
    if best is None:
        return None
    mask = best.mask & (labels[best.box] == 0)
    after = np.where(mask, number, labels[best.box])
    return make_edit(labels, status, best.box, "extend", after, mask, frozenset({number}))


def _most_alike(chain: Proposal, here: NDArray[np.bool_], box: Box) -> Proposal | None:
    """Return the outline of the chain that agrees best with an outline in the plane of `box`."""
    wanted = np.zeros(chain.depth.shape[-2:], bool)
    overlap = [
        slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
        for a, b in zip(box[-2:], chain.box[-2:], strict=True)
    ]
    there = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(overlap, chain.box[-2:], strict=True))
    mine = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(overlap, box[-2:], strict=True))
    wanted[there] = here[mine]
    best, agreement = None, _LEAST_OVERLAP
    for chosen in range(1, chain.count + 1):
        candidate = replace(chain, chosen=chosen)
        mask = candidate.mask.reshape(wanted.shape)
        common = np.count_nonzero(mask & wanted)
        now = common / (np.count_nonzero(mask) + np.count_nonzero(here) - common)
        if now > agreement:
            best, agreement = candidate, now
    return best


def _blend(low: NDArray[np.bool_], high: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Return the outline that lies `share` of the way from one to another."""
    margin = max(low.shape)  # as far as one may be moved, and its distances still be true
    wide = [np.pad(one, margin) for one in (low, high)]
    centres = [np.array(ndi.center_of_mass(one)) for one in wide]
    middle = (1 - share) * centres[0] + share * centres[1]
    moved = [
        ndi.shift(_signed_distance(one), middle - centre, order=1, mode="nearest")
        for one, centre in zip(wide, centres, strict=True)
    ]
    result: NDArray[np.bool_] = (1 - share) * moved[0] + share * moved[1] > 0
    return result[margin:-margin, margin:-margin]


def _signed_distance(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance to the outline, positive inside."""
    distance: NDArray[np.float64] = ndi.distance_transform_edt(inside) - ndi.distance_transform_edt(~inside)
    return distance

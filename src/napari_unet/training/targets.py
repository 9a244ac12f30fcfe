"""What the network should answer where, from labels and status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status
from napari_unet.training.border import border_weights, with_gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RING_PX", "Targets", "border_targets", "instance_targets", "semantic_targets"]

RING_PX = 3.0
"""An object drawn among unchecked ones teaches so wide a ring of background around it.

On T98G with 10 of 66 cells drawn, AP50 on other frames: objects alone .23, with this ring .53.
"""


@dataclass(frozen=True)
class Targets:
    """Targets of one plane or volume.

    Attributes
    ----------
    classes : ndarray of uint8
        ``(Z)YX``, class of each voxel; instances: 1 = foreground.
    learn : ndarray of bool
        ``(Z)YX``, where `classes` is known.
    distances : ndarray of float32
        ``C(Z)YX``, instances: distance to the boundary (1 at the most inward voxel, 0 just outside) and to the
        centre (1 at it, 0 at the farthest voxel), each relative to the object; for models decoded by components:
        the weight of each voxel; semantic: no channel.
    learn_distances : ndarray of bool
        ``(Z)YX``, where `distances` are known: inside objects that are known completely.
    objects : ndarray of int
        ``(Z)YX``, ids of the objects for scoring; for classes, the classes.
    presumed : ndarray of bool
        ``(Z)YX``, instances: unchecked voxels that `learn` does not cover. Nothing is known there, but most of an image
        is background.
    """

    classes: NDArray[np.uint8]
    learn: NDArray[np.bool_]
    distances: NDArray[np.float32]
    learn_distances: NDArray[np.bool_]
    objects: NDArray[Any]
    presumed: NDArray[np.bool_]


def semantic_targets(labels: NDArray[Any], status: NDArray[np.uint8]) -> Targets:
    """Return the targets of classes: each checked voxel teaches its class, the others nothing."""
    learn = status == Status.CHECKED
    return Targets(
        classes=np.where(learn, labels, 0).astype(np.uint8),
        learn=learn,
        distances=np.empty((0, *labels.shape), np.float32),
        learn_distances=np.zeros(labels.shape, bool),
        objects=labels,
        presumed=np.zeros(labels.shape, bool),
    )


def instance_targets(labels: NDArray[Any], status: NDArray[np.uint8]) -> Targets:
    """Return the targets of objects.

    Checked voxels teach foreground or background. Around checked objects a ring of `RING_PX` teaches
    background where nothing is labelled, drawn or predicted; all other unchecked voxels are presumed to be
    background. Distances are computed on whole objects, and taught only in those that are checked completely and not
    cut by the edge of the image.

    Parameters
    ----------
    labels : ndarray of int
        ``(Z)YX``, object ids.
    status : ndarray of uint8
        ``(Z)YX``, see `Status`.

    Returns
    -------
    Targets
    """
    checked = status == Status.CHECKED
    foreground = labels > 0
    learn = checked | _ring(foreground & checked, free=(status == Status.UNCHECKED) & ~foreground)
    distances = np.zeros((2, *labels.shape), np.float32)
    known = np.zeros(labels.shape, bool)
    ids, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (0 if ids[0] == 0 else 1)
    for number, box in enumerate(ndi.find_objects(compact), start=1):
        if box is None:
            continue
        inside = compact[box] == number
        cut = any(s.start == 0 or s.stop == n for s, n in zip(box, labels.shape, strict=True) if n > 1)
        if cut or not checked[box][inside].all():
            continue
        boundary, centre = _relative_distances(inside)
        distances[0][box][inside] = boundary
        distances[1][box][inside] = centre
        known[box] |= inside
    presumed = (status == Status.UNCHECKED) & ~learn
    return Targets(foreground.astype(np.uint8), learn, distances, known, compact, presumed)


def border_targets(labels: NDArray[Any], status: NDArray[np.uint8], w0: float, sigma_px: float) -> Targets:
    """Return the targets of objects that are told apart by the background drawn between them.

    The same voxels teach as in `instance_targets`. Weights come from checked voxels alone.

    Parameters
    ----------
    labels, status : ndarray
        As in `instance_targets`.
    w0, sigma_px : float
        See `border_weights`.
    """
    checked = status == Status.CHECKED
    foreground = labels > 0
    learn = checked | _ring(foreground & checked, free=(status == Status.UNCHECKED) & ~foreground)
    apart = with_gaps(np.where(checked, labels, 0))
    weights = border_weights(apart, w0=w0, sigma_px=sigma_px, learn=learn)
    nowhere = np.zeros(labels.shape, bool)
    presumed = (status == Status.UNCHECKED) & ~learn
    return Targets((apart > 0).astype(np.uint8), learn, weights[None], nowhere, labels, presumed)


def _ring(objects: NDArray[np.bool_], free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not objects.any() or not free.any():
        return np.zeros_like(objects)
    near: NDArray[np.bool_] = ndi.distance_transform_edt(~objects) <= RING_PX
    return free & near


def _relative_distances(inside: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the boundary and centre distances of the voxels of one object, in raster order."""
    boundary = ndi.distance_transform_edt(np.pad(inside, 1))[(slice(1, -1),) * inside.ndim]
    points = np.argwhere(inside)
    centre = points.mean(axis=0)
    if not inside[tuple(np.round(centre).astype(int))]:
        # the centre of a crescent lies outside it: take its most inward voxel
        centre = np.asarray(np.unravel_index(int(boundary.argmax()), inside.shape), np.float64)
    from_centre = np.linalg.norm(points - centre, axis=1)
    farthest = max(float(from_centre.max()), 1.0)
    return (boundary[inside] / boundary.max()).astype(np.float32), (1 - from_centre / farthest).astype(np.float32)

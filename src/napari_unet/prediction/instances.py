"""From maps to labels. Needs no network: thresholds can be tuned again on the same maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi
from skimage.segmentation import watershed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec

__all__ = ["decode"]

_SMOOTHING = 1.0
"""Sigma in voxels. Removes single-voxel peaks of the distance maps, which would become seeds of their own."""

_REACH = 4
"""How far the smoothing reaches, in voxels."""


def decode(maps: NDArray[Any], decoder: DecoderSpec) -> NDArray[np.int32]:
    """Make labels from the maps of one plane or volume.

    Instances are split in this order: the connected components of the foreground; in each, the seeds, which
    are the peaks of both distance maps; a component with fewer than two seeds is one object, the others are
    divided by a watershed. All of it looks at the component alone, so it is always split the same way,
    whatever lies beside it.

    Parameters
    ----------
    maps : ndarray
        ``C(Z)YX``. Seeded watershed: foreground, boundary distance, centre distance, each 0 to 1; argmax: one
        map for each class, background first.
    decoder : DecoderSpec

    Returns
    -------
    ndarray of int32
        ``(Z)YX``: object ids from 1 without gaps, or classes; 0 is background.
    """
    if decoder.kind == "argmax":
        return np.asarray(np.argmax(maps, axis=0), np.int32)
    components, count = ndi.label(maps[0] > decoder.foreground_threshold)
    inward = np.minimum(maps[1], maps[2]).astype(np.float32)
    labels = components.astype(np.int32)
    for number, box in enumerate(ndi.find_objects(components), start=1):
        inside = components[box] == number
        at_edge = [(s.start == 0, s.stop == n) for s, n in zip(box, labels.shape, strict=True)]
        parts = _split(inside, np.where(inside, inward[box], 0), at_edge, decoder.seed_threshold)
        labels[box][parts > 1] = count + parts[parts > 1] - 1
        count += int(parts.max(initial=1)) - 1
    return _compact(labels, decoder.min_size)


def _split(
    inside: NDArray[np.bool_], inward: NDArray[np.float32], at_edge: list[tuple[bool, bool]], threshold: float
) -> NDArray[Any]:
    """Return the parts of one component, numbered from 1; zeros where it is a single object.

    The smoothing sees nothing beside the component, but its mirror image beyond the edge of an image that
    cuts it.
    """
    if inward.max() <= threshold:
        return np.zeros(inside.shape, np.int32)
    margin = [tuple(0 if cut else _REACH for cut in sides) for sides in at_edge]
    smooth = ndi.gaussian_filter(np.pad(inward, margin), _SMOOTHING, radius=_REACH)
    crop = tuple(slice(before, before + n) for (before, _), n in zip(margin, inside.shape, strict=True))
    peaks = smooth[crop]
    seeds, count = ndi.label(inside & (peaks > threshold))
    if count < 2:
        return np.zeros(inside.shape, np.int32)
    return np.asarray(watershed(-peaks, seeds, mask=inside))


def _compact(labels: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    sizes = np.bincount(labels.ravel())
    keep = sizes >= max(1, min_size)
    keep[0] = False
    new_ids = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return new_ids[labels]

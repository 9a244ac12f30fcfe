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


def decode(maps: NDArray[Any], decoder: DecoderSpec) -> NDArray[np.int32]:
    """Make labels from the maps of one plane or volume.

    Instances are split in this order: the connected components of the foreground; in each, the seeds, which are the
    peaks of both distance maps; a component with fewer than two seeds is one object, the others are divided by a
    watershed that runs inside the component alone. So a component is always split the same way, whatever
    lies beside it.

    Parameters
    ----------
    maps : ndarray
        ``C(Z)YX``. Seeded watershed: foreground, boundary distance, centre distance, each 0 to 1; argmax: one map
        for each class, background first.
    decoder : DecoderSpec

    Returns
    -------
    ndarray of int32
        ``(Z)YX``: object ids from 1 without gaps, or classes; 0 is background.
    """
    if decoder.kind == "argmax":
        return np.argmax(maps, axis=0).astype(np.int32)
    foreground = maps[0] > decoder.foreground_threshold
    components, count = ndi.label(foreground)
    peaks = ndi.gaussian_filter(np.minimum(maps[1], maps[2]).astype(np.float32), _SMOOTHING)
    seeds, _ = ndi.label(foreground & (peaks > decoder.seed_threshold))
    labels = components.astype(np.int32)
    next_id = count + 1
    for component, box in _with_several_seeds(components, seeds, count):
        inside = components[box] == component
        parts = watershed(-peaks[box], np.where(inside, seeds[box], 0), mask=inside)
        split = np.unique(parts[inside], return_inverse=True)[1]
        labels[box][inside] = np.where(split == 0, component, next_id + split - 1)
        next_id += int(split.max())
    return _compact(labels, decoder.min_size)


def _with_several_seeds(
    components: NDArray[Any], seeds: NDArray[Any], count: int
) -> list[tuple[int, tuple[slice, ...]]]:
    is_seed = seeds > 0
    pairs = np.unique(np.stack([components[is_seed], seeds[is_seed]]), axis=1)
    seeds_per_component = np.bincount(pairs[0], minlength=count + 1)
    boxes = ndi.find_objects(components)
    return [(int(number), boxes[number - 1]) for number in np.flatnonzero(seeds_per_component > 1)]


def _compact(labels: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    sizes = np.bincount(labels.ravel())
    keep = sizes >= max(1, min_size)
    keep[0] = False
    new_ids = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return new_ids[labels]

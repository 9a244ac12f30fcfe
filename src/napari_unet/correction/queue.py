"""Where to look next: what is not checked yet, the most doubtful first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box

__all__ = ["Place", "are_we_done", "doubtful_places", "is_good_enough", "tell_counts"]

_FAINT = 0.3
"""Foreground from which a place without an object is worth a look."""

_RIM = 2
"""Voxels around objects in which the foreground fades out: no sign of a miss."""

_AROUND = 3
"""Voxels around an object in which it counts whether mirroring changes the maps."""

_MIRRORED = 4.0
"""How much disagreement with the mirrored image weighs: best of 1, 2, 4, 8 on held-out nuclei."""

_PER = 100
_MOST_TOLD = 5
_GOOD_ENOUGH = 5


@dataclass(frozen=True)
class Place:
    """One place to look at.

    Attributes
    ----------
    point : tuple of int
        A voxel of it, in the axes of the labels.
    box : tuple of slice
    doubt : float
        From 0 up; comparable within one image and between images of one model.
    number : int
        The doubtful object; 0: an object may be missing here.
    """

    point: tuple[int, ...]
    box: Box
    doubt: float
    number: int


def doubtful_places(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    maps: NDArray[Any],
    *,
    threshold: float = 0.5,
    mirrored: NDArray[Any] | None = None,
    where: Box | None = None,
) -> list[Place]:
    """Return what to look at, the most doubtful first.

    An object is doubtful where the foreground inside it is far from certain, where its edge is soft, where its
    distance maps have no clear peak, where its size is unlike that of the others, and where the network says something
    else when it sees the mirrored image. An object may be missing where there is some foreground and no object. What is
    checked in part or ignored is left out.

    Parameters
    ----------
    labels : ndarray of int
    status : ndarray of uint8
    maps : ndarray
        The network's maps: one axis (foreground, boundary distance, centre distance) before those of the
        labels. The foreground alone will do.
    threshold : float
        Foreground from which a voxel belongs to an object (default 0.5).
    mirrored : ndarray, optional
        The maps that the network makes of the mirrored image, mirrored back. None: that is not asked.
    where : tuple of slice, optional
        Which part of `maps` they are of; objects elsewhere count as ordinary ones. None: all of it.

    Returns
    -------
    list of Place
    """
    foreground = np.asarray(maps[0], np.float32)
    places = _objects(labels, status, foreground, maps, threshold) + _misses(labels, status, foreground)
    if mirrored is not None:
        box = where or tuple(slice(0, n) for n in labels.shape)
        more = _disagreement(labels[box], maps[(slice(None), *box)], mirrored, [one.number for one in places])
        places = [replace(one, doubt=one.doubt + _MIRRORED * much) for one, much in zip(places, more, strict=True)]
    return sorted(places, key=lambda place: -place.doubt)


def tell_counts(checked: int, total: int, corrected: int) -> str:
    """Return ``37 of 210 objects checked, 12 corrected``."""
    return f"{checked} of {total} object{'s' * (total != 1)} checked, {corrected} corrected"


def are_we_done(decided: Sequence[int], corrected: set[int]) -> str:
    """Say how much there was to correct, per 100 objects checked, and whether that is good enough.

    Parameters
    ----------
    decided : sequence of int
        Objects in the order in which the user declared them right or changed them (`Journal.decided`).
    corrected : set of int
        Those whose shape was changed (`Journal.corrected`).

    Returns
    -------
    str
        Such as ``corrected per 100 checked: 40 -> 18 -> 6``; empty before the first 20. Of many hundreds the first and
        the last three.
    """
    rates = _rates(decided, corrected)
    if not rates:
        return ""
    told = [str(rates[0]), "...", *map(str, rates[-3:])] if len(rates) > _MOST_TOLD else map(str, rates)
    sentence = f"corrected per 100 checked: {' -> '.join(told)}"
    return f"{sentence}. Good enough? Segment the folder." if rates[-1] < _GOOD_ENOUGH else sentence


def is_good_enough(decided: Sequence[int], corrected: set[int]) -> bool:
    """Return whether there was so little to correct of late that the rest can be left to the model.

    Parameters
    ----------
    decided, corrected
        As for `are_we_done`.
    """
    rates = _rates(decided, corrected)
    return bool(rates) and rates[-1] < _GOOD_ENOUGH


def _rates(decided: Sequence[int], corrected: set[int]) -> list[int]:
    """Return how many of each 100 objects had to be corrected."""
    batches = [decided[at : at + _PER] for at in range(0, len(decided), _PER)]
    if batches and len(batches[-1]) < _PER // 5:
        batches.pop()  # too few to tell
    return [round(100 * sum(number in corrected for number in batch) / len(batch)) for batch in batches]


def _objects(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    foreground: NDArray[np.float32],
    maps: NDArray[Any],
    threshold: float,
) -> list[Place]:
    boxes = ndi.find_objects(labels) if labels.any() else []
    there = np.array([number for number, box in enumerate(boxes, start=1) if box is not None], int)
    if not there.size:
        return []
    length = len(boxes) + 1
    flat = labels.ravel()
    known = np.bincount(flat, (status != Status.UNCHECKED).ravel(), length)
    sizes = np.bincount(flat, minlength=length).astype(float)
    certain = np.bincount(flat, np.abs(foreground - threshold).ravel() / max(threshold, 1 - threshold), length)
    open_ones = there[known[there] == 0]
    if not open_ones.size:
        return []
    typical = np.log(sizes[there])
    spread = max(1.4826 * float(np.median(np.abs(typical - np.median(typical)))), 0.25)
    odd = np.abs(np.log(np.maximum(sizes, 1)) - np.median(typical)) / spread
    unsure = 1 - certain / np.maximum(sizes, 1)
    doubt = unsure + 0.15 * np.minimum(odd, 4)
    if len(maps) >= 3:
        inward = np.minimum(maps[1], maps[2]).astype(np.float32)
        peak = np.zeros(length)
        peak[open_ones] = ndi.maximum(inward, labels, open_ones)
        doubt += 0.5 * (1 - np.clip(peak, 0, 1))
    return [
        Place(_middle(labels[boxes[n - 1]] == n, boxes[n - 1]), boxes[n - 1], float(doubt[n]), int(n))
        for n in open_ones
    ]


def _disagreement(
    labels: NDArray[Any], maps: NDArray[Any], mirrored: NDArray[Any], numbers: Sequence[int]
) -> list[float]:
    """Return by how much the maps differ in and around each object; the median where an object is not there.

    Nothing for the number 0.
    """
    there = np.array(sorted({number for number in numbers if number} & set(np.unique(labels).tolist())), int)
    if not there.size:
        return [0.0] * len(numbers)
    flat = (1,) * (labels.ndim - 2) + (2 * _AROUND + 1,) * 2
    wide = np.where(labels > 0, labels, ndi.maximum_filter(labels, size=flat))
    change = np.zeros(labels.shape, np.float32)
    for one, other in zip(maps[:3], mirrored[:3], strict=True):
        change += np.abs(np.asarray(one, np.float32) - other)
    means = dict(zip(there.tolist(), ndi.mean(change / len(maps[:3]), wide, there).tolist(), strict=True))
    usual = float(np.median(list(means.values())))
    return [means.get(number, usual) if number else 0.0 for number in numbers]


def _misses(labels: NDArray[Any], status: NDArray[np.uint8], foreground: NDArray[np.float32]) -> list[Place]:
    flat = (1,) * (labels.ndim - 2) + (2 * _RIM + 1,) * 2
    near = ndi.maximum_filter(labels > 0, size=flat)
    components, count = ndi.label((foreground > _FAINT) & ~near & (status == Status.UNCHECKED))
    if not count:
        return []
    sizes = np.bincount(components.ravel())
    peaks = ndi.maximum(foreground, components, range(1, count + 1))
    of_objects = np.bincount(labels.ravel())[1:]
    usual = float(np.median(of_objects[of_objects > 0] if of_objects.any() else sizes[1:]))
    # where faint places outnumber the objects, the map is hazy and each is the less likely a miss
    likely = min(1.0, np.count_nonzero(of_objects) / count) if of_objects.any() else 1.0
    return [
        Place(_middle(components[box] == n, box), box, likely * float(peak) * min(1.0, 4 * sizes[n] / usual), 0)
        for n, (box, peak) in enumerate(zip(ndi.find_objects(components), peaks, strict=True), start=1)
        if sizes[n] >= usual / 20
    ]


def _middle(inside: NDArray[np.bool_], box: Box) -> tuple[int, ...]:
    """Return the voxel of an object that is nearest to its centre."""
    voxels = np.argwhere(inside)
    nearest = voxels[((voxels - voxels.mean(0)) ** 2).sum(1).argmin()]
    return tuple(int(c) + s.start for c, s in zip(nearest, box, strict=True))

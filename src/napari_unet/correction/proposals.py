"""Propose: the outline of a missed object under the cursor, which grows and shrinks through its nested levels.

The components of the foreground map that contain a point, at every level, form a nested chain. The most stable one is
proposed: the one whose area changes least with the level (maximally stable extremal regions; Matas et al., BMVC 2002).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status
from napari_unet.correction.edits import Edit, make_edit, object_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box

__all__ = ["Proposal", "accept_proposal", "propose"]

_LEVELS = 24
_LOWEST = 0.08
"""Foreground below which nothing is proposed from the map."""

_UNSEEN = 0.15
"""Where the foreground is below this the network sees nothing, and the image is asked."""

_REACH = {2: (96, 384), 3: (40, 96)}
"""Voxels to each side of the point that are looked at: at first, and at most."""

_SLICES = 12
_SMALLEST = 12
"""Voxels."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A nested chain of outlines around a point, and which of them is chosen.

    Attributes
    ----------
    box : tuple of slice
    depth : ndarray of int
        In the shape of the box: in how many of the outlines a voxel lies, from the outside in.
    free : ndarray of bool
        Where an object may be: not on other objects, nor on what is ignored.
    count : int
        Number of outlines.
    chosen : int
        From 1, the largest, to `count`, the smallest.
    replaces : int
        The unchecked object that the point is on and that would take this outline, 0 if none.
    dims : int
        Whether it is a plane or a body.
    """

    box: Box
    depth: NDArray[np.uint8]
    free: NDArray[np.bool_]
    count: int
    chosen: int
    replaces: int = 0
    dims: int = 2

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The chosen outline, filled, in the shape of the box."""
        inside = self.depth >= self.chosen
        for plane in np.ndindex(inside.shape[:-2]):
            inside[plane] = ndi.binary_fill_holes(inside[plane])
        result: NDArray[np.bool_] = inside & self.free
        return result

    def grow(self) -> Proposal:
        """Choose the next larger outline, if there is one."""
        return replace(self, chosen=max(1, self.chosen - 1))

    def shrink(self) -> Proposal:
        """Choose the next smaller outline, if there is one."""
        return replace(self, chosen=min(self.count, self.chosen + 1))


def propose(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    point: Sequence[int],
    *,
    maps: Any = None,
    image: Any = None,
    object_diameter_px: float | None = None,
    dims: int = 2,
) -> Proposal | None:
    """Return the most stable outline around a point.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    point : sequence of int
        One voxel, a coordinate for each axis of the labels.
    maps : array, optional
        One axis before those of the labels; the first map, the foreground, is used.
    image : array, optional
        In the axes of the labels. Its intensities are used where there are no maps, or nothing in them.
    object_diameter_px : float, optional
        Typical diameter: much smaller and much larger outlines are not chosen, but can be walked to, unless there are
        no others.
    dims : {2, 3}
        Whether the object is one plane (default) or a body of the last three axes.

    Returns
    -------
    Proposal or None
        None where nothing stands out, and on checked objects and what is ignored.
    """
    here = tuple(int(c) for c in point)
    under = int(labels[here])
    if status[here] == Status.IGNORE or (under and status[here] == Status.CHECKED):
        return None
    seen = maps is not None and float(maps[(0, *here)]) >= _UNSEEN
    source = maps[0] if seen else image
    if source is None:
        return None
    reach, most = _REACH[dims]
    if object_diameter_px is not None:
        reach = int(min(most, max(reach, 2 * object_diameter_px)))
        most = min(most, 2 * reach)
    unusual: Proposal | None = None
    while True:
        box = _window(here, labels.shape, reach, dims)
        start = tuple(c - s.start for c, s in zip(here, box, strict=True))
        free = ((labels[box] == 0) | (labels[box] == under)) & (status[box] != Status.IGNORE)
        values = np.asarray(source[box], np.float32)
        values, levels = _from_map(values, start) if seen else _from_image(values, start)
        proposal, usual = _choose(values, levels, free, start, box, labels.shape, object_diameter_px, dims)
        if seen or maps is None:  # where the network sees nothing, what the image shows is ground as a rule
            unusual = unusual or proposal
        if (proposal is not None and usual) or 2 * reach > most:
            break
        reach *= 2
    proposal = proposal if usual else unusual
    return None if proposal is None else replace(proposal, replaces=under, dims=dims)


def accept_proposal(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    proposal: Proposal,
    fresh_id: int,
    *,
    replaced_box: Box | None = None,
) -> Edit:
    """Make a checked object of a proposal. It yields to other objects; an unchecked one under the point takes its form.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays, as they were when it was proposed.
    proposal : Proposal
    fresh_id : int
        Number of the object where it is a new one.
    replaced_box : tuple of slice, optional
        Of the object that it replaces, where that is known.
    """
    number, box = proposal.replaces or fresh_id, proposal.box
    if proposal.replaces:
        there = replaced_box or object_box(labels, number) or box
        flat = len(box) - proposal.dims  # in other planes the object stays
        wide = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, there, strict=True))
        box = (*box[:flat], *list(wide)[flat:])
    before = labels[box]
    mask = np.zeros(before.shape, bool)
    mask[tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(proposal.box, box, strict=True))] = (
        proposal.mask
    )
    old = (before == number) & (status[box] == Status.UNCHECKED)
    mask &= (before == 0) | (before == number)
    after = np.where(mask, number, np.where(old, 0, before))
    return make_edit(labels, status, box, "propose", after, mask | old, frozenset({number}))


def _window(point: tuple[int, ...], shape: tuple[int, ...], reach: int, dims: int) -> Box:
    sides = [0] * (len(shape) - dims) + [_SLICES] * (dims - 2) + [reach, reach]
    return tuple(slice(max(0, c - r), min(n, c + r + 1)) for c, r, n in zip(point, sides, shape, strict=True))


def _from_map(values: NDArray[np.float32], start: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    return values, np.linspace(_LOWEST, float(values[start]), _LEVELS)


def _from_image(values: NDArray[np.float32], start: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return intensities, smoothed, such that the object is bright, and the levels to look at."""
    smooth = ndi.gaussian_filter(np.nan_to_num(values, posinf=0, neginf=0), [0] * (values.ndim - 2) + [1.0, 1.0])
    ground = float(np.median(smooth[..., ::2, ::2]))
    if smooth[start] < ground:
        smooth, ground = -smooth, -ground
    return smooth, np.linspace(ground, float(smooth[start]), _LEVELS)


def _choose(
    values: NDArray[np.float32],
    levels: NDArray[np.float64],
    free: NDArray[np.bool_],
    start: tuple[int, ...],
    box: Box,
    shape: tuple[int, ...],
    object_diameter_px: float | None,
    dims: int,
) -> tuple[Proposal | None, bool]:
    """Build the chain in a window and choose; None where all of it reaches out of the window or is tiny.

    And tell whether it is of usual size.
    """
    if not free[start] or levels[-1] <= levels[0]:
        return None, False
    depth, areas, cut = _chain(np.where(free, values, -np.inf), levels, start, box, shape)
    if not areas:
        return None, False
    change = np.full(len(areas), np.inf)
    for k in range(len(areas)):
        outer, inner = areas[max(0, k - 1)], areas[min(len(areas) - 1, k + 1)]
        step = min(len(areas) - 1, k + 1) - max(0, k - 1)
        change[k] = (outer - inner) / areas[k] / max(step, 1)
    sizes = np.array(areas)
    change[(sizes < _SMALLEST) | np.array(cut)] = np.inf
    if not np.isfinite(change).any():
        return None, False
    usual = np.isfinite(change)
    if object_diameter_px is not None:
        typical = np.pi / 4 * object_diameter_px**2 if dims == 2 else np.pi / 6 * object_diameter_px**3
        usual &= (sizes >= typical / 8) & (sizes <= 6 * typical)
    if usual.any():
        change[~usual] = np.inf
    # levels that give almost the same outline are one step of the walk
    best = int(np.argmin(change))
    keep = [best]
    for side in (range(best - 1, -1, -1), range(best + 1, len(areas))):
        last = areas[best]
        for k in side:
            if abs(areas[k] - last) > 0.04 * last and not cut[k] and areas[k] >= min(_SMALLEST, areas[best]):
                keep.append(k)
                last = areas[k]
    keep.sort()
    walk = np.zeros(len(areas) + 1, np.uint8)
    for rank, k in enumerate(keep, start=1):
        walk[k + 1 :] = rank
    stepped = walk[depth]
    (tight,) = ndi.find_objects((stepped > 0).view(np.uint8))
    outer_box = tuple(slice(o.start + s.start, o.start + s.stop) for o, s in zip(box, tight, strict=True))
    return Proposal(outer_box, stepped[tight], free[tight], len(keep), keep.index(best) + 1), bool(usual.any())


def _chain(
    values: NDArray[np.float32],
    levels: NDArray[np.float64],
    start: tuple[int, ...],
    box: Box,
    shape: tuple[int, ...],
) -> tuple[NDArray[np.uint8], list[int], list[bool]]:
    """Return in how many components a voxel lies, their areas from the outside in, and which are cut by the window.

    From the inside out, so that only as much is looked at as they are large; what is around one that is cut is cut.
    """
    depth = np.zeros(values.shape, np.uint8)
    areas: list[int] = []
    cut: list[bool] = []
    crop: Box = tuple(slice(c, c + 1) for c in start)
    for level in levels[-2::-1]:
        crop, inside = _component(values, level, start, crop)
        depth[crop] += inside
        areas.append(int(np.count_nonzero(inside)))
        cut.append(
            any(
                (s.start == 0 and b.start > 0) or (s.stop == b.stop - b.start and b.stop < n)
                for s, b, n in zip(crop[-2:], box[-2:], shape[-2:], strict=True)
            )
        )
        if cut[-1]:
            break
    return depth, areas[::-1], cut[::-1]


def _component(
    values: NDArray[np.float32], level: float, start: tuple[int, ...], inner: Box
) -> tuple[Box, NDArray[np.bool_]]:
    """Return the component above a level that contains a point: its box, and where in it it is.

    `inner` is a box that it fills: that of the level above.
    """
    crop = inner
    while True:
        crop = tuple(
            slice(max(0, s.start - 4 - (s.stop - s.start) // 2), min(n, s.stop + 4 + (s.stop - s.start) // 2))
            for s, n in zip(crop, values.shape, strict=True)
        )
        components, _ = ndi.label(values[crop] >= level)
        inside = components == components[tuple(c - s.start for c, s in zip(start, crop, strict=True))]
        (tight,) = ndi.find_objects(inside.view(np.uint8))
        found = tuple(slice(s.start + t.start, s.start + t.stop) for s, t in zip(crop, tight, strict=True))
        is_whole = all(
            (f.start > c.start or c.start == 0) and (f.stop < c.stop or c.stop == n)
            for f, c, n in zip(found, crop, values.shape, strict=True)
        )
        if is_whole:
            return found, inside[tight]

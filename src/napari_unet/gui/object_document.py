"""Objects: labels that are edited directly, with tools."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status
from napari_unet.correction import (
    accept_proposal,
    complete_area,
    confirm_object,
    cut_object,
    delete_object,
    extend_object,
    fill_holes,
    interpolate_object,
    mark,
    merge_objects,
    propose,
    split_object,
)
from napari_unet.gui.guide import Gray
from napari_unet.gui.object_labels import ObjectLabels
from napari_unet.gui.room import MOST_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_unet.correction import Box, Proposal
    from napari_unet.gui.guide import Guide

__all__ = ["ObjectDocument"]

_APART = 0.4
"""Of red, green and blue, 0 to 1: how far apart colours are that are seen as two."""
_COLORS_TRIED = 16


class ObjectDocument(ObjectLabels):
    """Objects, and what the tools do to them: each is an edit, and False is returned where there was nothing to do.

    Attributes
    ----------
    guide : Guide or None
        The network's maps of what was predicted last, for the tools. None: they follow the image.
    """

    guide: Guide | None = None

    def _fresh_beside(self, number: int, parts: int) -> int:
        """Return the first of new ids for so many parts of an object whose colours can be told apart."""
        first = self.fresh_id()
        for start in range(first, first + _COLORS_TRIED):
            numbers = (number, *range(start, start + parts - 1))
            colors = np.array([self._layer.get_color(one) for one in numbers])[:, :3]
            gaps = np.linalg.norm(colors[:, None] - colors, axis=-1)[~np.eye(len(colors), dtype=bool)]
            if gaps.min() > _APART:
                return start
        return first

    def delete(self, number: int) -> bool:
        """Remove an object; False if there is none of that number."""
        return self._perform(delete_object(self._labels, self.status, number, self._table.box(number)))

    def confirm(self, number: int) -> bool:
        """Declare an object right; False if there is none of that number."""
        return self._perform(confirm_object(self._labels, self.status, number, self._table.box(number)))

    def merge(self, numbers: Sequence[int]) -> bool:
        """Make one object of several; False if fewer than two of them exist."""
        there = [number for number in numbers if self._table.box(number) is not None]
        boxes = [box for box in map(self._table.box, there) if box is not None]
        return len(there) > 1 and self._perform(merge_objects(self._labels, self.status, there, boxes=boxes))

    def split(self, number: int, seeds: Sequence[NDArray[Any]]) -> bool:
        """Divide an object between points; raises `AnnotationError` where it cannot be divided."""
        edit = split_object(
            self._labels, self.status, number, [tuple(seed) for seed in seeds], self._fresh_beside(number, len(seeds)),
            maps=self.guide, image=self.gray, box=self._table.box(number), spacing=self.editable.scale,
        )  # fmt: skip
        return self._perform(edit)

    def cut(self, number: int, line: Sequence[NDArray[Any]]) -> bool:
        """Divide an object along a line; raises `AnnotationError` where the line does not cross it."""
        box = self._table.box(number)
        way = [tuple(point) for point in line]
        return self._perform(cut_object(self._labels, self.status, number, way, self._fresh_beside(number, 2), box=box))

    def fill_holes(self, number: int) -> bool:
        """Fill the holes of an object; False if it has none."""
        return self._perform(fill_holes(self._labels, self.status, number, box=self._table.box(number)))

    def interpolate(self, number: int, other: int | None = None) -> bool:
        """Fill the slices between those of an object, or of two that become one; False if none is skipped."""
        boxes = [self._table.box(n) for n in (number, other) if n is not None]
        known = [box for box in boxes if box is not None]
        if other is None or other == number or len(known) < 2:
            edit = interpolate_object(self._labels, self.status, number, axis=self._z_axis(), box=boxes[0])
            return self._perform(edit)
        merged = merge_objects(self._labels, self.status, [number, other], boxes=known)
        if merged is None:
            return False
        merged.apply(self._labels, self.status)
        try:
            filled = interpolate_object(self._labels, self.status, number, axis=self._z_axis(), box=merged.box)
        finally:
            merged.revert(self._labels, self.status)
        if filled is None:
            return False
        both = replace(
            filled,
            labels_before=merged.labels_before,
            status_before=merged.status_before,
            corrected=merged.corrected | filled.corrected,
        )
        return self._perform(both)

    def extend(self, number: int, plane: tuple[int, ...], step: int) -> bool:
        """Continue an object into the next slice; False where it ends."""
        edit = extend_object(
            self._labels, self.status, number, plane, step,
            maps=self.guide, image=self.gray, axis=self._z_axis(), box=self._table.box(number),
        )  # fmt: skip
        return self._perform(edit)

    def propose(self, point: Sequence[int], *, dims: int, object_diameter_px: float | None) -> Proposal | None:
        """Return the outline of what is under a point; nothing is changed."""
        return propose(
            self._labels, self.status, point,
            maps=self.guide, image=self.gray, object_diameter_px=object_diameter_px, dims=dims,
        )  # fmt: skip

    def accept(self, proposal: Proposal) -> int:
        """Make an object of a proposal and return its number."""
        number = proposal.replaces or self.fresh_id()
        replaced = self._table.box(number)
        self._perform(accept_proposal(self._labels, self.status, proposal, number, replaced_box=replaced))
        return number

    def mark(self, box: Box, where: NDArray[Any], value: Status) -> bool:
        """Set the status of voxels in a box; the labels stay."""
        return self._perform(mark(self._labels, self.status, box, where, value))

    def mark_object(self, number: int, value: Status) -> bool:
        """Set the status of an object; False if there is none of that number."""
        box = self._table.box(number)
        return box is not None and self.mark(box, self._labels[box] == number, value)

    def is_too_much(self, box: Box) -> bool:
        """Whether a box can be declared complete in pieces only."""
        return self.is_large and prod(part.stop - part.start for part in box) > MOST_AT_ONCE

    def complete_in_pieces(self, box: Box) -> Generator[float]:
        """Declare everything in a box right; runs as `fill_in_pieces`."""

        def change(part: Box) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            known = self.status[part]
            return self._labels[part], np.where(known == Status.UNCHECKED, np.uint8(Status.CHECKED), known)

        yield from self._rewrite(change, box, "complete")

    def complete(self, box: Box) -> int:
        """Declare everything in a box right and return how many objects are in it."""
        self._perform(complete_area(self._labels, self.status, box))
        return self.object_count(box)

    @property
    def gray(self) -> Gray:
        """The image in the axes of the labels."""
        return Gray(*self.pixels)

    def _z_axis(self) -> int:
        axis = self.z_axis
        return -3 if axis is None else axis

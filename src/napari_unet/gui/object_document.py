"""Objects: labels that are edited directly."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status
from napari_unet.correction import (
    ObjectTable,
    Refill,
    accept_proposal,
    complete_area,
    confirm_object,
    count_pieces,
    cut_object,
    delete_object,
    extend_object,
    fill_holes,
    interpolate_object,
    mark,
    merge_objects,
    pieces,
    propose,
    refill,
    split_object,
    stroke,
    within,
)
from napari_unet.gui.document import Document, bind_undo_keys
from napari_unet.gui.guide import Gray
from napari_unet.gui.layers import make_labels, make_overlay
from napari_unet.gui.painting import write_into
from napari_unet.gui.room import MOST_AT_ONCE
from napari_unet.gui.strokes import StrokeRecorder
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box, Edit, Proposal, Store
    from napari_unet.gui.guide import Guide

__all__ = ["ObjectDocument"]

_APART = 0.4
"""Of red, green and blue, 0 to 1: how far apart colours are that are seen as two."""
_COLORS_TRIED = 16

_MOST_FOR_PIECES = 2**22
"""Voxels of a bounding box beyond which nobody waits for its pieces to be counted."""


class ObjectDocument(Document):
    """Objects: one labels layer that is edited directly, and a status per voxel shown as an outline.

    Parameters
    ----------
    image : Image
    axes : str
    name : str
        First part of the names of the layers.
    kind : str
        What the objects are.
    store : Store, optional
        See `Document`.

    Attributes
    ----------
    guide : Guide or None
        The network's maps of what was predicted last, for the tools. None: they follow the image.
    """

    def __init__(self, image: Image, axes: str, name: str, kind: str, store: Store | None = None) -> None:
        super().__init__(image, axes, kind, store)
        self.guide: Guide | None = None
        self._layer = make_labels(image, axes, f"{name} labels", self._labels)
        self._outline = make_overlay(self._layer, self.status, f"{name} checked", outline_of_status=True)
        self._table = ObjectTable(self._labels, self.status, self._parts())
        self._counted: ObjectTable | None = None
        self._highest = self._table.highest
        self._recorder = StrokeRecorder(self._layer, self._on_stroke, self.fresh_id, self._box_of)
        for layer in self.layers:
            bind_undo_keys(layer, self.undo, self.redo)

    @property
    def editable(self) -> Labels:
        """The layer that the user paints on."""
        return self._layer

    @property
    def layers(self) -> list[Labels]:
        """Every layer it puts into the viewer, the lowest first."""
        return [self._layer, self._outline]

    @property
    def outlines(self) -> list[Labels]:
        """Those that mean nothing without the others."""
        return [self._outline]

    # --- what it holds -----------------------------------------------------------------------------------

    @property
    def objects(self) -> ObjectTable:
        """Where each object is, and whether it is checked."""
        return self._table

    @property
    def has_labels(self) -> bool:
        """Whether there are objects."""
        return len(self._table) > 0

    @property
    def z_axis(self) -> int | None:
        """Which axis of the labels is Z, None where there is none."""
        place = label_axes(self.axes).find("Z")
        return place if place >= 0 else None

    @property
    def corrected(self) -> frozenset[int]:
        """Objects whose shape the user changed."""
        return frozenset(self._journal.corrected)

    @property
    def decided(self) -> list[int]:
        """Objects that the user decided on, in the order of the first time."""
        return self._journal.decided

    def counts(self) -> tuple[int, int]:
        """Return the number of objects that are checked, and of those that the user changed.

        A change counts as long as its object is checked, or gone.
        """
        changed = (n for n in self._journal.corrected if self._table.is_checked(n) or self._table.box(n) is None)
        return self._table.checked, sum(1 for _ in changed)

    def object_count(self, box: Box) -> int:
        """Return how many objects are in a box."""
        return self._table.count_in(self._labels, box)

    def fresh_id(self) -> int:
        """Return an id that no object has, nor ever had in this session."""
        return self._highest + 1

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

    def pieces(self, number: int) -> int:
        """Return in how many distant pieces an object is; 1 where that would take long to find out."""
        box = self._table.box(number)
        if box is None or _voxels(box) > _MOST_FOR_PIECES:
            return 1
        return count_pieces(self._labels, number, box)

    # --- tools -------------------------------------------------------------------------------------------

    def fill(self, predicted: NDArray[Any], box: Box) -> None:
        """Take over predicted objects wherever nothing is checked, as one undoable step."""
        self._perform(refill(self._labels, self.status, predicted, box, self.fresh_id()))

    def fill_in_pieces(self, predicted: Any, box: Box) -> Iterator[float]:
        """Take over predicted objects in pieces; see `Document.fill_in_pieces`."""
        parts, filling, steps = list(pieces(box)), Refill(), count(1)
        total = 2 * len(parts) + 1
        for part in parts:
            filling.look(np.asarray(predicted[within(part, box)]), self._labels[part], self.status[part])
            yield next(steps) / total
        self._highest = filling.decide(self.fresh_id()) - 1

        def filled() -> Iterator[tuple[Box, NDArray[Any], NDArray[np.uint8]]]:
            for part in parts:
                known = self.status[part]
                after = filling.fill(np.asarray(predicted[within(part, box)]), self._labels[part], known)
                self._labels[part] = after
                yield part, after, known

        for _ in self._keep(filled()):
            yield next(steps) / total
        self._count_again()
        yield 1.0

    def _count_again(self) -> None:
        whole = tuple(slice(0, n) for n in self.shape)
        self._counted = ObjectTable(self._labels, self.status, pieces(whole))
        self._highest = max(self._highest, self._counted.highest)

    def end_filling(self) -> None:
        """Show what was filled in."""
        if self._counted is not None:
            self._table, self._counted = self._counted, None
        super().end_filling()

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
        """Whether a box can be declared complete in pieces only, without a step to undo."""
        return self.is_large and _voxels(box) > MOST_AT_ONCE

    def complete_in_pieces(self, box: Box) -> Iterator[float]:
        """Declare everything in a box right; runs as `fill_in_pieces`."""

        def change(part: Box) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            known = self.status[part]
            return self._labels[part], np.where(known == Status.UNCHECKED, np.uint8(Status.CHECKED), known)

        yield from self._rewrite(change, box)

    def complete(self, box: Box) -> int:
        """Declare everything in a box right and return how many objects are in it."""
        self._perform(complete_area(self._labels, self.status, box))
        return self.object_count(box)

    @property
    def gray(self) -> Gray:
        """The image in the axes of the labels."""
        return Gray(*self.pixels)

    def preview_status(self, box: Box, status: NDArray[Any]) -> None:
        """Show a status before it is decided on."""
        write_into(self._outline, box, status)

    # --- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        self._recorder.disconnect()
        for layer in self.outlines:
            bind_undo_keys(layer, None, None)
        super().close()

    def _box_of(self, number: int) -> Box | None:
        return self._table.box(number)

    def _z_axis(self) -> int:
        axis = self.z_axis
        return -3 if axis is None else axis

    def _on_stroke(self, before: NDArray[Any], after: NDArray[Any], box: Box, erased: NDArray[Any]) -> None:
        self._perform(stroke(before, after, self.status, box, erased))

    def _note(self, edit: Edit, *, back: bool) -> None:
        self._highest = max(self._highest, int((edit.labels_before if back else edit.labels_after).max(initial=0)))
        self._table.update(edit, self._labels, reverted=back)

    def _put(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        self._labels[box], self.status[box] = labels, status

    def _write(self, box: Box, labels: NDArray[Any], status: NDArray[Any]) -> None:
        write_into(self._layer, box, labels)
        write_into(self._outline, box, status)


def _voxels(box: Box) -> int:
    count = 1
    for part in box:
        count *= part.stop - part.start
    return count

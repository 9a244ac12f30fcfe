"""Labels of objects: where each object is, and how predictions are taken over."""

from __future__ import annotations

from contextlib import closing
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.correction import ObjectTable, Refill, count_pieces, pieces, refill, stroke, within
from napari_unet.generators import drained
from napari_unet.gui.document import SEGMENT, Document, bind_undo_keys
from napari_unet.gui.held import Held, read_back
from napari_unet.gui.layers import corner_of, label_shape, make_labels, make_overlay
from napari_unet.gui.painting import write_into
from napari_unet.gui.strokes import StrokeRecorder
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box, Edit, Store

__all__ = ["ObjectLabels"]

_MOST_FOR_PIECES = 2**22
"""Voxels of a bounding box beyond which nobody waits for its pieces to be counted."""


class ObjectLabels(Document):
    """One labels layer that is edited directly, and a status per voxel shown as an outline.

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
    held : Held, optional
        See `Document`. None: it is read now.
    """

    def __init__(
        self, image: Image, axes: str, name: str, kind: str, store: Store | None = None, held: Held | None = None
    ) -> None:
        held = held or drained(self.read_back(label_shape(image, axes), store))
        super().__init__(image, axes, kind, store, held)
        self._layer = make_labels(image, axes, f"{name} labels", self._labels)
        self._outline = make_overlay(self._layer, held.framed, f"{name} checked", outline_of_status=True)
        more = self._layer.ndim - 2
        self._outline.translate = corner_of(self._layer, (slice(0, 0),) * (more + 2), beyond=(*[0] * more, -1, -1))
        self._table: ObjectTable = held.found
        self._counted: ObjectTable | None = None
        self._parts_counted = self._no_objects(), self._no_objects()  # of the parts that are changed: before and now
        self._highest: int = self._table.highest
        self._recorder = StrokeRecorder(self._layer, self._on_stroke, self.fresh_id, self._box_of)
        for layer in self.layers:
            bind_undo_keys(layer, self.undo, self.redo)

    @classmethod
    def read_back(cls, shape: tuple[int, ...], store: Store | None) -> Generator[float, None, Held]:
        """Return the work of reading labels and status, and of counting the objects in them."""
        return read_back(
            shape,
            store,
            lambda held: ObjectTable(held.labels, held.status, ()),
            lambda held, part: held.found.add(held.labels, held.status, part),
        )

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
        """Those of its layers that mean nothing without the others."""
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

    def pieces(self, number: int) -> int:
        """Return in how many distant pieces an object is; 1 where that would take long to find out."""
        box = self._table.box(number)
        if box is None or prod(part.stop - part.start for part in box) > _MOST_FOR_PIECES:
            return 1
        count: int = count_pieces(self._labels, number, box)
        return count

    # --- predictions -------------------------------------------------------------------------------------

    def fill(self, predicted: NDArray[Any], box: Box, *, linked: str = "") -> None:
        """Take over predicted objects wherever nothing is checked, as one undoable step."""
        along = self._numbers_of(linked)
        self._perform(refill(self._labels, self.status, predicted, box, self.fresh_id(), along))

    def fill_in_pieces(self, predicted: Any, box: Box, what: str = SEGMENT, *, linked: str = "") -> Generator[float]:
        """Take over predicted objects in pieces; see `Document.fill_in_pieces`."""
        parts, filling = list(pieces(box)), Refill([part.stop - part.start for part in box], self._numbers_of(linked))
        for number, part in enumerate(parts, start=1):
            inner = within(part, box)
            filling.look(inner, np.asarray(predicted[inner]), self._labels[part], self.status[part])
            yield number / len(parts) / 2
        self._highest = filling.decide(self.fresh_id()) - 1

        def change(part: Box) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            known, inner = self.status[part], within(part, box)
            return filling.fill(inner, np.asarray(predicted[inner]), self._labels[part], known), known

        with closing(self._rewrite(change, box, what)) as steps:
            for fraction in steps:
                yield 0.5 + fraction / 2

    def begin_to_fill(self) -> None:
        """Let nobody else change anything."""
        super().begin_to_fill()
        self._parts_counted = self._no_objects(), self._no_objects()

    def end_filling(self) -> None:
        """Show what was filled in, and let others change it again."""
        if self._counted is not None:
            self._table, self._counted = self._counted, None
            self._parts_counted = self._no_objects(), self._no_objects()
        super().end_filling()

    def preview_status(self, box: Box, status: NDArray[Any]) -> None:
        """Show a status before it is decided on."""
        write_into(self._outline, _inside_frame(box), status)

    # --- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        self._recorder.disconnect()
        for layer in self.outlines:
            bind_undo_keys(layer, None, None)
        super().close()

    def _count_up(self) -> None:
        self._counted = self._table.exchanged(*self._parts_counted, self._labels)
        self._highest = max(self._highest, self._counted.highest)

    def _no_objects(self) -> ObjectTable:
        return ObjectTable(self._labels, self.status, ())

    def _numbers_of(self, letters: str) -> list[int]:
        axes = label_axes(self.axes)
        return [axes.index(letter) for letter in letters if letter in axes]

    def _box_of(self, number: int) -> Box | None:
        return self._table.box(number)

    def _on_stroke(self, before: NDArray[Any], after: NDArray[Any], box: Box, erased: NDArray[Any]) -> None:
        self._perform(stroke(before, after, self.status, box, erased))

    def _note(self, edit: Edit, *, back: bool) -> None:
        self._highest = max(self._highest, int((edit.labels_before if back else edit.labels_after).max(initial=0)))
        self._table.update(edit, self._labels, reverted=back)

    def _put(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        before, now = self._parts_counted
        before.add(self._labels, self.status, box)
        self._labels[box], self.status[box] = labels, status
        now.add(self._labels, self.status, box)

    def _write(self, box: Box, labels: NDArray[Any], status: NDArray[Any]) -> None:
        write_into(self._layer, box, labels)
        write_into(self._outline, _inside_frame(box), status)


def _inside_frame(box: Box) -> Box:
    """Return where a box lies in what has a frame of a pixel around each plane."""
    return (*box[:-2], *(slice(part.start + 1, part.stop + 1) for part in box[-2:]))

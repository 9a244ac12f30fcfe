"""Objects: labels that are edited directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status
from napari_unet.correction import complete_area, confirm_object, delete_object, refill, stroke
from napari_unet.gui.document import Document, bind_undo_keys
from napari_unet.gui.layers import make_labels, make_overlay
from napari_unet.gui.strokes import StrokeRecorder

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box, Store

__all__ = ["ObjectDocument"]


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
    """

    def __init__(self, image: Image, axes: str, name: str, kind: str, store: Store | None = None) -> None:
        super().__init__(image, axes, kind, store)
        self._layer = make_labels(image, axes, f"{name} labels", self._labels)
        self._outline = make_overlay(self._layer, self.status, f"{name} checked", outline_of_status=True)
        self._highest = int(self._labels.max(initial=0))
        self._recorder = StrokeRecorder(self._layer, self._on_stroke, self.fresh_id)
        bind_undo_keys(self._layer, self.undo, self.redo)

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

    def fresh_id(self) -> int:
        """Return an id that no object has, nor ever had in this session."""
        return self._highest + 1

    def fill(self, predicted: NDArray[Any], box: Box) -> None:
        """Take over predicted objects wherever nothing is checked, as one undoable step."""
        self._perform(refill(self._labels, self.status, predicted, box))

    def delete(self, number: int) -> bool:
        """Remove an object; False if there is none of that number."""
        return self._perform(delete_object(self._labels, self.status, number))

    def confirm(self, number: int) -> bool:
        """Declare an object right; False if there is none of that number."""
        return self._perform(confirm_object(self._labels, self.status, number))

    def complete(self, box: Box) -> int:
        """Declare everything in a box right and return how many objects are in it."""
        self._perform(complete_area(self._labels, self.status, box))
        return self.object_count(box)

    def object_count(self, box: Box) -> int:
        """Return how many objects are in a box."""
        return int(np.count_nonzero(np.unique(self._labels[box])))

    def counts(self) -> tuple[int, int]:
        """Return the number of objects that are checked, and of those that the user changed."""
        checked = np.unique(self._labels[self.status == Status.CHECKED])
        return int(np.count_nonzero(checked)), len(self._journal.corrected)

    @property
    def corrected(self) -> frozenset[int]:
        """Objects whose shape the user changed."""
        return frozenset(self._journal.corrected)

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        self._recorder.disconnect()
        super().close()

    def _on_stroke(self, before: NDArray[Any], after: NDArray[Any], box: Box, erased: NDArray[np.bool_]) -> None:
        self._perform(stroke(before, after, self.status, box, erased))

    def _apply(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        self._highest = max(self._highest, int(labels.max(initial=0)))
        super()._apply(box, labels, status)

    def _show(self) -> None:
        self._layer.refresh()
        self._outline.refresh()

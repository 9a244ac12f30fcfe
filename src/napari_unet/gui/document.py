"""The image being worked on, with its labels, their status and the undo stack, as napari layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_unet.annotation import Status
from napari_unet.correction import (
    Box,
    Edit,
    Journal,
    complete_area,
    confirm_object,
    delete_object,
    refill,
    snapshot,
    stroke,
)
from napari_unet.gui.layers import label_shape, make_labels, make_overlay
from napari_unet.gui.strokes import StrokeRecorder
from napari_unet.images import measure_normalization, to_canonical

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.annotation import Annotated
    from napari_unet.images import Normalization
    from napari_unet.models import ModelSpec

__all__ = ["ClassDocument", "Document", "ObjectDocument", "kind_of"]


class Document(Protocol):
    """What the workbench needs of a document, for objects and for classes alike."""

    changed: Any
    image: Image
    axes: str
    kind: str

    @property
    def editable(self) -> Labels:
        """The layer that the user paints on."""

    @property
    def layers(self) -> list[Labels]:
        """Every layer it has put into the viewer, the lowest first."""

    @property
    def outlines(self) -> list[Labels]:
        """Those that mean nothing without the others."""

    @property
    def labels(self) -> NDArray[Any]:
        """The labels: what is checked where it is, else what was predicted."""

    def fill(self, predicted: NDArray[Any], box: Box) -> None:
        """Take over a prediction, in `box`, wherever nothing is checked."""

    def counts(self) -> tuple[int, int]:
        """Return how much is checked, and how much of it was corrected."""

    def snapshot(self, spec: ModelSpec, object_diameter_px: float | None = None) -> list[Annotated]:
        """Return copies of what is checked."""

    def normalization(self, spec: ModelSpec) -> Normalization:
        """Return the normalisation of the whole image, measured once."""

    def undo(self) -> bool:
        """Take back the last change; False if there is none."""

    def redo(self) -> bool:
        """Make it again; False if there is none."""

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""


class _OnImage:
    """What documents for objects and for classes have in common."""

    def __init__(self, image: Image, axes: str, kind: str) -> None:
        self.image = image
        self.axes = axes
        self.kind = kind
        self.shape = label_shape(image, axes)
        self._normalizations: dict[tuple[float, float], Normalization] = {}

    def normalization(self, spec: ModelSpec) -> Normalization:
        """Return the normalisation of the whole image, measured once."""
        if spec.percentiles not in self._normalizations:
            pixels = to_canonical(self.image.data, self.axes)
            self._normalizations[spec.percentiles] = measure_normalization(pixels, spec.percentiles)
        return self._normalizations[spec.percentiles]

    def _snapshot(
        self, labels: NDArray[Any], status: NDArray[np.uint8], spec: ModelSpec, object_diameter_px: float | None
    ) -> list[Annotated]:
        return snapshot(
            self.image.data,
            labels,
            status,
            self.axes,
            spatial_dims=spec.spatial_dims,
            normalization=self.normalization(spec),
            name=self.image.name,
            object_diameter_px=object_diameter_px,
        )


class ObjectDocument(_OnImage):
    """Objects: one labels layer that is edited directly, and a status per voxel shown as an outline.

    Parameters
    ----------
    image : Image
    axes : str
    name : str
        First part of the names of the layers.
    kind : str
        What the objects are.
    """

    changed = Signal()

    def __init__(self, image: Image, axes: str, name: str, kind: str) -> None:
        super().__init__(image, axes, kind)
        data = np.zeros(self.shape, np.int32)
        self.status = np.zeros(self.shape, np.uint8)
        self._layer = make_labels(image, axes, f"{name} labels", data)
        self._outline = make_overlay(self._layer, self.status, f"{name} checked", outline_of_status=True)
        self._journal = Journal()
        self._highest = 0
        self._recorder = StrokeRecorder(self._layer, self.fresh_id, self._on_stroke)
        _bind_keys(self._layer, self.undo, self.redo)

    @property
    def editable(self) -> Labels:
        """The layer that the user paints on."""
        return self._layer

    @property
    def layers(self) -> list[Labels]:
        """Every layer it has put into the viewer, the lowest first."""
        return [self._layer, self._outline]

    @property
    def outlines(self) -> list[Labels]:
        """Those that mean nothing without the others."""
        return [self._outline]

    @property
    def labels(self) -> NDArray[Any]:
        """Object ids."""
        data: NDArray[Any] = self._layer.data
        return data

    def fresh_id(self) -> int:
        """Return an id that no object has, nor ever had in this session."""
        return self._highest + 1

    def fill(self, predicted: NDArray[Any], box: Box) -> None:
        """Take over predicted objects wherever nothing is checked, as one undoable step."""
        self._perform(refill(self.labels, self.status, predicted, box))

    def delete(self, number: int) -> bool:
        """Remove an object; False if there is none of that number."""
        return self._perform(delete_object(self.labels, self.status, number))

    def confirm(self, number: int) -> bool:
        """Declare an object right; False if there is none of that number."""
        return self._perform(confirm_object(self.labels, self.status, number))

    def complete(self, box: Box) -> int:
        """Declare everything in a box right and return how many objects are in it."""
        self._perform(complete_area(self.labels, self.status, box))
        return self.object_count(box)

    def object_count(self, box: Box) -> int:
        """Return how many objects are in a box."""
        return int(np.count_nonzero(np.unique(self.labels[box])))

    def counts(self) -> tuple[int, int]:
        """Return the number of objects that are checked, and of those that the user changed."""
        checked = np.unique(self.labels[self.status == Status.CHECKED])
        return int(np.count_nonzero(checked)), len(self._journal.corrected)

    def snapshot(self, spec: ModelSpec, object_diameter_px: float | None = None) -> list[Annotated]:
        """Return copies of what is checked."""
        return self._snapshot(self.labels, self.status, spec, object_diameter_px)

    def undo(self) -> bool:
        """Take back the last change, whichever tool or plane it was made with."""
        edit = self._journal.undo()
        if edit is not None:
            edit.revert(self.labels, self.status)
            self._refresh()
        return edit is not None

    def redo(self) -> bool:
        """Make the last undone change again."""
        edit = self._journal.redo()
        if edit is not None:
            edit.apply(self.labels, self.status)
            self._refresh()
        return edit is not None

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        self._recorder.disconnect()
        _bind_keys(self._layer, None, None)

    def _on_stroke(self, before: NDArray[Any], after: NDArray[Any], box: Box, erased: NDArray[np.bool_]) -> None:
        self._perform(stroke(before, after, self.status, box, erased))

    def _perform(self, edit: Edit | None) -> bool:
        if edit is None:
            return False
        if not edit.changes_nothing:
            edit.apply(self.labels, self.status)
            self._highest = max(self._highest, int(edit.labels_after.max(initial=0)))
            self._journal.record(edit)
            self._refresh()
        return True

    def _refresh(self) -> None:
        self._layer.refresh()
        self._outline.refresh()
        self.changed.emit()


class ClassDocument(_OnImage):
    """Classes: annotations to paint on (0 nothing, 1 background, 2 and up the classes) over a prediction.

    Just the stroked voxels are checked; the eraser forgets.
    """

    changed = Signal()

    def __init__(self, image: Image, axes: str, name: str, spec: ModelSpec) -> None:
        super().__init__(image, axes, kind_of(spec))
        self._prediction = make_labels(image, axes, f"{name} prediction", np.zeros(self.shape, np.uint8))
        self._annotations = make_labels(image, axes, f"{name} annotations", np.zeros(self.shape, np.uint8))
        self._prediction.editable = False
        self._prediction.colormap = _class_colors(spec, first=1)
        self._annotations.colormap = _class_colors(spec, first=2)
        self._annotations.selected_label = 2
        self._prediction.opacity = 0.35
        self._annotations.opacity = 0.8
        self._annotations.events.paint.connect(self._on_paint)
        _bind_keys(self._annotations, self.undo, self.redo)

    @property
    def editable(self) -> Labels:
        """The layer that the user paints on."""
        return self._annotations

    @property
    def layers(self) -> list[Labels]:
        """Every layer it has put into the viewer, the lowest first."""
        return [self._prediction, self._annotations]

    @property
    def outlines(self) -> list[Labels]:
        """Those that mean nothing without the others."""
        return []

    @property
    def labels(self) -> NDArray[Any]:
        """Classes: the prediction with the annotations on top."""
        annotated = self._annotations.data
        result: NDArray[Any] = np.where(annotated > 0, annotated - (annotated > 0), self._prediction.data)
        return result

    def fill(self, predicted: NDArray[Any], box: Box) -> None:
        """Show the predicted classes."""
        self._prediction.data[box] = predicted
        self._prediction.refresh()
        self.changed.emit()

    def counts(self) -> tuple[int, int]:
        """Return the number of annotated voxels, twice: painting is correcting."""
        count = int(np.count_nonzero(self._annotations.data))
        return count, count

    def snapshot(self, spec: ModelSpec, object_diameter_px: float | None = None) -> list[Annotated]:
        """Return copies of what is annotated."""
        annotated = np.asarray(self._annotations.data)
        status = np.where(annotated > 0, np.uint8(Status.CHECKED), np.uint8(Status.UNCHECKED))
        labels = annotated - (annotated > 0).astype(annotated.dtype)
        return self._snapshot(labels, status, spec, object_diameter_px)

    def undo(self) -> bool:
        """Take back the last stroke."""
        before = self._annotations.data.copy()
        self._annotations.undo()
        self._on_change()
        return not np.array_equal(before, self._annotations.data)

    def redo(self) -> bool:
        """Make the last undone stroke again."""
        before = self._annotations.data.copy()
        self._annotations.redo()
        self._on_change()
        return not np.array_equal(before, self._annotations.data)

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        self._annotations.events.paint.disconnect(self._on_paint)
        _bind_keys(self._annotations, None, None)

    def _on_paint(self) -> None:
        # the polygon tells before it writes
        QTimer.singleShot(0, self._on_change)

    def _on_change(self) -> None:
        self.changed.emit()


def _bind_keys(layer: Labels, undo: Callable[[], bool] | None, redo: Callable[[], bool] | None) -> None:
    """Put undo and redo on the keys of napari's own history of the layer, or give them back to it."""

    def on_key(act: Callable[[], bool]) -> Callable[[Labels], None]:
        def press(_: Labels) -> None:
            act()

        return press

    for key, act in (("Control-Z", undo), ("Control-Shift-Z", redo)):
        layer.bind_key(key, None if act is None else on_key(act), overwrite=True)


def kind_of(spec: ModelSpec | None) -> str:
    """Return what a model finds: labels of another kind get layers of their own."""
    return ", ".join(one.name for one in spec.classes) if spec is not None else "object"


def _class_colors(spec: ModelSpec, *, first: int) -> DirectLabelColormap:
    """Return the colours of the classes, numbered from `first`; a number between 0 and the first is background."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent", 1: "#5a7fa6"}
    colors.update({number: one.color for number, one in enumerate(spec.classes, start=first)})
    return DirectLabelColormap(color_dict=colors)

"""Classes: annotations that are painted over a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap

from napari_unet.annotation import Status
from napari_unet.correction import Edit, within
from napari_unet.generators import drained
from napari_unet.gui.document import SEGMENT, Document, bind_undo_keys, kind_of
from napari_unet.gui.held import Held, read_back
from napari_unet.gui.layers import label_shape, make_labels
from napari_unet.gui.painting import write_into
from napari_unet.gui.strokes import StrokeRecorder

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box, Store
    from napari_unet.models import ModelSpec

__all__ = ["ClassDocument"]


class ClassDocument(Document):
    """Classes: annotations to paint on (0 nothing, 1 background, 2 and up the classes) over a prediction.

    Just the stroked voxels are checked; the eraser forgets.

    Parameters
    ----------
    image : Image
    axes : str
    name : str
        First part of the names of the layers.
    spec : ModelSpec
        Names and colours of the classes.
    store : Store, optional
        See `Document`.
    held : Held, optional
        See `Document`. None: it is read now.
    """

    def __init__(
        self,
        image: Image,
        axes: str,
        name: str,
        spec: ModelSpec,
        store: Store | None = None,
        held: Held | None = None,
    ) -> None:
        held = held or drained(self.read_back(label_shape(image, axes), store))
        super().__init__(image, axes, kind_of(spec), store, held)
        found: _Painted = held.found
        self._count, self._has_some = found.count, found.has_some
        self._prediction = make_labels(image, axes, f"{name} prediction", found.prediction)
        self._annotations = make_labels(image, axes, f"{name} annotations", found.annotations)
        self._prediction.editable = False
        self.show_classes(spec)
        self._annotations.selected_label = 2
        self._prediction.opacity = 0.35
        self._annotations.opacity = 0.8
        self._recorder = StrokeRecorder(self._annotations, self._on_stroke)
        bind_undo_keys(self._annotations, self.undo, self.redo)

    @classmethod
    def read_back(cls, shape: tuple[int, ...], store: Store | None) -> Generator[float, None, Held]:
        """Return the work of reading labels and status, and of parting what is painted from what was predicted."""
        return read_back(shape, store, _Painted, lambda held, part: held.found.add(held, part))

    @property
    def editable(self) -> Labels:
        """The layer that the user paints on."""
        return self._annotations

    @property
    def layers(self) -> list[Labels]:
        """Every layer it puts into the viewer, the lowest first."""
        return [self._prediction, self._annotations]

    @property
    def has_labels(self) -> bool:
        """Whether there is anything but background; in a large image, whether there ever was."""
        return self._has_some if self.is_large else super().has_labels

    def show_classes(self, spec: ModelSpec) -> None:
        """Take up the names and colours of a model that knows these classes, and maybe more."""
        self.kind = kind_of(spec)
        self._prediction.colormap = _class_colors(spec, first=1)
        self._annotations.colormap = _class_colors(spec, first=2)
        if self.store is not None:
            self.store.kind = self.kind
            self.store.remember(colors=[one.color for one in spec.classes])

    def fill(self, predicted: NDArray[Any], box: Box, *, linked: str = "") -> None:
        """Take over predicted classes wherever nothing is painted, as one undoable step."""
        before, status = self._labels[box].copy(), self.status[box].copy()
        after = np.where(status == Status.UNCHECKED, predicted, before).astype(before.dtype)
        # under the strokes too: what is erased later shows what was predicted
        self._prediction.data[box] = predicted
        self._perform(Edit(box, before, after, status, status, SEGMENT))
        self._prediction.refresh()

    def fill_in_pieces(self, predicted: Any, box: Box, what: str = SEGMENT, *, linked: str = "") -> Generator[float]:
        """Take over predicted classes in pieces; see `Document.fill_in_pieces`."""

        def change(part: Box) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            new, known = np.asarray(predicted[within(part, box)]), self.status[part]
            self._prediction.data[part] = new  # under the strokes too
            return np.where(known == Status.UNCHECKED, new, self._labels[part]).astype(np.int32), known

        return self._rewrite(change, box, what)

    @property
    def proposed(self) -> NDArray[Any]:
        """The predicted classes, under the strokes too."""
        return np.asarray(self._prediction.data)

    @property
    def _are_objects(self) -> bool:
        """Whether each number is an object, and not a class."""
        return False

    def counts(self) -> tuple[int, int]:
        """Return the number of annotated voxels, twice: painting is correcting."""
        return self._count, self._count

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        self._recorder.disconnect()
        super().close()

    def _on_stroke(self, before: NDArray[Any], after: NDArray[Any], box: Box, _: NDArray[np.bool_]) -> None:
        status = np.where(after > 0, np.uint8(Status.CHECKED), np.uint8(Status.UNCHECKED))
        labels = np.where(after > 0, after.astype(np.int32) - 1, self._prediction.data[box])
        self._perform(Edit(box, self._labels[box].copy(), labels, self.status[box].copy(), status, "stroke"))

    def _put(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        painted = self._note_painted(box, labels, status)
        self._annotations.data[box] = _annotation(labels, painted)
        self._prediction.data[box] = np.where(painted, self._prediction.data[box], labels)

    def _note_painted(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Take up labels and status, and return where is painted."""
        painted: NDArray[np.bool_] = status == Status.CHECKED
        was_painted = self.status[box] == Status.CHECKED
        self._count += int(np.count_nonzero(painted)) - int(np.count_nonzero(was_painted))
        self._labels[box], self.status[box] = labels, status
        self._has_some |= self.is_large and bool(labels.any())
        return painted

    def _write(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        painted = self._note_painted(box, labels, status)
        write_into(self._annotations, box, _annotation(labels, painted))
        write_into(self._prediction, box, np.where(painted, self._prediction.data[box], labels).astype(np.uint8))


class _Painted:
    """What the two layers show, and how much is painted."""

    def __init__(self, held: Held) -> None:
        self.prediction, self.annotations = held.zeros(np.uint8), held.zeros(np.uint8)
        self.count, self.has_some = 0, False

    def add(self, held: Held, part: Box) -> None:
        """Take up what is in a part."""
        labels, painted = held.labels[part], held.status[part] == Status.CHECKED
        self.prediction[part] = labels
        self.annotations[part] = _annotation(labels, painted)
        self.count += int(np.count_nonzero(painted))
        self.has_some |= bool(labels.any())


def _annotation(labels: NDArray[Any], painted: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return what the layer to paint on shows of labels."""
    return np.where(painted, labels + 1, 0).astype(np.uint8)


def _class_colors(spec: ModelSpec, *, first: int) -> DirectLabelColormap:
    """Return the colours of the classes, numbered from `first`; a number between 0 and the first is background."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent", 1: "#5a7fa6"}
    colors.update({number: one.color for number, one in enumerate(spec.classes, start=first)})
    return DirectLabelColormap(color_dict=colors)

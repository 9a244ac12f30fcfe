"""The image being worked on, with its labels, their status and the undo stack, as napari layers."""

from __future__ import annotations

from abc import abstractmethod
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_unet.correction import IMPORT, Edit, Journal, import_edit, make_sample
from napari_unet.errors import AnnotationError
from napari_unet.gui.changing import SEGMENT, InPieces
from napari_unet.gui.collecting import at_once, copied_part, looked_through
from napari_unet.gui.layers import label_shape
from napari_unet.gui.room import how_many_fit
from napari_unet.images import label_axes, measure_normalization, to_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.annotation import Annotated
    from napari_unet.correction import Box, Store
    from napari_unet.gui.collecting import Copying
    from napari_unet.gui.held import Held
    from napari_unet.images import Normalization
    from napari_unet.models import ModelSpec

__all__ = ["SEGMENT", "Document", "bind_undo_keys", "kind_of"]


class Document(InPieces):
    """Labels of an image and what is known of them. Every change is an edit in the journal.

    Parameters
    ----------
    image : Image
    axes : str
        Axes of the image.
    kind : str
        What is labelled.
    store : Store or None
        Keeps what is corrected. None: in memory only.
    held : Held
        What the store brings back, from `read_back`.

    Attributes
    ----------
    status : ndarray of uint8
        `Status` per voxel, in the shape of the labels.
    is_large : bool
        Whether the labels are in a file instead of memory. Then what changes much at once is done piece by piece
        (`fill_in_pieces` and others), and what needs a copy of everything is not offered.
    bases : dict of str
        For each version that was learned from this image, by its name, the model that it started from.
    changed : Signal
        Emitted after every change of labels or status.
    edited : Signal
        Emitted with each new edit, after it was made; not when it is taken back or made again.
    """

    changed = Signal()
    edited = Signal(object)

    def __init__(self, image: Image, axes: str, kind: str, store: Store | None, held: Held) -> None:
        super().__init__()
        self.image = image
        self.axes = axes
        self.kind = kind
        self.store = store
        self.shape = label_shape(image, axes)
        self.is_large = held.is_large
        self._journal = store.journal if store is not None else Journal()
        self._labels: NDArray[Any] = held.labels
        self.status = held.status
        self._fed: tuple[Any, str] | None = None
        self._normalizations: dict[tuple[float, float], Normalization] = {}
        self.bases: dict[str, str] = dict(store.facts.get("bases", {})) if store is not None else {}

    @classmethod
    @abstractmethod
    def read_back(cls, shape: tuple[int, ...], store: Store | None) -> Generator[float, None, Held]:
        """Return the work of reading what a document of this shape begins with; yields how far it is, 0 to 1.

        It may run in a worker.
        """

    def remember_base(self, version: str, base: str) -> None:
        """Note what a version that was learned from this image started from, for the next training and session."""
        self.bases = {**self.bases, version: base}
        if self.store is not None:
            self.store.remember(bases=self.bases)

    # --- what it looks like ------------------------------------------------------------------------------

    @property
    def outlines(self) -> list[Labels]:
        """Those of its layers that mean nothing without the others."""
        return []

    @property
    def has_labels(self) -> bool:
        """Whether there is anything but background."""
        return bool(self._labels.any())

    @abstractmethod
    def _write(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Bring the arrays and the layers up to date."""

    # --- what it holds -----------------------------------------------------------------------------------

    @property
    def labels(self) -> NDArray[Any]:
        """The labels: what is checked where it is, else what was predicted."""
        return self._labels

    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """Return how much is checked, and how much of it was corrected."""

    @abstractmethod
    def fill(self, predicted: NDArray[Any], box: Box, *, linked: str = "") -> None:
        """Take over a prediction, in `box`, wherever nothing is checked, as one undoable step.

        `linked` are the axes along which its objects were linked, step by step.
        """

    def take_over(self, found: NDArray[Any], *, as_truth: bool) -> None:
        """Take over labels of another program, as one undoable step.

        They are the truth, and everything is checked; or they are to be checked, and stand wherever nothing is.
        """
        objects = self._are_objects
        self._perform(import_edit(self._labels, self.status, found, as_truth=as_truth, objects=objects))

    @property
    def proposed(self) -> NDArray[Any]:
        """The labels such that `fill` can bring them back; a copy of them is to be kept."""
        return self._labels

    def clear(self) -> None:
        """Begin anew, as one undoable step."""
        labels, status = self._labels, self.status
        whole = tuple(slice(0, n) for n in labels.shape)
        self._perform(
            Edit(whole, labels.copy(), np.zeros_like(labels), status.copy(), np.zeros_like(status), "begin anew")
        )

    def snapshot(self, spec: ModelSpec, object_diameter_px: float | None = None) -> tuple[list[Annotated], int]:
        """Return copies of what is checked, and how many slices are left out because they do not fit into memory.

        Raises
        ------
        AnnotationError
            If a volume that a 3-D model would learn from does not fit.
        """
        return at_once(self.copy_checked(spec, object_diameter_px))

    def copy_checked(self, spec: ModelSpec, object_diameter_px: float | None = None) -> Copying:
        """Return the work that `snapshot` is; most of it is for a worker."""
        (pixels, axes), letters = self.pixels, label_axes(self.axes)
        parts = yield from looked_through(self.status, letters, spec.spatial_dims)
        chosen = self._that_fit(parts, spec) if self.is_large else parts
        about: dict[str, Any] = {"normalization": self.normalization(spec), "name": self.image.name}
        samples: list[Annotated] = []
        for where in chosen:
            copied = yield from copied_part(self._labels, self.status, letters, where)
            samples.append(make_sample(pixels, axes, where, copied, object_diameter_px=object_diameter_px, **about))
        return samples, len(parts) - len(chosen)

    def _that_fit(self, parts: list[tuple[int, ...]], spec: ModelSpec) -> list[tuple[int, ...]]:
        """Return as many of the parts as there is room for, evenly spread."""
        pixels, axes = self.pixels
        sizes = dict(zip(label_axes(self.axes), self.shape, strict=True))
        channels = prod(n for n, letter in zip(pixels.shape, axes, strict=True) if letter in "CS")
        voxels = prod(sizes.get(letter, 1) for letter in "ZYX"[-spec.spatial_dims :])
        room = how_many_fit(voxels, channels * np.dtype(pixels.dtype).itemsize)
        if spec.spatial_dims == 3 and room < len(parts):
            raise AnnotationError(
                "A 3-D model learns from whole volumes, and these do not fit into memory. Cut a part out of the stack, "
                "save it as an image of its own and correct that, or take a 2-D model."
            )
        which = np.linspace(0, len(parts) - 1, min(len(parts), max(1, room))).round().astype(int)
        return [parts[n] for n in which]

    def normalization(self, spec: ModelSpec) -> Normalization:
        """Return the normalisation of the whole image, measured once."""
        if spec.percentiles not in self._normalizations:
            self._normalizations[spec.percentiles] = measure_normalization(to_canonical(*self.pixels), spec.percentiles)
        return self._normalizations[spec.percentiles]

    @property
    def pixels(self) -> tuple[Any, str]:
        """What a model sees of the image, and its axes."""
        return self._fed or (self.image.data, self.axes)

    def feed(self, pixels: tuple[Any, str] | None) -> None:
        """Let models see these channels, with their axes; None: the image as it is."""
        if pixels is not None or self._fed is not None:
            self._normalizations.clear()
        self._fed = pixels

    # --- what is done to it ------------------------------------------------------------------------------

    def undo(self) -> bool:
        """Take back the last change, whichever tool or plane it was made with; False if there is none."""
        return self._walk(back=True)

    def redo(self) -> bool:
        """Make the last undone change again; False if there is none."""
        return self._walk(back=False)

    def close(self) -> None:
        """Let go of the layers; they stay in the viewer."""
        if self._kept is not None:
            self._kept[0].remove()
            self._kept = None
        bind_undo_keys(self.editable, None, None)

    def _walk(self, *, back: bool) -> bool:
        if self.is_busy:
            return False
        if self.takes_long(back=back):
            self.begin_to_fill()
            try:
                for _ in self.walk_in_pieces(back=back):
                    pass
            finally:
                self.end_filling()
            return True
        edit = self._journal.undo() if back else self._journal.redo()
        if isinstance(edit, Edit):
            self._take(edit, back=back)
        return edit is not None

    def _perform(self, edit: Edit | None) -> bool:
        """Make an edit and note it; False if there is none to make."""
        if edit is None or self.is_busy:
            return False
        # undo after a segmentation, or an import, takes back that and nothing before it, whatever it changed
        if edit.what in (SEGMENT, IMPORT) or not edit.changes_nothing:
            self._journal.record(edit)
            self._take(edit)
            self.edited.emit(edit)
        return True

    def _take(self, edit: Edit, *, back: bool = False) -> None:
        """Write an edit, or take it back."""
        if back:
            self._write(edit.box, edit.labels_before, edit.status_before)
        else:
            self._write(edit.box, edit.labels_after, edit.status_after)
        if edit.what != SEGMENT:
            self.corrections += -1 if back else 1
        self._note(edit, back=back)
        self.changed.emit()

    def _note(self, edit: Edit, *, back: bool) -> None:
        """Follow an edit that was written, or taken back."""


def bind_undo_keys(layer: Labels, undo: Callable[[], object] | None, redo: Callable[[], object] | None) -> None:
    """Put undo and redo on the keys of napari's own history of the layer, or give them back to it."""

    def on_key(act: Callable[[], object]) -> Callable[[Labels], None]:
        def press(_: Labels) -> None:
            act()

        return press

    for key, act in (("Control-Z", undo), ("Control-Shift-Z", redo)):
        layer.bind_key(key, None if act is None else on_key(act), overwrite=True)


def kind_of(spec: ModelSpec | None) -> str:
    """Return what a model finds: labels of another kind get layers of their own."""
    return spec.kind if spec is not None else "object"

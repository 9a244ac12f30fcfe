"""Changes of everything in an image that does not fit into memory: piece by piece, each of them one step to undo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status
from napari_unet.correction import IMPORT, Edit, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari.layers import Labels
    from numpy.typing import NDArray
    from psygnal import SignalInstance

    from napari_unet.correction import Box, EditFile, Journal, Store

__all__ = ["SEGMENT", "InPieces"]

SEGMENT = "segment"
"""What an edit is called that takes over a prediction."""


class InPieces(ABC):
    """What a document is changed by in pieces, in a worker, between `begin_to_fill` and `end_filling`.

    Attributes
    ----------
    is_busy : bool
        Whether it is being changed piece by piece: nothing else is changed meanwhile.
    filled : float
        How much of the last change piece by piece was made, 0 to 1.
    kept_bytes : int
        What it takes on the disk that the last change piece by piece can be taken back; 0 where nothing was changed.
    corrections : int
        How many steps of the user are in force, beyond those from before it was opened; segmenting is none.
    """

    store: Store | None
    shape: tuple[int, ...]
    status: NDArray[np.uint8]
    changed: SignalInstance
    _journal: Journal
    _labels: NDArray[Any]

    def __init__(self) -> None:
        self.is_busy = False
        self.filled = 0.0
        self.kept_bytes = 0
        self.corrections = 0
        self._kept: tuple[EditFile, str] | None = None  # of the change piece by piece that is being made
        self._walked: tuple[bool, int] | None = None  # whether one is taken back, and how many parts of it were by now

    @property
    @abstractmethod
    def editable(self) -> Labels:
        """The layer that the user paints on."""

    @property
    @abstractmethod
    def layers(self) -> list[Labels]:
        """Every layer it puts into the viewer, the lowest first."""

    @property
    def _are_objects(self) -> bool:
        """Whether each number is an object, and not a class."""
        return True

    @abstractmethod
    def _put(self, box: Box, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Bring the arrays up to date, and leave the layers; from any thread."""

    def _count_up(self) -> None:  # noqa: B027 - most count as they write
        """Count what is there after pieces were written; in the worker."""

    # --- what is changed ---------------------------------------------------------------------------------

    @abstractmethod
    def fill_in_pieces(self, predicted: Any, box: Box, what: str = SEGMENT, *, linked: str = "") -> Generator[float]:
        """Take over a prediction as `fill` does, but in pieces, as one undoable step; yields how far it is.

        Runs in a worker, between `begin_to_fill` and `end_filling`. `predicted` may be on disk. Where it is closed
        early, what it has taken over stays, as a step; done once more, it comes out whole.
        """

    def take_over_in_pieces(self, found: Any, *, as_truth: bool) -> Generator[float]:
        """Take over labels of another program as `take_over` does; runs as `fill_in_pieces`."""
        whole = tuple(slice(0, n) for n in self.shape)
        if not as_truth and self._are_objects and any(self.status[part].any() for part in pieces(whole)):
            yield from self.fill_in_pieces(found, whole, IMPORT)
            return

        def change(part: Box) -> tuple[NDArray[Any], NDArray[np.uint8]]:
            new, known = np.asarray(found[part]), self.status[part]
            if as_truth:
                return new, np.full_like(known, Status.CHECKED)
            return np.where(known == Status.UNCHECKED, new, self._labels[part]), known

        yield from self._rewrite(change, whole, IMPORT)

    def begin_to_fill(self) -> None:
        """Let nobody else change anything."""
        self.is_busy, self.filled, self.kept_bytes = True, 0.0, 0
        self.editable.editable = False

    def end_filling(self) -> None:
        """Note what was filled in as a step, show it, and let others change it again."""
        if self._kept is not None:
            file, what = self._kept
            self._kept, self.kept_bytes = None, file.size
            self._journal.record_large(file, what)
            self.corrections += bool(file.places) and what != SEGMENT
        if self._walked is not None:
            self._note_walked(*self._walked)
            self._walked = None
        self.is_busy = False
        self.editable.editable = self.store is None or not self.store.read_only
        for layer in self.layers:
            layer.refresh()
        self.changed.emit()

    def takes_long(self, *, back: bool) -> bool:
        """Whether the change that would be taken back, or made again, next is one for `walk_in_pieces`."""
        return not self.is_busy and self._journal.next_large(back=back) is not None

    def walk_in_pieces(self, *, back: bool) -> Generator[float]:
        """Take back, or make again, a change that was made piece by piece; runs as `fill_in_pieces`.

        Where it is closed early, each half is a step of its own, which join again.
        """
        large = self._journal.next_large(back=back)
        if large is None:
            return
        try:
            for number, edit in enumerate(large.edits(back=back), start=1):
                before, after = (edit.labels_before, edit.status_before), (edit.labels_after, edit.status_after)
                self._put(edit.box, *(before if back else after))
                self._walked = back, number
                self.filled = number / len(large)
                yield self.filled
        finally:
            self._count_up()

    # --- inner -------------------------------------------------------------------------------------------

    def _note_walked(self, back: bool, count: int) -> None:
        """Follow a change that was taken back, or made again, piece by piece."""
        large = self._journal.next_large(back=back)
        assert large is not None

        def is_in_force() -> bool:
            last = self._journal.next_large(back=True)
            return last is not None and last.file is large.file

        was_in_force = is_in_force()
        self._journal.walked(count, back=back)
        if large.what != SEGMENT:
            self.corrections += is_in_force() - was_in_force

    def _rewrite(
        self, change: Callable[[Box], tuple[NDArray[Any], NDArray[np.uint8]]], box: Box, what: str
    ) -> Generator[float]:
        """Change labels and status in pieces, in a worker; yields how far it is.

        What was there and what is there now are written beside the journal first: `end_filling` makes a step of it.
        """
        parts = list(pieces(box))
        self._kept = file, _ = self._journal.begin(), what
        try:
            for number, part in enumerate(parts, start=1):
                labels, status = change(part)
                before = self._labels[part].copy(), self.status[part].copy()
                edit = Edit(part, before[0], labels.astype(before[0].dtype, copy=False), before[1], status, what)
                if not edit.changes_nothing:
                    file.add(edit)
                    self._put(part, edit.labels_after, status)
                self.filled = number / len(parts)
                yield self.filled
        finally:
            self._count_up()

"""The undo stack: every change of labels or status is one record."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unet.correction.edits import Edit

__all__ = ["Journal"]

_MAX_BYTES = 512 * 2**20


class Journal:
    """Edits that were made, to walk back and forth. Its memory is bounded; the oldest edits go first.

    Attributes
    ----------
    corrected : set of int
        Objects whose shape the user changed, by the edits that are in force.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._done: deque[Edit] = deque()
        self._undone: list[Edit] = []
        self._forgotten: set[int] = set()

    def record(self, edit: Edit) -> None:
        """Add an edit that has been made. What was undone before it can no longer be redone."""
        self._undone.clear()
        self._done.append(edit)
        while sum(e.nbytes for e in self._done) > self._max_bytes and len(self._done) > 1:
            self._forgotten |= self._done.popleft().corrected

    def undo(self) -> Edit | None:
        """Return the edit to revert, None if there is none left."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def redo(self) -> Edit | None:
        """Return the edit to apply again, None if there is none left."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]

    @property
    def corrected(self) -> set[int]:
        """Objects whose shape the user changed, by the edits that are in force."""
        return self._forgotten.union(*(edit.corrected for edit in self._done))

    def __len__(self) -> int:
        return len(self._done)

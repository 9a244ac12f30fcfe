"""The undo stack: every change of labels or status is one record."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_unet.correction.edits import Edit

__all__ = ["DEPTH", "Journal", "Log", "Step"]

_MAX_BYTES = 512 * 2**20
DEPTH = 500
"""How many steps back are kept at least, as far as memory allows; with a log always."""

_SLACK = 50


class Log(Protocol):
    """Where a journal keeps its records for good."""

    def add(self, edit: Edit) -> int:
        """Take an edit and return its number. Never waits for the disk."""

    def step(self, back: bool, of: int) -> None:
        """Note that the edit of that number was taken back, or made again."""

    def holds(self, number: int) -> bool:
        """Whether an edit can be read back, so that its arrays need not stay in memory."""

    def read(self, number: int) -> Edit:
        """Return an edit that was added."""

    def forget(self, before: int, corrected: Iterable[int], decided: Iterable[int]) -> None:
        """Note that edits before a number are not walked back to, and what is to be remembered of them."""


@dataclass
class Step:
    """One step of the undo stack. Its arrays may be on disk only."""

    number: int
    corrected: frozenset[int]
    decided: tuple[int, ...]
    edit: Edit | None = None


class Journal:
    """Edits that were made, to walk back and forth. Its memory is bounded; the oldest edits go first.

    Parameters
    ----------
    max_bytes : int
        Arrays kept in memory (default 512 MiB). With a log, older edits are read back from there when
        they are needed; without one they are forgotten.
    log : Log, optional
        Where every change is written. None: memory only.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES, log: Log | None = None) -> None:
        self._max_bytes = max_bytes
        self._log = log
        self._done: deque[Step] = deque()
        self._undone: list[Step] = []
        self._in_memory: deque[Step] = deque()
        self._bytes = 0
        self._forgotten: set[int] = set()
        self._decided_before: dict[int, None] = {}

    def restore(
        self, done: Iterable[Step], undone: Iterable[Step], corrected: Iterable[int], decided: Iterable[int]
    ) -> None:
        """Take over the stack of an earlier session, and what is remembered of older edits."""
        self._done, self._undone = deque(done), list(undone)
        self._forgotten = set(corrected)
        self._decided_before = dict.fromkeys(decided)

    def record(self, edit: Edit) -> None:
        """Add an edit that has been made. What was undone before it can no longer be redone."""
        number = self._log.add(edit) if self._log is not None else 0
        step = Step(number, edit.corrected, edit.decided, edit)
        self._drop_undone()
        self._done.append(step)
        self._in_memory.append(step)
        self._bytes += edit.nbytes
        self._trim()

    def seal(self) -> None:
        """Forget every step, but not what was corrected: nothing before can be taken back any more."""
        last = max((step.number for step in (*self._done, *self._undone)), default=0)
        self._drop_undone()
        while self._done:
            self._forget_oldest()
        self._in_memory.clear()
        if self._log is not None:
            self._log.forget(last + 1, self._forgotten, self._decided_before)

    def undo(self) -> Edit | None:
        """Return the edit to revert, None if there is none left.

        Raises
        ------
        StoreError
            If it is on a disk that cannot be read now.
        """
        if not self._done:
            return None
        edit = self._arrays_of(self._done[-1])
        self._undone.append(self._done.pop())
        if self._log is not None:
            self._log.step(True, self._undone[-1].number)
        return edit

    def redo(self) -> Edit | None:
        """Return the edit to apply again, None if there is none left.

        Raises
        ------
        StoreError
            If it is on a disk that cannot be read now.
        """
        if not self._undone:
            return None
        edit = self._arrays_of(self._undone[-1])
        self._done.append(self._undone.pop())
        if self._log is not None:
            self._log.step(False, self._done[-1].number)
        return edit

    @property
    def corrected(self) -> set[int]:
        """Objects whose shape the user changed, by the edits that are in force."""
        return self._forgotten.union(*(step.corrected for step in self._done))

    @property
    def decided(self) -> list[int]:
        """Objects that the user declared right or changed, each once, in the order of the first time."""
        order = dict(self._decided_before)
        for step in self._done:
            order |= dict.fromkeys(step.decided)
        return list(order)

    def __len__(self) -> int:
        return len(self._done)

    def _arrays_of(self, step: Step) -> Edit:
        if step.edit is not None:
            return step.edit
        assert self._log is not None  # only a log lets go of arrays
        return self._log.read(step.number)

    def _drop_undone(self) -> None:
        for step in self._undone:
            if step.edit is not None:
                self._bytes -= step.edit.nbytes
                step.edit = None
        while self._in_memory and self._in_memory[-1].edit is None:
            self._in_memory.pop()
        self._undone.clear()

    def _trim(self) -> None:
        while self._bytes > self._max_bytes and len(self._in_memory) > 1:
            oldest = self._in_memory[0]
            if oldest.edit is not None:
                if self._log is None:
                    self._forget_oldest()
                elif self._log.holds(oldest.number):
                    self._bytes -= oldest.edit.nbytes
                    oldest.edit = None
                else:
                    break
            self._in_memory.popleft()
        if len(self._done) > DEPTH + _SLACK:
            while len(self._done) > DEPTH:
                self._forget_oldest()
            if self._log is not None:
                self._log.forget(self._done[0].number, self._forgotten, self._decided_before)

    def _forget_oldest(self) -> None:
        step = self._done.popleft()
        self._forgotten |= step.corrected
        self._decided_before |= dict.fromkeys(step.decided)
        if step.edit is not None:
            self._bytes -= step.edit.nbytes
            step.edit = None

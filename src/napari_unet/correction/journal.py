"""The undo stack: every change of labels or status is one record."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from napari_unet.correction.large import EditFile, LargeEdit

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableSequence

    from napari_unet.correction.edits import Edit

__all__ = ["DEPTH", "Journal", "Log", "Step", "walk"]

_MAX_BYTES = 512 * 2**20
DEPTH = 500
"""How many steps back are kept at least, as far as memory allows; with a log always."""

_SLACK = 50

_MOST_ON_DISK = 4 * 2**30
"""Bytes that large steps may take together; the last one is kept however large it is."""


class Log(Protocol):
    """Where a journal keeps its records for good."""

    def add(self, edit: Edit | LargeEdit) -> int:
        """Take an edit and return its number. Never waits for the disk."""

    def begin(self) -> EditFile:
        """Return what the parts of a large edit are to be written into."""

    def release(self, file: EditFile) -> None:
        """Delete the parts of a large edit as soon as nothing needs them."""

    def step(self, back: bool, of: int, parts: tuple[int, int] | None) -> None:
        """Note that the edit of that number was taken back, or made again; of a large one which of its parts."""

    def holds(self, number: int) -> bool:
        """Whether an edit can be read back, so that its arrays need not stay in memory."""

    def read(self, number: int) -> Edit:
        """Return an edit that was added."""

    def forget(self, before: int, corrected: Iterable[int], decided: Iterable[int]) -> None:
        """Note that edits before a number are not walked back to, and what is to be remembered of them."""


@dataclass
class Step:
    """One step of the undo stack. Its arrays may be on disk only; those of a large one always are."""

    number: int
    corrected: frozenset[int]
    decided: tuple[int, ...]
    edit: Edit | None = None
    large: LargeEdit | None = None


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

    def begin(self) -> EditFile:
        """Return what the parts of a large edit are to be written into, before `record_large`."""
        return self._log.begin() if self._log is not None else EditFile.begin(None, "the cache folder")

    def record_large(self, file: EditFile, what: str) -> None:
        """Add an edit that has been made in parts. One without parts is none."""
        if not file.places:
            file.remove()
            return
        large = LargeEdit(file, 0, len(file.places), what)
        number = self._log.add(large) if self._log is not None else 0
        self._drop_undone()
        self._done.append(Step(number, frozenset(), large.decided, large=large))
        self._trim()

    def next_large(self, *, back: bool) -> LargeEdit | None:
        """Return the edit that would be taken back, or made again, next if it is a large one."""
        stack = self._done if back else self._undone
        return stack[-1].large if stack else None

    def walked(self, count: int, *, back: bool) -> None:
        """Note that so many parts of the next large edit were taken back, or made again: each half is a step."""
        source, target = (self._done, self._undone) if back else (self._undone, self._done)
        large = source[-1].large
        assert large is not None
        if not count:
            return
        now, _ = large.divided(count, back=back)
        if self._log is not None:
            self._log.step(back, source[-1].number, (now.first, now.last))
        walk(source, target, now)

    def undo(self) -> Edit | LargeEdit | None:
        """Return the edit to revert, None if there is none left.

        Raises
        ------
        StoreError
            If it is on a disk that cannot be read now.
        """
        if not self._done:
            return None
        large = self._done[-1].large
        if large is not None:
            self.walked(len(large), back=True)
            return large
        edit = self._arrays_of(self._done[-1])
        self._undone.append(self._done.pop())
        if self._log is not None:
            self._log.step(True, self._undone[-1].number, None)
        return edit

    def redo(self) -> Edit | LargeEdit | None:
        """Return the edit to apply again, None if there is none left.

        Raises
        ------
        StoreError
            If it is on a disk that cannot be read now.
        """
        if not self._undone:
            return None
        large = self._undone[-1].large
        if large is not None:
            self.walked(len(large), back=False)
            return large
        edit = self._arrays_of(self._undone[-1])
        self._done.append(self._undone.pop())
        if self._log is not None:
            self._log.step(False, self._done[-1].number, None)
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
        dropped, self._undone[:] = list(self._undone), []
        for step in dropped:
            self._let_go(step)

    def _trim(self) -> None:
        while self._bytes > self._max_bytes and len(self._in_memory) > 1:
            oldest = self._in_memory[0]
            if oldest.edit is not None:
                if self._log is None:
                    while self._forget_oldest() is not oldest:
                        pass
                elif self._log.holds(oldest.number):
                    self._bytes -= oldest.edit.nbytes
                    oldest.edit = None
                else:
                    break
            self._in_memory.popleft()
        too_deep = len(self._done) > DEPTH + _SLACK
        while too_deep and len(self._done) > DEPTH:
            self._forget_oldest()
        too_large = False
        while len(files := self._files()) > 1 and sum(file.size for file in files) > _MOST_ON_DISK:
            too_large = True
            while self._forget_oldest().large is None:
                pass
        if (too_deep or too_large) and self._log is not None:
            self._log.forget(self._done[0].number, self._forgotten, self._decided_before)

    def _files(self) -> list[EditFile]:
        """Return what large steps that can be taken back are in."""
        return list(dict.fromkeys(step.large.file for step in self._done if step.large is not None))

    def _let_go(self, step: Step) -> None:
        """Give up the parts of a large step that is on no stack any more."""
        if step.large is None:
            return
        file = step.large.file
        if not any(one.large is not None and one.large.file is file for one in (*self._done, *self._undone)):
            if self._log is not None:
                self._log.release(file)
            else:
                file.remove()

    def _forget_oldest(self) -> Step:
        step = self._done.popleft()
        self._forgotten |= step.corrected
        self._decided_before |= dict.fromkeys(step.decided)
        if step.edit is not None:
            self._bytes -= step.edit.nbytes
            step.edit = None
        self._let_go(step)
        return step


def walk(source: MutableSequence[Step], target: MutableSequence[Step], walked: LargeEdit) -> None:
    """Move parts of the last step of one stack to another, where they join those that are there."""
    step = source.pop()
    assert step.large is not None
    if len(step.large) > len(walked):
        rest = (step.large.first, walked.first) if walked.first > step.large.first else (walked.last, step.large.last)
        source.append(replace(step, large=LargeEdit(walked.file, *rest, walked.what)))
    there = target[-1].large if target else None
    if there is not None and there.file is walked.file:
        target.pop()
        walked = there.joined(walked)
    target.append(replace(step, large=walked))

"""What the records of a journal tell: what they left in the arrays, and which steps can be undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.correction.journal import Step
from napari_unet.correction.records import Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from typing import Any, Protocol, TypeVar

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box, Edit
    from napari_unet.correction.records import Record

    _R = TypeVar("_R")

    class Source(Protocol):
        """Where edits are read by their numbers."""

        def read(self, number: int) -> Edit: ...


__all__ = ["drained", "outcomes", "replay", "undo_stacks", "unfolded"]


def unfolded(records: Iterable[Record], folded: int) -> dict[int, tuple[Kind, int]]:
    """Return the records that are not in the arrays yet: what they are, and the number of their edit."""
    return {one.number: (one.kind, one.about.get("of", one.number)) for one in records if one.number > folded}


def outcomes(
    source: Source, steps: Mapping[int, tuple[Kind, int]], numbers: Iterable[int]
) -> Iterator[tuple[Box, NDArray[Any], NDArray[np.uint8]]]:
    """Walk what records left in the arrays: boxes, their labels and their status.

    Parameters
    ----------
    source : JournalWriter
    steps : mapping
        From `unfolded`.
    numbers : iterable of int
        Of the records.
    """
    for number in numbers:
        kind, of = steps[number]
        edit = source.read(of)
        if kind is Kind.UNDO:
            yield edit.box, edit.labels_before, edit.status_before
        else:
            yield edit.box, edit.labels_after, edit.status_after


def replay(
    source: Source, steps: Mapping[int, tuple[Kind, int]], labels: NDArray[Any], status: NDArray[np.uint8]
) -> Iterator[float]:
    """Do again, in the arrays, what records tell; yields 1 after each."""
    for box, new_labels, new_status in outcomes(source, steps, sorted(steps)):
        labels[box], status[box] = new_labels, new_status
        yield 1.0


def drained(steps: Generator[Any, None, _R]) -> _R:
    """Return the result of a generator, whatever it yields on the way."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: _R = done.value
            return result


def undo_stacks(records: Iterable[Record], before: int) -> tuple[list[Step], list[Step]]:
    """Return the steps that can be undone and those that can be made again, as records tell them.

    Edits with numbers below `before` are not walked back to.
    """
    done: list[Step] = []
    undone: list[Step] = []
    for record in records:
        if record.kind is Kind.EDIT:
            undone.clear()
            if record.number >= before:
                about = record.about
                done.append(Step(record.number, frozenset(about["corrected"]), tuple(about["decided"])))
            continue
        source, target = (done, undone) if record.kind is Kind.UNDO else (undone, done)
        if source and source[-1].number == record.about["of"]:
            target.append(source.pop())
    return done, undone

"""What the records of a journal tell: what they left in the arrays, and which steps can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.correction.journal import Step, walk
from napari_unet.correction.large import LargeEdit
from napari_unet.correction.records import Kind

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from typing import Any, Protocol

    import numpy as np
    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box, Edit
    from napari_unet.correction.records import Record

    class Source(Protocol):
        """Where edits are read by their numbers."""

        def read(self, number: int) -> Edit: ...

        def large(self, number: int) -> LargeEdit: ...


__all__ = ["Change", "outcomes", "replay", "undo_stacks", "unfolded"]


@dataclass(frozen=True)
class Change:
    """What a record changed.

    Attributes
    ----------
    back : bool
        Whether an edit was taken back.
    of : int
        The number of the edit.
    parts : (int, int) or None
        Which parts of it, where it is a large one: from the first up to, and without, the last.
    """

    back: bool
    of: int
    parts: tuple[int, int] | None = None


def unfolded(records: Iterable[Record], folded: int) -> dict[int, Change]:
    """Return what the records that are not in the arrays yet have changed."""
    return {one.number: _change(one) for one in records if one.number > folded}


def outcomes(source: Source, change: Change, after: int = 0) -> Iterator[tuple[Box, NDArray[Any], NDArray[np.uint8]]]:
    """Walk what a change left in the arrays: boxes, their labels and their status.

    Parameters
    ----------
    source : JournalFiles or JournalWriter
    change : Change
    after : int
        So many boxes are passed over (default none).
    """
    if change.parts is None:
        edits = iter([source.read(change.of)][after:])
    else:
        first, last = change.parts
        large = source.large(change.of)
        ends = (first, last - after) if change.back else (first + after, last)
        edits = LargeEdit(large.file, *ends, large.what).edits(back=change.back)
    for edit in edits:
        if change.back:
            yield edit.box, edit.labels_before, edit.status_before
        else:
            yield edit.box, edit.labels_after, edit.status_after


def replay(
    source: Source, steps: Mapping[int, Change], labels: NDArray[Any], status: NDArray[np.uint8]
) -> Generator[float, None, None]:
    """Do again, in the arrays, what records tell; yields how far it is, 0 to 1, after each box."""
    total, done = sum(_count_boxes(change) for change in steps.values()), 0
    for number in sorted(steps):
        for box, new_labels, new_status in outcomes(source, steps[number]):
            labels[box], status[box] = new_labels, new_status
            done += 1
            yield done / total


def _count_boxes(change: Change) -> int:
    """Return how many boxes a change left in the arrays."""
    return 1 if change.parts is None else change.parts[1] - change.parts[0]


def undo_stacks(source: Source, records: Iterable[Record], before: int) -> tuple[list[Step], list[Step]]:
    """Return the steps that can be undone and those that can be made again, as records tell them.

    Edits with numbers below `before` are not walked back to, nor is anything behind a large one that is gone.
    """
    done: list[Step] = []
    undone: list[Step] = []
    for record in records:
        about = record.about
        if record.kind in (Kind.EDIT, Kind.LARGE):
            undone.clear()
            if record.number >= before:
                large = source.large(record.number) if record.kind is Kind.LARGE else None
                decided = frozenset(about["corrected"]), tuple(about["decided"])
                done.append(Step(record.number, *decided, large=large))
            continue
        giving, taking = (done, undone) if record.kind is Kind.UNDO else (undone, done)
        if not giving or giving[-1].number != about["of"]:
            continue
        now = giving[-1].large
        if now is None:
            taking.append(giving.pop())
        else:
            first, last = about["parts"]
            walk(giving, taking, LargeEdit(now.file, first, last, now.what))
    return _within_reach(done), _within_reach(undone)


def _within_reach(stack: list[Step]) -> list[Step]:
    """Return the steps that can be walked: the last ones, up to a large one whose parts are gone."""
    gone = [place for place, step in enumerate(stack) if step.large is not None and not step.large.file.is_there()]
    return stack[gone[-1] + 1 :] if gone else stack


def _change(record: Record) -> Change:
    about = record.about
    if record.kind is Kind.LARGE:
        return Change(False, record.number, (0, len(about["places"])))
    parts = tuple(about["parts"]) if "parts" in about else None
    return Change(record.kind is Kind.UNDO, about.get("of", record.number), parts)

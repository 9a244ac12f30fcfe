"""Changes of a whole large image: a part at a time, in the background, while it is looked at."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_unet.gui.jobs import MainThread, Progress, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag
    from typing import TypeVar

    from napari_unet.gui.document import Document

    _R = TypeVar("_R")

__all__ = ["Clock", "changed_in_pieces", "how_far", "result_told", "way_back"]

_TELL_EVERY = 0.1
"""Seconds between two steps that are told."""

_TO_KNOW = 1.0
"""Seconds after which it can be said how long the rest takes."""


def changed_in_pieces(
    document: Document, change: Callable[[], Generator[float]], doing: str, stop: StopFlag
) -> Generator[Any, None, bool]:
    """Return the work of changing a document piece by piece; nothing else is changed in it meanwhile.

    Run it in a job. Its result is whether the change was made as a whole; where it was stopped, what was changed by
    then stays (`Document.filled`). Either way it is one step, which can be taken back.

    Parameters
    ----------
    document : Document
    change : callable
        Makes the changes and yields how far it is, such as `Document.fill_in_pieces`.
    doing : str
        What is said meanwhile.
    stop : threading.Event
    """
    begin = MainThread(document.begin_to_fill)
    yield begin
    if not begin.wait(stop):
        yield MainThread(document.end_filling)
        return False
    try:
        whole = yield from _told_how_far(change(), f"{doing}: {{}}. You can look, but not correct.", stop)
    except Exception:
        yield MainThread(document.end_filling)
        raise
    yield MainThread(document.end_filling)
    return whole


def result_told(work: Generator[float, None, _R], message: str, stop: StopFlag) -> Generator[Progress, None, _R | None]:
    """Return work that says how far it is, 0 to 1, as that of a job; its result stays, but None where it was stopped.

    Parameters
    ----------
    work : generator
        It is closed where it was stopped.
    message : str
        What is said; ``{}`` is how far it is, and how long it still takes.
    stop : threading.Event
    """
    found: list[_R] = []

    def steps() -> Generator[float]:
        found.append((yield from work))

    yield from _told_how_far(steps(), message, stop)
    return found[0] if found else None


def _told_how_far(steps: Generator[float], message: str, stop: StopFlag) -> Generator[Progress, None, bool]:
    """Return such work without a result: whether it came to its end."""
    clock, fraction = Clock(), 0.0
    with closing(steps):
        for fraction in steps:
            if clock.is_time_to_tell():
                yield Progress(fraction, message.format(f"{fraction:.0%}{clock.left(fraction)}"))
            if stop.is_set() and fraction < 1:
                return False
    return fraction == 1


class Clock:
    """Tells how long something still takes, and when to tell it again."""

    def __init__(self) -> None:
        self._begun, self._told = time.monotonic(), 0.0

    def is_time_to_tell(self) -> bool:
        """Return whether it was told some time ago, or never."""
        now = time.monotonic()
        if now - self._told < _TELL_EVERY:
            return False
        self._told = now
        return True

    def left(self, fraction: float) -> str:
        """Return how long it still takes, ``", 3 min left"``; empty as long as that is not known."""
        spent = time.monotonic() - self._begun
        known = 0 < fraction < 1 and spent > _TO_KNOW
        return f", {in_words(spent * (1 - fraction) / fraction)} left" if known else ""


def how_far(document: Document) -> str:
    """Return what became of a change that was cancelled, in words."""
    if not document.filled:
        return "Cancelled. The labels are as they were."
    back = " and can be taken back with Control-Z" if document.kept_bytes else ""
    return f"Cancelled with {document.filled:.0%} of it done, which stays{back}."


def way_back(document: Document) -> str:
    """Return how the last change in pieces is taken back, and what that takes."""
    megabytes = document.kept_bytes / 1e6
    room = f", for which {megabytes:.0f} MB are kept on the disk" if megabytes >= 1 else ""
    return f"Control-Z takes it back{room}."

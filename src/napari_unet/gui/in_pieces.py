"""Changes of a whole large image: a part at a time, in the background, while it is looked at."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from napari_unet.gui.jobs import MainThread, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag

    from napari_unet.gui.document import Document

__all__ = ["changed_in_pieces", "how_far"]


def changed_in_pieces(
    document: Document, change: Callable[[], Generator[float]], doing: str, stop: StopFlag
) -> Generator[Any, None, bool]:
    """Return the work of changing a document piece by piece; nothing else is changed in it meanwhile.

    Run it in a job. Its result is whether the change was made as a whole; where it was stopped, what was changed by
    then stays (`Document.filled`).

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
    fraction = 0.0
    try:
        with closing(change()) as steps:
            for fraction in steps:
                yield Progress(fraction, f"{doing}: {fraction:.0%}. You can look, but not correct.")
                if stop.is_set() and fraction < 1:
                    break
    except Exception:
        yield MainThread(document.end_filling)
        raise
    yield MainThread(document.end_filling)
    return fraction == 1


def how_far(document: Document) -> str:
    """Return what became of a change that was cancelled, in words."""
    if not document.filled:
        return "Cancelled. The labels are as they were."
    return f"Cancelled with {document.filled:.0%} of it done, which stays."

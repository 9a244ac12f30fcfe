"""Changes of a whole large image: a part at a time, in the background, while it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import PredictionError
from napari_unet.gui.jobs import MainThread, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from threading import Event as StopFlag

    from napari_unet.gui.document import Document

__all__ = ["changed_in_pieces"]


def changed_in_pieces(
    document: Document, change: Callable[[], Iterator[float]], doing: str, stop: StopFlag
) -> Generator[Any, None, None]:
    """Return the work of changing a document piece by piece; nothing else is changed in it meanwhile.

    Run it in a job, and call `Document.end_filling` when it has ended well. Once begun it is not broken off: what was
    changed in a part of the image only could not be told from the rest.

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
        raise PredictionError("It was stopped before anything was changed.")
    try:
        for fraction in change():
            yield Progress(fraction, f"{doing}: {fraction:.0%}. You can look, but not correct.")
    except Exception:
        yield MainThread(document.end_filling)
        raise

"""What was corrected comes back, and what is corrected is kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.correction import Saving, Store, WhenChanged, has_store, identify, open_store, recent
from napari_unet.errors import ImageChangedError, StoreError
from napari_unet.gui.origin import file_of, origin_of

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_unet.correction import ImageIdentity, RecentWork
    from napari_unet.gui.session import Session

__all__ = ["Keeping", "continuable", "parting_line", "saving_line"]

_CLOSE_SECONDS = 5.0
"""How long a closing window waits for a disk; what is left then is lost only if the process ends first."""


class Keeping:
    """Opens the stores of images.

    Parameters
    ----------
    session : Session
        Its `question` is set where the user has to choose what becomes of earlier corrections.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def has_corrections(self, image: Image, axes: str, kind: str) -> bool:
        """Return whether there is something to bring back."""
        return has_store(_identity(image, axes), kind)

    def open(self, image: Image, axes: str, kind: str, when_changed: WhenChanged = "refuse") -> Store | None:
        """Return the store of an image; None where the user has to be asked first, or nothing can be kept."""
        self._session.question = ""
        try:
            return open_store(
                _identity(image, axes),
                kind=kind,
                pixel_size_um=dict(origin_of(image).pixel_size_um),
                when_changed=when_changed,
            )
        except ImageChangedError as error:
            self._session.question = str(error)
        except StoreError as error:
            self._session.say(f"{error} Until then your corrections are kept in memory only.", problem=True)
        return None

    @staticmethod
    def close(store: Store | None) -> bool:
        """Write what is left and let go of a store; return whether all of it is on disk."""
        return store is not None and store.close(_CLOSE_SECONDS)


def continuable() -> RecentWork | None:
    """Return the last work whose image can be opened again."""
    return next((work for work in recent() if work.image is not None and _is_there(work.image)), None)


def parting_line(image: Image, lost: str, *, continue_is_offered: bool) -> str:
    """Return what becomes of the labels of an image that was removed.

    Parameters
    ----------
    image : Image
    lost : str
        The layer of its labels, where they are not saved.
    continue_is_offered : bool
        Whether the panel has the button now.
    """
    if lost:
        told = f"its labels are not saved: keep the layer {lost!r}, or save it with File > Save Selected Layers."
        return f"{image.name} was removed, but {told}"
    last, file = continuable(), file_of(image)
    is_last = last is not None and last.image is not None and Path(last.image) == Path(file).absolute()
    resume = " or press Continue" if file and is_last and continue_is_offered else ""
    return f"{image.name} was removed. Its labels are kept: open it again{resume}."


def saving_line(saving: Saving, now: float) -> str:
    """Return how the saving stands, for the foot of the panel."""
    if saving.failed:
        return saving.message
    if saving.waiting and saving.saved_at is not None and now - saving.saved_at > 5:
        return f"Saving {saving.waiting} changes..."
    if saving.saved_at is None:
        return ""
    return f"Saved {_ago(now - saving.saved_at)}"


def _ago(seconds: float) -> str:
    if seconds < 5:
        return "just now"
    if seconds < 90:
        return f"{seconds:.0f} s ago"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    return f"at {time.strftime('%H:%M', time.localtime(time.time() - seconds))}"


def _identity(image: Image, axes: str) -> ImageIdentity:
    known = origin_of(image)
    path = image.source.path or known.path or None
    return identify(
        image.data, axes, path=path, name=image.name, channel=known.channel if path else None, level=known.level
    )


def _is_there(path: str) -> bool:
    return "://" in path or Path(path).exists()

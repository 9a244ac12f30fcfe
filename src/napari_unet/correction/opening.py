"""Where the corrections of an image are opened, or begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.correction.finding import META, copy_home, find_or_make
from napari_unet.correction.identity import identity_in
from napari_unet.correction.places import read_json
from napari_unet.correction.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.correction.finding import WhenChanged
    from napari_unet.correction.identity import ImageIdentity

__all__ = ["open_store", "read_about"]


def open_store(
    identity: ImageIdentity,
    *,
    kind: str = "object",
    pixel_size_um: dict[str, float] | None = None,
    when_changed: WhenChanged = "refuse",
) -> Store:
    """Open the corrections of an image, or begin them.

    They are beside the image, in ``napari-unet/<image>.zarr``; in the user's data folder where that cannot be
    written or the image has no folder. Those that are there and cannot be written are copied to it, and the copy is
    gone on with from then on. Those of an image that was moved or renamed are found by its hash.

    Parameters
    ----------
    identity : ImageIdentity
        From `identify`.
    kind : str
        What is corrected: each kind has a store of its own.
    pixel_size_um : dict, optional
        Micrometres by axis letter, for other programs.
    when_changed : {"refuse", "adopt", "set aside"}
        What to do with corrections of this file when it has other pixels now: raise (default); take them over,
        which needs the same shape; keep them under another name and begin anew.

    Raises
    ------
    ImageChangedError
        If the image has other pixels than when it was corrected.
    StoreError
        If corrections can be kept nowhere, or those that are there cannot be read.
    """
    found = find_or_make(identity, kind, pixel_size_um or {}, when_changed)
    store = Store(found, identity, kind)
    if not store.is_locked_out:
        return store
    try:
        return Store(copy_home(found.path, identity), identity, kind)
    except OSError:
        return store


def read_about(path: Path) -> tuple[ImageIdentity | None, dict[str, Any]]:
    """Return which image a store is of and the facts that were remembered; None where that cannot be read."""
    meta = read_json(path / META)
    return identity_in(meta.get("image")), dict(meta.get("facts", {}))

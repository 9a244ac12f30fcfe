"""Labels that other programs made for the images of a folder, taken into the stores of these images."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.annotation import Status
from napari_unet.correction.edits import IMPORT, Edit
from napari_unet.correction.filling import pieces
from napari_unet.correction.identity import identify
from napari_unet.correction.importing import import_edit, iter_read_labels
from napari_unet.correction.opening import open_store
from napari_unet.errors import ImageError, StoreError
from napari_unet.generators import Steps, scaled
from napari_unet.images import label_axes, open_image, to_canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.correction.arrays import Make
    from napari_unet.correction.identity import ImageIdentity
    from napari_unet.correction.store import Store
    from napari_unet.images import OpenedImage

__all__ = ["Imported", "import_labels", "iter_import_labels"]

_READING = 0.6
"""Of the time that it takes, about; the rest is taking over."""


@dataclass(frozen=True)
class Imported:
    """How far labels of other programs have been taken over.

    Attributes
    ----------
    path : Path
        The image.
    fraction : float
        Of all the images, 0 to 1.
    what : str
        What became of it: ``"taken"``, ``"was there"`` (these labels are there already, or something is checked, and
        that stays), or what is wrong; empty as long as it is being done.
    """

    path: Path
    fraction: float
    what: str = ""


def import_labels(
    pairs: Sequence[tuple[Path, Path]], *, as_truth: bool, **others: Any
) -> Iterator[tuple[Path, Literal["taken", "was there"] | str]]:
    """Take labels from other programs into the stores of their images: see `iter_import_labels`.

    Yields
    ------
    (Path, str)
        Each image, and what became of it.
    """
    for one in iter_import_labels(pairs, as_truth=as_truth, **others):
        if one.what:
            yield one.path, one.what


def iter_import_labels(
    pairs: Sequence[tuple[Path, Path]],
    *,
    as_truth: bool,
    axes: str | None = None,
    kind: str = "object",
    classes: int = 0,
    channel: int | None = None,
    level: int = 0,
    make_for: Callable[[Sequence[int]], Make | None] = lambda _: None,
) -> Generator[Imported]:
    """Take labels from other programs into the stores of their images; can be undone there as one step.

    Closed early, it leaves the image that it was at as it was.

    Parameters
    ----------
    pairs : sequence of (image, labels)
        From `find_label_pairs`.
    as_truth : bool
        Whether all of it is true, empty places too; else it is to be checked.
    axes : str, optional
        Of the images, where their files do not tell. None: as their shapes suggest.
    kind : str
    classes : int
        As for `iter_fit_labels`.
    channel : int, optional
        Channel of the files that is worked on. None: files of several channels as a whole.
    level : int
        Resolution of the files that is worked on (default 0, the full one).
    make_for : callable
        Returns what gives arrays of zeros for labels of a shape that do not fit into memory; they are taken over in
        pieces. None, for all by default: they fit.
    """
    for number, (image_path, labels_path) in enumerate(pairs):
        try:
            opened = open_image(image_path, level)
            identity = _identity(opened, axes, channel, level)
            letters = label_axes(identity.axes)
            shape = [n for n, letter in zip(identity.shape, identity.axes, strict=True) if letter in letters]
            work = _read_and_take(identity, labels_path, shape, letters, as_truth, kind, classes, make_for(shape))
            steps = Steps(work)
            with closing(work):
                for fraction in steps:
                    yield Imported(image_path, (number + fraction) / len(pairs))
            what = steps.result
        except (ImageError, StoreError) as error:
            what = str(error)
        yield Imported(image_path, (number + 1) / len(pairs), what)


def _identity(opened: OpenedImage, axes: str | None, channel: int | None, level: int) -> ImageIdentity:
    """Return the identity of an image, or of its channel as viewers show it: in the order TZYX."""
    known = opened.axes or axes or opened.guess.axes
    if len(known) != len(opened.shape):
        raise ImageError(f"{opened.path.name} does not have the axes {known}. Open it and set them.")
    count = np.prod([n for n, letter in zip(opened.shape, known, strict=True) if letter in "CS"])
    if channel is None or count == 1:
        return identify(opened.data, known, path=opened.path, level=level)
    if channel >= count:
        raise ImageError(f"{opened.path.name} has {count} channels, there is no channel {channel + 1}.")
    kept = [letter for letter in "TZYX" if letter in known]
    one = to_canonical(opened.data, known)[:, channel]
    pixels = one[tuple(slice(None) if letter in kept else 0 for letter in "TZYX")]
    return identify(pixels, "".join(kept), path=opened.path, channel=channel, level=level)


def _read_and_take(
    identity: ImageIdentity,
    path: Path,
    shape: Sequence[int],
    axes: str,
    as_truth: bool,
    kind: str,
    classes: int,
    make: Make | None,
) -> Generator[float, None, str]:
    """Return the work of taking labels of a file into the store of an image; its result is what became of it."""
    found = yield from scaled(iter_read_labels(path, shape, axes, classes=classes, make=make), 0.0, _READING)
    store = open_store(identity, kind=kind)
    try:
        if store.read_only:
            return store.notice
        labels, status = yield from scaled(store.iter_load(make or np.zeros), _READING, _READING)
        if _was_there(labels, status, found.labels):
            return "was there"
        if make is None:
            step = import_edit(labels, status, found.labels, as_truth=as_truth, objects=not classes)
            store.journal.record(step)
        else:
            taking = _take_in_pieces(store, labels, status, found.labels, as_truth=as_truth)
            yield from scaled(taking, _READING, 1.0)
        count = 0 if classes else found.count
        store.remember(objects=count, checked=count if as_truth else 0, corrected=0)
        return "taken" if store.close() else store.saving.message
    finally:
        store.close()


def _was_there(labels: NDArray[Any], status: NDArray[np.uint8], found: NDArray[Any]) -> bool:
    """Whether something is checked, or the labels are those that were found."""
    parts = list(pieces(tuple(slice(0, n) for n in labels.shape)))
    if any(status[part].any() for part in parts):
        return True
    is_empty = not any(labels[part].any() for part in parts)
    return not is_empty and all(np.array_equal(labels[part], found[part]) for part in parts)


def _take_in_pieces(
    store: Store, labels: NDArray[Any], status: NDArray[np.uint8], found: NDArray[Any], *, as_truth: bool
) -> Generator[float, None, None]:
    """Take labels over where nothing is checked, as one step that does not fit into memory."""
    parts = list(pieces(tuple(slice(0, n) for n in labels.shape)))
    file = store.journal.begin()
    whole = False
    try:
        for number, part in enumerate(parts, start=1):
            known = np.full_like(status[part], Status.CHECKED) if as_truth else status[part]
            edit = Edit(part, labels[part], found[part], status[part], known, IMPORT)
            if not edit.changes_nothing:
                file.add(edit)
            yield number / len(parts)
        whole = True
    finally:
        if not whole:
            file.remove()
    store.journal.record_large(file, IMPORT)

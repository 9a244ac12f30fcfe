"""What was corrected, for programs that only read: no lock is taken and nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.correction.arrays import LabelArrays
from napari_unet.correction.finding import META, find
from napari_unet.correction.identity import ImageIdentity, identify, identity_in
from napari_unet.correction.journal import Journal
from napari_unet.correction.journal_files import JournalFiles
from napari_unet.correction.places import read_json
from napari_unet.correction.replay import replay, undo_stacks, unfolded
from napari_unet.errors import ImageChangedError, StoreError
from napari_unet.generators import drained
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

__all__ = ["Corrected", "read_corrections", "read_store"]

_ATTEMPTS = 3


@dataclass(frozen=True, eq=False)
class Corrected:
    """What a person left in the labels of an image.

    Attributes
    ----------
    labels : ndarray of int32
        In the axes of the image without C and S.
    status : ndarray of uint8
        `Status` per voxel.
    corrected : frozenset of int
        Objects whose shape was changed.
    """

    labels: NDArray[np.int32]
    status: NDArray[np.uint8]
    corrected: frozenset[int]


def read_corrections(
    image: Any,
    axes: str,
    path: str | Path,
    *,
    kind: str = "object",
    channels: Collection[int] = (),
    level: int = 0,
) -> Corrected | None:
    """Return what was corrected in the image of a file, as it is on disk now; None if nothing was.

    A window may have the corrections open meanwhile: what it has saved so far is read.

    Parameters
    ----------
    image : array
        The pixels of the file, NumPy or dask. Corrections of one of its channels count too.
    axes : str
    path : path
        The file.
    kind : str
        What was corrected: each kind has corrections of its own.
    channels : collection of int
        Channels that are of interest: where several were corrected on their own, rather one of these.
    level : int
        Which resolution of the file the pixels are (default 0, the full one).

    Raises
    ------
    ImageChangedError
        If the image has other pixels than when it was corrected.
    StoreError
        If the corrections cannot be read, or are of another resolution.
    """
    path = Path(path).absolute()
    shape = tuple(int(n) for n in image.shape)
    identity = ImageIdentity(path.name, str(path), shape, np.dtype(image.dtype).name, axes, "", level=level)
    digests = cache(lambda: _digests(image, axes))
    found = find(identity, kind, digests, channels)
    if found is None:
        return None
    store, known = found
    if known.level != level and known.path is not None:
        raise StoreError(
            f"{path.name} was corrected at level {known.level} of its pyramid and is read at level {level}. Choose the "
            f"level that was corrected (--level {known.level}), or leave the corrections out (--ignore-corrections)."
        )
    # with other channels than the file has, such as the transparency of a picture, they cannot be compared
    comparable = known.shape in {shape, _label_shape(shape, axes)}
    if comparable and known.digest not in digests():
        raise ImageChangedError(
            f"{path.name} has other pixels than when it was corrected. Open it in napari and choose what becomes of "
            "the corrections, or leave them out (--ignore-corrections)."
        )
    corrected, _ = read_store(store)
    return corrected if corrected.status.any() else None


def read_store(store: Path) -> tuple[Corrected, ImageIdentity]:
    """Return what is in a store now, whoever has it open, and which image it is of; the labels have its axes.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    try:
        for attempt in range(_ATTEMPTS):
            found = _read(store, is_last=attempt == _ATTEMPTS - 1)
            if found is not None:
                return found
        raise OSError("a part of the journal is missing")
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"The corrections in {store} cannot be read ({error}). Move that folder away; on the command line, "
            "--ignore-corrections leaves it out."
        ) from error


def _read(store: Path, *, is_last: bool) -> tuple[Corrected, ImageIdentity] | None:
    """Read arrays and journal; None where a window has tidied up in between.

    What seems damaged may be such a case, but on the last attempt.
    """
    meta = read_json(store / META)
    identity = identity_in(meta.get("image"))
    if identity is None:
        raise ValueError(f"{META} is damaged")
    folded = int(meta.get("folded", 0))
    # the arrays before the journal: whatever is folded into them meanwhile is in the journal too
    labels, status = drained(LabelArrays(store, label_axes(identity.axes)).load())
    journal = JournalFiles(store / "journal", str(store.parent))
    records = journal.scan(repair=False, folded=folded)
    if records and records[-1].number < folded:
        records = []  # of a journal that does not go on where the arrays end
    if records and records[0].number > folded + 1:
        return None
    if journal.damaged and not is_last:
        return None
    try:
        drained(replay(journal, unfolded(records, folded), labels, status))
    except StoreError:
        if is_last:
            raise
        return None
    forgotten = meta.get("forgotten", {})
    done = Journal()
    done.restore(*undo_stacks(journal, records, forgotten.get("before", 0)), forgotten.get("corrected", ()), ())
    return Corrected(labels, status, frozenset(done.corrected)), identity


def _digests(image: Any, axes: str) -> frozenset[str]:
    """Return the digest of an image and of each of its channels: viewers show them apart."""
    found = {identify(image, axes).digest}
    for place, letter in enumerate(axes):
        if letter in "CS":
            rest = axes.replace(letter, "")
            channels = (image[(*(slice(None),) * place, n)] for n in range(image.shape[place]))
            found |= {identify(one, rest).digest for one in channels}
    return frozenset(found)


def _label_shape(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    return tuple(n for letter, n in zip(axes, shape, strict=True) if letter not in "CS")

"""Steps that are larger than memory: their parts are edits, one behind the other in a file beside the journal."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4
from weakref import finalize

from napari_unet.correction.places import sync_folder
from napari_unet.correction.records import decode_edit, encode_edit, is_whole
from napari_unet.errors import StoreError
from napari_unet.user_data import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.correction.edits import Edit

__all__ = ["ENDING", "EditFile", "LargeEdit"]

ENDING = ".parts"
_SYNC_BYTES = 32 * 2**20
"""Written between two waits for the disk, so that none of them is long."""


class EditFile:
    """The parts of one large step. They are written once, compressed, and read one at a time.

    Parameters
    ----------
    path : Path or None
        Where it is, or is going to be. None: a file in the cache folder that goes with the program.
    where : str
        What messages call the place.
    places : sequence of (int, int)
        First byte and the one after the last of each part that is there.
    """

    def __init__(self, path: Path | None, where: str, places: Sequence[tuple[int, int]] = ()) -> None:
        self.path = path
        self._where = where
        self.places = list(places)
        self.decided: dict[int, None] = {}
        self._mutex = Lock()
        self._file: IO[bytes] | None = None
        self._is_given_up = False
        self._unsynced = 0

    @classmethod
    def begin(cls, folder: Path | None, where: str) -> EditFile:
        """Return an empty one in a folder. None: in the cache folder, for as long as the program runs."""
        return cls(None if folder is None else folder / f"{uuid4().hex}{ENDING}", where)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.places[-1][1] if self.places else 0

    def add(self, edit: Edit) -> None:
        """Write another part.

        Raises
        ------
        StoreError
            If it cannot be written. The parts before it are good.
        """
        content, start = encode_edit(len(self.places), edit, 0.0), self.size
        try:
            with self._mutex:
                if self._is_given_up:
                    raise OSError("the window was closed")
                file = self._file = self._file or self._make()
                file.seek(start)
                file.truncate()
                file.write(content)
                file.flush()
                self._unsynced += len(content)
                if self._unsynced > _SYNC_BYTES:
                    os.fsync(file.fileno())
                    self._unsynced = 0
        except OSError as error:
            raise StoreError(
                f"What is changed cannot be saved in {self._where} ({error.strerror or error}). Free some space or "
                "connect the drive, then do it again: what was done by now stays, and Control-Z takes it back."
            ) from error
        self.places.append((start, start + len(content)))
        self.decided |= dict.fromkeys(edit.decided)

    def sync(self) -> None:
        """Have the disk confirm what was written.

        Raises
        ------
        OSError
            If it cannot.
        """
        if self.path is None:
            return
        with self._mutex:
            if self._file is not None:
                self._file.close()
                self._file = None
        with self.path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) < self.size:
                raise OSError(f"{self.path.name} is shorter than it was")
            os.fsync(file.fileno())
        sync_folder(self.path.parent)

    def read(self, number: int) -> Edit:
        """Return a part.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        start, stop = self.places[number]
        try:
            with self._mutex:
                content = self._content(start, stop)
        except OSError as error:
            raise StoreError(
                f"This step is in {self._where}, which cannot be read ({error.strerror or error}). "
                "Connect the drive again."
            ) from error
        if not is_whole(content):
            raise StoreError(f"A part of this step, in {self.path}, is damaged: it cannot be walked any more.")
        return decode_edit(content)

    def is_there(self) -> bool:
        """Whether all of it can be read."""
        try:
            return self.path is None or self.path.stat().st_size >= self.size
        except OSError:
            return False

    def remove(self) -> None:
        """Delete it; nothing is written into it any more."""
        with self._mutex:
            self._is_given_up = True
            if self._file is not None:
                self._file.close()
                self._file = None
            if self.path is not None:
                with suppress(OSError):  # then it goes when the corrections are opened the next time
                    self.path.unlink(missing_ok=True)

    def _make(self) -> IO[bytes]:
        file: IO[bytes]
        if self.path is not None:
            file = self.path.open("r+b" if self.places else "w+b")
        else:
            cache_folder().mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=cache_folder())  # noqa: SIM115 - open for as long as it is needed
        finalize(self, file.close)
        return file

    def _content(self, start: int, stop: int) -> bytes:
        if self.path is not None:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        if self._file is None:
            raise OSError("it is gone")
        self._file.seek(start)
        return self._file.read(stop - start)


@dataclass(frozen=True, eq=False)
class LargeEdit:
    """One change that is too large for memory, or a part of one: the unit of undo, as `Edit` is.

    Attributes
    ----------
    file : EditFile
        Holds its parts, none of them over another.
    first, last : int
        Its parts are those from `first` up to, and without, `last`.
    what : str
        For messages: "import", "segment", ...
    """

    file: EditFile
    first: int
    last: int
    what: str

    @property
    def decided(self) -> tuple[int, ...]:
        """Objects that the user decided on by it."""
        return tuple(self.file.decided)

    @property
    def is_whole(self) -> bool:
        """Whether it is all that was done at once."""
        return (self.first, self.last) == (0, len(self.file.places))

    def __len__(self) -> int:
        return self.last - self.first

    def edits(self, *, back: bool) -> Iterator[Edit]:
        """Walk its parts, read one at a time; the last one first where they are taken back."""
        numbers = range(self.first, self.last)
        for number in reversed(numbers) if back else numbers:
            yield self.file.read(number)

    def divided(self, count: int, *, back: bool) -> tuple[LargeEdit, LargeEdit]:
        """Return the parts that come first on the way back, or forth, and the others."""
        at = self.last - count if back else self.first + count
        before, after = (LargeEdit(self.file, *ends, self.what) for ends in ((self.first, at), (at, self.last)))
        return (after, before) if back else (before, after)

    def joined(self, other: LargeEdit) -> LargeEdit:
        """Return one with the parts of both, which follow each other."""
        first, last = min(self.first, other.first), max(self.last, other.last)
        return LargeEdit(self.file, first, last, self.what)

    def apply(self, labels: NDArray[Any], status: NDArray[Any]) -> None:
        """Write it into the arrays."""
        for edit in self.edits(back=False):
            edit.apply(labels, status)

    def revert(self, labels: NDArray[Any], status: NDArray[Any]) -> None:
        """Take it back out of the arrays."""
        for edit in self.edits(back=True):
            edit.revert(labels, status)

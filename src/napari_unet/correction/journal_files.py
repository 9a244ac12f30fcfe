"""The files of the journal: numbered, appended to, read back by record, dropped when nothing needs them any more."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_unet.correction.large import EditFile, LargeEdit
from napari_unet.correction.places import sync_folder
from napari_unet.correction.records import Kind, Record, decode_edit, read_records
from napari_unet.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_unet.correction.edits import Edit

__all__ = ["JournalFiles", "append_durably"]

_MAX_BYTES = 16 * 2**20
"""Size after which a new file is begun; whole files are dropped when nothing needs them any more."""


@dataclass
class _LogFile:
    """One file of the journal."""

    path: Path
    size: int
    last: int = 0
    """Number of its last record."""


class JournalFiles:
    """The records of a journal, in numbered files.

    One thread changes them. `holds`, `read` and `large` may be called in others meanwhile.

    Parameters
    ----------
    folder : Path
        Where the files are; it must exist.
    where : str
        What messages call the place.

    Attributes
    ----------
    damaged : bool
        Whether a part of what was there could not be used.
    """

    def __init__(self, folder: Path, where: str) -> None:
        self._folder = folder
        self._where = where
        self._files: list[_LogFile] = []
        self._places: dict[int, tuple[Path, int, int]] = {}
        self._large: dict[int, LargeEdit] = {}
        self.damaged = False

    # --- what earlier sessions wrote ---------------------------------------------------------------------

    def scan(self, *, repair: bool, folded: int = 0) -> list[Record]:
        """Read what earlier sessions wrote, up to the first torn record; `repair` puts what follows it aside.

        Of records up to number `folded`, the parts of large edits need not be there any more.
        """
        records: list[Record] = []
        torn = False
        for path in sorted(self._folder.glob("*.log")):
            if torn:
                self.damaged = True
                if repair:
                    path.rename(path.with_suffix(".damaged"))
                continue
            file = _LogFile(path, 0)
            for record in read_records(path):
                if records and record.number != records[-1].number + 1:
                    break
                if not self._know_large(record) and record.number > folded:
                    self.damaged = True
                    break
                records.append(record)
                self._places[record.number] = (path, record.start, record.stop)
                file.size, file.last = record.stop, record.number
            torn = file.size < path.stat().st_size
            self._files.append(file)
        return records

    def set_aside(self) -> None:
        """Put all files aside: what they hold does not go on where the arrays end."""
        for file in self._files:
            file.path.rename(file.path.with_suffix(".damaged"))
        self._files.clear()
        self._places.clear()
        self.damaged = True

    @property
    def last(self) -> int:
        """Number of the last record; 0 if there is none."""
        return max((file.last for file in self._files), default=0)

    def _know_large(self, record: Record) -> bool:
        """Take up a large edit; False where a record needs one whose parts are not there."""
        about = record.about
        if record.kind is Kind.LARGE:
            places = [(start, stop) for start, stop in about["places"]]
            file = EditFile(self._folder / about["file"], self._where, places)
            file.decided = dict.fromkeys(about["decided"])
            self._large[record.number] = LargeEdit(file, 0, len(places), about["what"])
            return file.is_there()
        if record.kind is Kind.EDIT or about["of"] not in self._large:
            return True
        return self._large[about["of"]].file.is_there()

    # --- writing -----------------------------------------------------------------------------------------

    def append(self, records: Mapping[int, bytes]) -> list[int]:
        """Write records behind those that are there, as many as one file takes, and return their numbers.

        Raises
        ------
        OSError
            If the disk does not take them; then none of them counts as written.
        """
        if not self._files or self._files[-1].size >= _MAX_BYTES:
            self._files.append(_LogFile(self._folder / f"{min(records):012d}.log", 0))
        file = self._files[-1]
        numbers: list[int] = []
        size = file.size
        for number in sorted(records):
            if numbers and size >= _MAX_BYTES:
                break
            numbers.append(number)
            size += len(records[number])
        append_durably(file.path, file.size, b"".join(records[number] for number in numbers))
        for number in numbers:
            start, file.size = file.size, file.size + len(records[number])
            self._places[number] = (file.path, start, file.size)
        file.last = numbers[-1]
        return numbers

    def add_large(self, number: int, edit: LargeEdit) -> None:
        """Know the large edit of a record that is going to be written."""
        self._large[number] = edit

    def drop(self, before: int) -> None:
        """Delete the files in which all records have numbers below `before`."""
        while len(self._files) > 1 and self._files[0].last < before:
            file = self._files.pop(0)
            for number in [n for n, (path, _, _) in self._places.items() if path == file.path]:
                del self._places[number]
            file.path.unlink(missing_ok=True)

    # --- reading -----------------------------------------------------------------------------------------

    def holds(self, number: int) -> bool:
        """Whether the record is in a file."""
        return number in self._places

    def read(self, number: int) -> Edit:
        """Return the edit of a record.

        Raises
        ------
        StoreError
            If it is not there, or the disk cannot be read.
        """
        place = self._places.get(number)
        if place is None:
            raise StoreError(f"Step {number} is not in the journal {self._folder} any more.")
        path, start, stop = place
        try:
            with path.open("rb") as file:
                file.seek(start)
                return decode_edit(file.read(stop - start))
        except OSError as error:
            raise StoreError(
                f"This step is in {self._where}, which cannot be read ({error.strerror or error}). "
                "Connect the drive again."
            ) from error

    def large(self, number: int) -> LargeEdit:
        """Return the large edit of a record."""
        return self._large[number]


def append_durably(path: Path, at: int, content: bytes) -> None:
    """Write `content` at byte `at` of a file, cut off what was behind, and have the disk confirm it.

    A file that should hold something already is not made anew: a drive that came back empty is a failure.
    """
    with path.open("r+b" if at else "wb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() < at:
            raise OSError(f"{path.name} is shorter than it was")
        file.truncate(at)
        file.seek(at)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if not at:
        sync_folder(path.parent)

"""Writes the journal in a thread of its own: nobody waits for the disk, and a disk that fails loses nothing."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING

from napari_unet.correction.large import EditFile, LargeEdit
from napari_unet.correction.places import sync_folder
from napari_unet.correction.records import (
    Kind,
    Record,
    decode_edit,
    encode_edit,
    encode_large,
    encode_step,
    read_records,
)
from napari_unet.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_unet.correction.edits import Edit

    Walked = tuple[int, tuple[int, int] | None]
    """Number of an edit that was taken back or made again, and which of its parts where it is a large one."""

__all__ = ["JournalWriter", "Saving", "append_durably"]

_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 2.0
_UNTIDY = 200
"""Records after which the housekeeping no longer waits for a pause."""

_MAX_SEGMENT = 16 * 2**20
"""Bytes after which a new file is begun; whole files are dropped when nothing needs them any more."""


@dataclass(frozen=True)
class Saving:
    """How the saving stands.

    Attributes
    ----------
    failed : bool
        Whether the last attempt failed. Work goes on in memory, and saving is tried again.
    message : str
        What is wrong and what to do; empty where nothing is.
    waiting : int
        Changes that are not on disk yet.
    saved_at : float or None
        When the last change was saved, in seconds since the epoch.
    where : str
        The folder.
    """

    failed: bool
    message: str
    waiting: int
    saved_at: float | None
    where: str


@dataclass
class _Segment:
    """One file of the journal."""

    path: Path
    size: int
    last: int = 0
    """Number of its last record."""


class JournalWriter:
    """An append-only log in numbered files. One thread encodes, writes and syncs.

    Parameters
    ----------
    folder : Path
        Where the files are; it must exist.
    where : str
        What messages call the place.
    housekeeping : callable
        Called in the thread when there is nothing to write, with the number of the last record on disk. Does a
        little, and returns whether there is more to do. An `OSError` in it counts as a failure to save.
    """

    def __init__(self, folder: Path, where: str, housekeeping: Callable[[int], bool]) -> None:
        self._folder = folder
        self._where = where
        self._housekeeping = housekeeping
        self._wake = Condition()
        self._queue: deque[tuple[int, Kind, Edit | LargeEdit | Walked, float]] = deque()
        self._large: dict[int, LargeEdit] = {}
        self._blobs: dict[int, bytes] = {}
        self._places: dict[int, tuple[Path, int, int]] = {}
        self._segments: list[_Segment] = []
        self._next = 1
        self._on_disk = 0
        self._saved_at: float | None = None
        self._problem = ""
        self._busy = False
        self._tidy = True
        self._hurry = self._closing = False
        self._gives_up = False
        self._since_tidy = 0
        self.damaged = False
        self._thread = Thread(target=self._run, name="napari-unet journal", daemon=True)

    # --- before the thread runs --------------------------------------------------------------------------

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
            segment = _Segment(path, 0)
            for record in read_records(path):
                if records and record.number != records[-1].number + 1:
                    break
                if not self._know_large(record) and record.number > folded:
                    self.damaged = True
                    break
                records.append(record)
                self._places[record.number] = (path, record.start, record.stop)
                segment.size, segment.last = record.stop, record.number
            torn = segment.size < path.stat().st_size
            self._segments.append(segment)
        if records:
            self._on_disk = records[-1].number
            self._next = self._on_disk + 1
        return records

    def set_aside(self) -> None:
        """Put all files aside: what they hold does not go on where the arrays end."""
        for segment in self._segments:
            segment.path.rename(segment.path.with_suffix(".damaged"))
        self._segments.clear()
        self._places.clear()
        self.damaged = True

    def start(self, first: int) -> None:
        """Begin to write, with the record number `first` or the one that comes after those on disk."""
        self._next = max(first, self._next)
        self._on_disk = self._next - 1
        self._thread.start()

    # --- called by the window ----------------------------------------------------------------------------

    @property
    def last(self) -> int:
        """Number of the last record, on disk or not."""
        return self._next - 1

    def put(self, kind: Kind, what: Edit | LargeEdit | Walked) -> int:
        """Queue an edit, or a step with what was walked, and return its number."""
        with self._wake:
            number = self._next
            self._next += 1
            if isinstance(what, LargeEdit):
                self._large[number] = what
            self._queue.append((number, kind, what, time.time()))
            self._wake.notify_all()
        return number

    def holds(self, number: int) -> bool:
        """Whether the record can be read back."""
        return number in self._blobs or number in self._places

    def read(self, number: int) -> Edit:
        """Return the edit of a record, wherever it is.

        Raises
        ------
        StoreError
            If the disk cannot be read.
        """
        with self._wake:
            blob = self._blobs.get(number)
            place = self._places.get(number)
        if blob is not None:
            return decode_edit(blob)
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

    @property
    def saving(self) -> Saving:
        """How the saving stands."""
        with self._wake:
            waiting = len(self._queue) + len(self._blobs)
            return Saving(bool(self._problem), self._problem, waiting, self._saved_at, self._where)

    def wait(self, timeout: float) -> bool:
        """Wait until all is on disk and tidy; False if that is not so in time, or saving fails."""
        with self._wake:
            self._tidy = self._hurry = True
            self._wake.notify_all()
            self._wake.wait_for(lambda: not self._hurry and (self._is_done() or bool(self._problem)), timeout)
            return self._is_done()

    def tidy(self) -> None:
        """Have the housekeeping called soon."""
        with self._wake:
            self._tidy = True
            self._wake.notify_all()

    def close(self, timeout: float) -> bool:
        """Write what is left and end; False if something could not be written."""
        with self._wake:
            self._closing = self._tidy = True
            self._wake.notify_all()
        self._thread.join(timeout)
        if self._thread.is_alive():  # what is not in the arrays yet stays in the journal
            self._gives_up = True
            self._thread.join(timeout)
        with self._wake:
            return not self._queue and not self._blobs

    def drop_segments(self, before: int) -> None:
        """Delete the files in which all records have numbers below `before`. Called by the housekeeping."""
        while len(self._segments) > 1 and self._segments[0].last < before:
            segment = self._segments.pop(0)
            with self._wake:
                for number in [n for n, (path, _, _) in self._places.items() if path == segment.path]:
                    del self._places[number]
            segment.path.unlink(missing_ok=True)

    # --- the thread --------------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        return not (self._queue or self._blobs or self._tidy or self._busy)

    def _has_to_hurry(self) -> bool:
        return bool(self._queue) or self._closing or self._hurry

    def _is_wanted(self) -> bool:
        return self._tidy or self._has_to_hurry()

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._problem and not (self._closing or self._hurry):
                    self._wake.wait(_RETRY_SECONDS)
                else:
                    self._wake.wait_for(self._is_wanted)
                    self._wake.wait_for(self._has_to_hurry, _IDLE_SECONDS)
                self._busy, hurry, closing = True, self._hurry, self._closing
                batch = list(self._queue)
            try:
                self._encode(batch)
                self._write()
                self._since_tidy += len(batch)
                if not batch or hurry or closing or self._since_tidy > _UNTIDY:
                    self._since_tidy = 0
                    self._keep_house(to_the_end=hurry or closing)
                self._say("")
            except OSError as error:
                self._say(
                    f"Saving to {self._where} fails ({error.strerror or error}). You can go on: changes are kept in "
                    "memory and saved as soon as it works again. Free some space or connect the drive."
                )
            except Exception as error:  # whatever it is, the user has to know that nothing is saved any more
                self._say(f"Saving to {self._where} fails ({error!r}). Save the labels layer yourself.")
            with self._wake:
                self._busy = False
                if hurry:
                    self._hurry = False
                self._wake.notify_all()
                if closing and (self._problem or not self._queue):
                    return

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

    def _encode(self, batch: list[tuple[int, Kind, Edit | LargeEdit | Walked, float]]) -> None:
        for number, kind, what, when in batch:
            if isinstance(what, LargeEdit):
                what.file.sync()  # a step is noted when all of it is on the disk
                assert what.file.path is not None
                blob = encode_large(number, what.file.path.name, what.file.places, what.what, what.decided, when)
            elif isinstance(what, tuple):
                blob = encode_step(kind, number, *what, when)
            else:
                blob = encode_edit(number, what, when)
            with self._wake:
                self._blobs[number] = blob
                self._queue.popleft()
                self._wake.notify_all()

    def _write(self) -> None:
        while self._blobs:
            if not self._segments or self._segments[-1].size >= _MAX_SEGMENT:
                self._segments.append(_Segment(self._folder / f"{min(self._blobs):012d}.log", 0))
            segment = self._segments[-1]
            numbers: list[int] = []
            content: list[bytes] = []
            size = segment.size
            for number in sorted(self._blobs):
                if numbers and size >= _MAX_SEGMENT:
                    break
                numbers.append(number)
                content.append(self._blobs[number])
                size += len(self._blobs[number])
            append_durably(segment.path, segment.size, b"".join(content))
            with self._wake:
                for number in numbers:
                    start, segment.size = segment.size, segment.size + len(self._blobs[number])
                    self._places[number] = (segment.path, start, segment.size)
                    del self._blobs[number]
                segment.last = self._on_disk = numbers[-1]
                self._saved_at = time.time()
                self._tidy = True
                self._wake.notify_all()

    def _keep_house(self, *, to_the_end: bool) -> None:
        more = True
        while more:
            more = self._housekeeping(self._on_disk)
            if self._gives_up or (self._queue and not to_the_end):
                break
        with self._wake:
            self._tidy = more

    def _say(self, problem: str) -> None:
        with self._wake:
            self._problem = problem


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

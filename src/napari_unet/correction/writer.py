"""Writes the journal in a thread of its own: nobody waits for the disk, and a disk that fails loses nothing."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from threading import Condition, Thread
from typing import TYPE_CHECKING

from napari_unet.correction.large import LargeEdit
from napari_unet.correction.records import Kind, decode_edit, encode_edit, encode_large, encode_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.correction.edits import Edit
    from napari_unet.correction.journal_files import JournalFiles

    Walked = tuple[int, tuple[int, int] | None]
    """Number of an edit that was taken back or made again, and which of its parts where it is a large one."""

__all__ = ["JournalWriter", "Saving"]

_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 2.0
_UNTIDY = 200
"""Records after which the housekeeping no longer waits for a pause."""


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


class JournalWriter:
    """Takes records from the window. One thread encodes, writes and syncs them.

    Parameters
    ----------
    files : JournalFiles
        Where they go. From `start` on, the thread alone changes them.
    where : str
        What messages call the place.
    housekeeping : callable
        Called in the thread when there is nothing to write, with the number of the last record on disk. Does a
        little, and returns whether there is more to do. An `OSError` in it counts as a failure to save.
    """

    def __init__(self, files: JournalFiles, where: str, housekeeping: Callable[[int], bool]) -> None:
        self._files = files
        self._where = where
        self._housekeeping = housekeeping
        self._wake = Condition()
        self._queue: deque[tuple[int, Kind, Edit | LargeEdit | Walked, float]] = deque()
        self._blobs: dict[int, bytes] = {}
        self._next = 1
        self._on_disk = 0
        self._saved_at: float | None = None
        self._problem = ""
        self._busy = False
        self._tidy = True
        self._hurry = self._closing = False
        self._gives_up = False
        self._since_tidy = 0
        self._thread = Thread(target=self._run, name="napari-unet journal", daemon=True)

    def start(self, first: int) -> None:
        """Begin to write, with the record number `first` or the one that comes after those on disk."""
        self._next = max(first, self._files.last + 1)
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
                self._files.add_large(number, what)
            self._queue.append((number, kind, what, time.time()))
            self._wake.notify_all()
        return number

    def holds(self, number: int) -> bool:
        """Whether the record can be read back."""
        return number in self._blobs or self._files.holds(number)

    def read(self, number: int) -> Edit:
        """Return the edit of a record, wherever it is.

        Raises
        ------
        StoreError
            If the disk cannot be read.
        """
        with self._wake:
            blob = self._blobs.get(number)
        return self._files.read(number) if blob is None else decode_edit(blob)

    def large(self, number: int) -> LargeEdit:
        """Return the large edit of a record."""
        return self._files.large(number)

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
            written = self._files.append(self._blobs)
            with self._wake:  # they can be read from the files by now
                for number in written:
                    del self._blobs[number]
                self._on_disk = written[-1]
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

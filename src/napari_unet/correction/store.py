"""The corrections of one image on disk: OME-Zarr labels and status, and the journal that nothing gets past.

A change is in the journal first. Later, in the background, it is folded into the arrays; folding a record twice does
no harm, so whatever moment a crash hits, replaying the records that are not folded gives the last state.
"""

from __future__ import annotations

import atexit
import time
from contextlib import suppress
from dataclasses import asdict
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.correction.arrays import LabelArrays
from napari_unet.correction.finding import META
from napari_unet.correction.journal import Journal
from napari_unet.correction.journal_files import JournalFiles
from napari_unet.correction.large import ENDING, EditFile, LargeEdit
from napari_unet.correction.lock import Lock
from napari_unet.correction.places import read_json, replace_json
from napari_unet.correction.recents import RecentWork, note_recent
from napari_unet.correction.records import Kind, Record
from napari_unet.correction.replay import Change, outcomes, replay, undo_stacks, unfolded
from napari_unet.correction.writer import JournalWriter, Saving
from napari_unet.errors import StoreError
from napari_unet.generators import drained, scaled
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.correction.arrays import Make
    from napari_unet.correction.edits import Box, Edit
    from napari_unet.correction.finding import Found
    from napari_unet.correction.identity import ImageIdentity

__all__ = ["Store"]

_FOLD_BYTES = 64 * 2**20
"""Labels and status folded in one go, between two looks at whether something is to be saved."""

_READING = 0.7
"""Of the time of loading where something is to be done again; the rest is for that."""

_CLOSE_SECONDS = 60.0


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"The corrections in {path} cannot be read ({error}). Move that folder away to begin anew.")


class Store:
    """The corrections of one image on disk. Made by `open_store`.

    Attributes
    ----------
    path : Path
        The ``.zarr`` folder.
    journal : Journal
        The undo stack, with that of earlier sessions. Record every edit in it.
    read_only : bool
        Whether another window has it, or its folder cannot be written: nothing is saved.
    is_locked_out : bool
        Whether it is read-only because its folder cannot be written.
    notice : str
        What the user should be told about it, empty if nothing.
    """

    def __init__(self, found: Found, identity: ImageIdentity, kind: str) -> None:
        self.path: Path = found.path
        self.notice = found.notice
        self.read_only = self.is_locked_out = False
        self._identity, self._kind = identity, kind
        self._mutex = Mutex()
        self._steps: dict[int, Change] = {}
        self._within = 0  # boxes of the next record that are in the arrays
        self._folding, self._is_loading = Mutex(), False
        self._released: list[tuple[int, EditFile]] = []
        self._lock = Lock(self.path / "lock")
        self._take_lock()
        self._files = JournalFiles(self.path / "journal", str(self.path.parent))
        self._writer = JournalWriter(self._files, str(self.path.parent), self._housekeeping)
        try:
            self._meta = read_json(self.path / META)
            self._arrays = LabelArrays(self.path, label_axes(identity.axes))
            records = self._scan()
        except (OSError, KeyError, ValueError) as error:
            self._lock.release()
            raise _unreadable(self.path, error) from error
        self._meta.setdefault("when", time.time())
        self._kind = str(self._meta.get("kind", kind))
        self.journal = Journal(log=None if self.read_only else _Log(self))
        self._changed = False
        if not self.read_only:
            self._restore(records)
            self._meta["image"] = asdict(identity)
            self._changed = True
            self._writer.start(int(self._meta.get("folded", 0)) + 1)
            atexit.register(self.close)

    # --- what the window asks for ------------------------------------------------------------------------

    def load(self, make: Make = np.zeros) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Return labels and status as the user left them in one go: see `iter_load`."""
        return drained(self.iter_load(make))

    def iter_load(self, make: Make = np.zeros) -> Generator[float, None, tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Return labels and status as the user left them, in the axes of the image without C and S.

        Do it once, before the first edit is recorded. Yields how far it is, 0 to 1, and may run in any thread. `make`
        gives an array of zeros of a shape and a type.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        with self._folding:  # and none from here on: what is read now and what is done again belong together
            self._is_loading = True
        try:
            share = _READING if self._steps else 1.0
            labels, status = yield from scaled(self._arrays.load(make), 0.0, share)
            yield from scaled(replay(self._writer, self._steps, labels, status), share, 1.0)
        except (OSError, KeyError, ValueError, RuntimeError) as error:  # the last is what a decompressor raises
            raise _unreadable(self.path, error) from error
        finally:
            self._is_loading = False
            self._writer.tidy()
        return labels, status

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever kept in it."""
        return not self._steps and self._arrays.is_empty

    @property
    def saving(self) -> Saving:
        """How the saving stands; from any thread."""
        if self.read_only:
            return Saving(True, self.notice, 0, None, str(self.path.parent))
        return self._writer.saving

    @property
    def kind(self) -> str:
        """What is corrected. Set it when a class is added: the names of all classes, parted by a comma and a space."""
        return self._kind

    @kind.setter
    def kind(self, kind: str) -> None:
        if kind == self._kind:
            return
        with self._mutex:
            self._kind = self._meta["kind"] = kind
            self._changed = True
        if not self.read_only:
            self._writer.tidy()

    @property
    def facts(self) -> dict[str, Any]:
        """What was remembered beside labels and status."""
        return dict(self._meta.get("facts", {}))

    def remember(self, **facts: Any) -> None:
        """Keep facts for the next session: ``model``, ``object_size``, ``checked``, ``corrected``, ...

        They are written in the background. Anything that JSON can hold.
        """
        with self._mutex:
            known = self._meta.get("facts", {})
            if any(known.get(name) != value for name, value in facts.items()):
                self._meta["facts"] = {**known, **facts}
                self._changed = True
        if not self.read_only:
            self._writer.tidy()

    def wait(self, timeout: float = _CLOSE_SECONDS) -> bool:
        """Wait until everything is on disk; False if that is not so in time, or saving fails."""
        return True if self.read_only else self._writer.wait(timeout)

    def close(self, timeout: float = _CLOSE_SECONDS) -> bool:
        """Write what is left and let go; False if something could not be saved. Harmless a second time."""
        if self.read_only:
            return True
        atexit.unregister(self.close)
        saved = self._writer.close(timeout)
        self._lock.release()
        return saved

    # --- opening -----------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        name = self._identity.name
        try:
            holder = self._lock.take()
        except OSError as error:
            self.read_only = self.is_locked_out = True
            self.notice = (
                f"The corrections of {name} are in a folder that cannot be written ({error.strerror or error}): "
                "what you change now is not saved. Copy image and folder to where you may write."
            )
            return
        if holder is not None:
            self.read_only = True
            self.notice = (
                f"{name} is open in {holder}: here it can be looked at, not corrected. Correct it there, or close it "
                "there and open the image here again."
            )

    def _scan(self) -> list[Record]:
        """Read the journal, and put it aside where it does not go on where the arrays end."""
        folded = int(self._meta.get("folded", 0))
        records = self._files.scan(repair=not self.read_only, folded=folded)
        if records and records[-1].number < folded and not self.read_only:
            self._files.set_aside()
            records = []
        if self._files.damaged:
            self.notice = (
                f"A part of the journal in {self.path} was damaged and is put aside. Look over your last steps."
            )
        self._steps = unfolded(records, folded)
        return records

    def _restore(self, records: Sequence[Record]) -> None:
        forgotten = self._meta.get("forgotten", {})
        done, undone = undo_stacks(self._files, records, forgotten.get("before", 0))
        self.journal.restore(done, undone, forgotten.get("corrected", ()), forgotten.get("decided", ()))
        on_stacks = {step.large.file.path for step in (*done, *undone) if step.large is not None}
        to_fold = {self._files.large(one.of).file for one in self._steps.values() if one.parts is not None}
        self._released += [(records[-1].number, file) for file in to_fold if file.path not in on_stacks]
        needed = on_stacks | {file.path for file in to_fold}
        for path in (self.path / "journal").glob(f"*{ENDING}"):
            if path not in needed:  # of a step that was not finished, or that nobody can walk to any more
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    # --- saving ------------------------------------------------------------------------------------------

    def _add(self, edit: Edit | LargeEdit) -> int:
        is_large = isinstance(edit, LargeEdit)
        number = self._writer.put(Kind.LARGE if is_large else Kind.EDIT, edit)
        self._steps[number] = Change(False, number, (edit.first, edit.last) if isinstance(edit, LargeEdit) else None)
        return number

    def _walk(self, change: Change) -> None:
        number = self._writer.put(Kind.UNDO if change.back else Kind.REDO, (change.of, change.parts))
        self._steps[number] = change

    def _forget(self, before: int, corrected: Iterable[int], decided: Iterable[int]) -> None:
        with self._mutex:
            self._meta["forgotten"] = {"before": before, "corrected": sorted(corrected), "decided": list(decided)}
            self._changed = True

    def _housekeeping(self, on_disk: int) -> bool:
        """Fold some records into the arrays, or write what is to be remembered; in the writer's thread."""
        folded = int(self._meta.get("folded", 0))
        with self._folding:
            if self._is_loading:
                return False
            if folded < on_disk:
                self._fold(folded, on_disk)
                return True
        if self._changed:
            self._write_meta()
        forgotten = int(self._meta.get("forgotten", {}).get("before", 0))
        self._files.drop(min(forgotten, folded + 1))
        while self._released and self._released[0][0] <= folded:
            self._released.pop(0)[1].remove()
        return False

    def _fold(self, folded: int, on_disk: int) -> None:
        within = self._within

        def some() -> Iterator[tuple[Box, NDArray[Any], NDArray[np.uint8]]]:
            nonlocal folded, within
            size = 0
            for number in range(folded + 1, on_disk + 1):
                for box, labels, status in outcomes(self._writer, self._steps[number], after=within):
                    yield box, labels, status
                    within += 1
                    size += labels.nbytes + status.nbytes
                    if size > _FOLD_BYTES:
                        return
                folded, within = number, 0

        self._arrays.fold(some())
        self._within = within
        with self._mutex:
            first = int(self._meta.get("folded", 0)) + 1
            self._meta["folded"] = folded
            self._meta["when"] = time.time()
        self._write_meta()
        for number in range(first, folded + 1):
            del self._steps[number]

    def _write_meta(self) -> None:
        with self._mutex:
            content, self._changed = dict(self._meta), False
        try:
            replace_json(self.path / META, content)
        except OSError:
            self._changed = True
            raise
        facts, image = content.get("facts", {}), self._identity
        counts = int(facts.get("checked", 0)), int(facts.get("corrected", 0))
        note_recent(RecentWork(image.name, image.path, str(self.path), self._kind, float(content["when"]), *counts))


class _Log:
    """What the journal sees of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, edit: Edit | LargeEdit) -> int:
        return self._store._add(edit)

    def begin(self) -> EditFile:
        return EditFile.begin(self._store.path / "journal", str(self._store.path.parent))

    def release(self, file: EditFile) -> None:
        self._store._released.append((self._store._writer.last, file))

    def step(self, back: bool, of: int, parts: tuple[int, int] | None) -> None:
        self._store._walk(Change(back, of, parts))

    def holds(self, number: int) -> bool:
        return self._store._writer.holds(number)

    def read(self, number: int) -> Edit:
        return self._store._writer.read(number)

    def forget(self, before: int, corrected: Iterable[int], decided: Iterable[int]) -> None:
        self._store._forget(before, corrected, decided)

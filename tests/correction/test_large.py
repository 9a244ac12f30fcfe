"""Steps that are larger than memory: taken back, made again, there after a restart, and bounded on the disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.correction import Edit, Journal, identify, open_store, read_corrections
from napari_unet.correction import journal as journal_module
from napari_unet.correction import store as store_module
from napari_unet.correction import writer as writer_module
from napari_unet.correction.arrays import LabelArrays
from napari_unet.errors import StoreError

SHAPE = (4, 6, 8)
PIXELS = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.uint16)
WHOLE = tuple(slice(0, n) for n in SHAPE)


@pytest.fixture(autouse=True)
def prompt(monkeypatch):
    """Housekeeping comes at once, and a few parts at a time."""
    monkeypatch.setattr(writer_module, "_IDLE_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(store_module, "_FOLD_BYTES", 300)


def open_there(folder):
    (folder / "img.tif").touch()  # an image that is gone might have been moved
    return open_store(identify(PIXELS, "ZYX", path=folder / "img.tif"))


def part_of(labels, status, z, value):
    """Return the edit that writes a value into a plane."""
    box = (slice(z, z + 1), *WHOLE[1:])
    after = np.full((1, *SHAPE[1:]), value, np.int32)
    known = np.full(after.shape, value % 3, np.uint8)
    return Edit(box, labels[box].copy(), after, status[box].copy(), known, "import")


def change_all(journal, labels, status, value, planes=SHAPE[0]):
    """Make a large step of the first planes, and return its file."""
    file = journal.begin()
    for z in range(planes):
        edit = part_of(labels, status, z, value)
        file.add(edit)
        edit.apply(labels, status)
    journal.record_large(file, "import")
    return file


def walk(journal, labels, status, *, back, count=None):
    """Take back, or make again, the next step, or so many parts of it where it is a large one."""
    large = journal.next_large(back=back)
    if large is None or count is None or count >= len(large):
        edit = journal.undo() if back else journal.redo()
        if edit is not None:
            (edit.revert if back else edit.apply)(labels, status)
        return
    for _, edit in zip(range(count), large.edits(back=back), strict=False):
        (edit.revert if back else edit.apply)(labels, status)
    journal.walked(count, back=back)


def parts_in(store):
    return sorted((store.path / "journal").glob("*.parts"))


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["small", "large"]), st.integers(1, 4)),
        st.tuples(st.sampled_from(["back", "forth"]), st.one_of(st.none(), st.integers(0, 4))),
        st.just(("reopen", 0)),
    ),
    max_size=14,
)


class Model:
    """What the stack should hold: planes that were written, one after the other, and where one is in them."""

    def __init__(self):
        self.groups, self.here = [], 0  # lists of (plane, value); how many planes of all of them are in force

    def flat(self):
        return [one for group in self.groups for one in group]

    def write(self, group):
        left, kept = self.here, []
        for one in self.groups:
            if left <= 0:
                break
            kept.append(one[:left])
            left -= len(one[:left])
        self.groups = [*kept, group]
        self.here += len(group)

    def move(self, back, count):
        ends = np.cumsum([0, *(len(group) for group in self.groups)])
        if back and self.here:
            start = int(ends[ends < self.here].max())
            self.here = start if count is None else max(start, self.here - count)
        elif not back and self.here < ends[-1]:
            stop = int(ends[ends > self.here].min())
            self.here = stop if count is None else min(stop, self.here + count)

    def labels(self):
        made = np.zeros(SHAPE, np.int32)
        for z, value in self.flat()[: self.here]:
            made[z] = value
        return made


@settings(max_examples=60)
@given(ACTIONS, st.booleans())
def test_large_and_small_steps_walk_back_and_forth_also_in_part_and_another_day(tmp_path_factory, actions, is_kept):
    folder = tmp_path_factory.mktemp("images")
    store = open_there(folder) if is_kept else None
    journal = store.journal if store is not None else Journal()
    labels, status = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.uint8)
    model = Model()
    for number, (action, count) in enumerate(actions, start=1):
        if action == "large":
            change_all(journal, labels, status, number, count)
            model.write([(z, number) for z in range(count)])
        elif action == "small":
            edit = part_of(labels, status, count - 1, number)
            edit.apply(labels, status)
            journal.record(edit)
            model.write([(count - 1, number)])
        elif action == "reopen":
            if store is None:
                continue
            assert store.close()
            store = open_there(folder)
            journal = store.journal
            labels, status = store.load()
        else:
            back = action == "back"
            large = journal.next_large(back=back) is not None
            walk(journal, labels, status, back=back, count=count)
            model.move(back, count if large else None)
        np.testing.assert_array_equal(labels, model.labels())
        np.testing.assert_array_equal(status, labels % 3)
    if store is not None:
        assert store.wait()
        found = read_corrections(PIXELS, "ZYX", folder / "img.tif")
        np.testing.assert_array_equal(np.zeros(SHAPE) if found is None else found.labels, labels * status.any())
        needed = {step.large.file.path for step in (*journal._done, *journal._undone) if step.large is not None}
        assert set(parts_in(store)) == needed, "nothing is left on the disk that nobody can walk to"
        store.close()


def test_what_it_takes_on_the_disk_is_bounded_but_the_last_can_always_be_taken_back(tmp_path, monkeypatch):
    store = open_there(tmp_path)
    labels, status = store.load()
    size = change_all(store.journal, labels, status, 1).size
    monkeypatch.setattr(journal_module, "_MOST_ON_DISK", 3 * size + size // 2)
    for value in range(2, 9):
        change_all(store.journal, labels, status, value)
    assert store.wait()
    assert len(parts_in(store)) == 3
    monkeypatch.setattr(journal_module, "_MOST_ON_DISK", 1)
    change_all(store.journal, labels, status, 9)
    assert store.wait()
    assert len(parts_in(store)) == 1
    assert store.close()
    store = open_there(tmp_path)
    labels, status = store.load()
    assert len(store.journal) == 1
    walk(store.journal, labels, status, back=True)
    assert (labels == 8).all()
    assert store.journal.undo() is None
    edit = part_of(labels, status, 0, 5)
    edit.apply(labels, status)
    store.journal.record(edit)  # what was taken back cannot be made again
    assert store.wait()
    assert not parts_in(store)
    store.close()


def test_a_step_that_is_not_finished_never_was(tmp_path):
    store = open_there(tmp_path)
    labels, status = store.load()
    change_all(store.journal, labels, status, 1)
    file = store.journal.begin()
    for z in range(2):
        file.add(part_of(labels, status, z, 2))
    assert store.close()
    assert len(parts_in(store)) == 2
    again = open_there(tmp_path)
    np.testing.assert_array_equal(again.load()[0], labels)
    assert len(again.journal) == 1
    assert len(parts_in(again)) == 1, "what was written of it is gone"
    again.close()


def test_parts_that_only_the_arrays_still_needed_go_with_the_session_that_folds_them(tmp_path, monkeypatch):
    def stuck(*_):
        raise OSError(errno.EIO, "Input/output error")

    store = open_there(tmp_path)
    labels, status = store.load()
    with monkeypatch.context() as patched:
        patched.setattr(LabelArrays, "fold", stuck)  # as if killed before
        change_all(store.journal, labels, status, 1)
        walk(store.journal, labels, status, back=True)
        edit = part_of(labels, status, 0, 5)
        edit.apply(labels, status)
        store.journal.record(edit)  # now nobody can walk to the large step
        store.close()
    assert len(parts_in(store)) == 1
    again = open_there(tmp_path)
    found, _ = again.load()
    np.testing.assert_array_equal(found, labels)
    assert again.close()
    assert not parts_in(again)


def test_a_disk_that_fills_up_leaves_a_step_of_what_was_written(tmp_path, monkeypatch):
    store = open_there(tmp_path)
    labels, status = store.load()
    file = store.journal.begin()
    edit = part_of(labels, status, 0, 3)
    file.add(edit)
    edit.apply(labels, status)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        patched.setattr("napari_unet.correction.large._SYNC_BYTES", 0)
        with pytest.raises(StoreError, match=r"cannot be saved in .*No space left.*Control-Z takes it back"):
            file.add(part_of(labels, status, 1, 3))
    store.journal.record_large(file, "import")
    assert store.close()
    again = open_there(tmp_path)
    found, known = again.load()
    np.testing.assert_array_equal(found, labels)
    walk(again.journal, found, known, back=True)
    assert not found.any()
    again.close()


@pytest.mark.parametrize("is_folded", [True, False])
def test_parts_that_are_gone_are_told_and_the_rest_is_good(tmp_path, is_folded):
    store = open_there(tmp_path)
    labels, status = store.load()
    edit = part_of(labels, status, 0, 4)
    edit.apply(labels, status)
    store.journal.record(edit)
    first = labels.copy()
    change_all(store.journal, labels, status, 5)
    edit = part_of(labels, status, 1, 7)
    edit.apply(labels, status)
    store.journal.record(edit)
    assert store.close()
    (parts,) = parts_in(store)
    parts.unlink()
    meta = store.path / "napari-unet.json"
    if not is_folded:  # as the arrays were before
        arrays = LabelArrays(store.path, "ZYX")
        arrays.fold([(WHOLE, first, (first % 3).astype(np.uint8))])
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "folded": 1}))
    again = open_there(tmp_path)
    found, known = again.load()
    if is_folded:
        np.testing.assert_array_equal(found, labels)
        walk(again.journal, found, known, back=True)
        assert again.journal.undo() is None, "behind it nothing can be reached"
        assert (found == 5).all()
    else:
        assert "damaged" in again.notice
        np.testing.assert_array_equal(found, first)
        assert len(again.journal) == 1
    again.close()


def test_a_damaged_part_is_not_written_into_the_labels(tmp_path):
    store = open_there(tmp_path)
    labels, status = store.load()
    file = change_all(store.journal, labels, status, 5)
    assert store.wait()
    content = bytearray(file.path.read_bytes())
    content[-5] ^= 1
    file.path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="damaged"):
        walk(store.journal, labels, status, back=True)
    assert (labels == 5).all()
    store.close()


def test_what_is_read_while_it_is_put_into_the_arrays_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_IDLE_SECONDS", 1000)
    store = open_there(tmp_path)
    labels, status = store.load()
    change_all(store.journal, labels, status, 5)
    with monkeypatch.context() as patched:
        patched.setattr(store_module.Store, "_fold", lambda *_: (_ for _ in ()).throw(OSError("no")))
        store.close()
    monkeypatch.setattr(writer_module, "_IDLE_SECONDS", 0.0)
    again = open_there(tmp_path)
    reading = again.iter_load()
    steps = [next(reading)]
    again._writer.wait(1.0)  # gives the housekeeping its chance in the midst of it
    found = None
    while found is None:
        try:
            steps.append(next(reading))
        except StopIteration as done:
            found = done.value
    np.testing.assert_array_equal(found[0], labels)
    assert steps == sorted(steps)
    assert again.close()
    assert json.loads((again.path / "napari-unet.json").read_text())["folded"] == 1, "it is made up for"


KILLED = """
import os, sys
sys.path.insert(0, {here!r})
import test_large as t
from pathlib import Path
store = t.open_there(Path({folder!r}))
labels, status = store.load()
t.change_all(store.journal, labels, status, 1)
store.wait()
what, count = sys.argv[1], int(sys.argv[2])
if what == "make":
    file = store.journal.begin()
    for z in range(count):
        file.add(t.part_of(labels, status, z, 2))
else:
    large = store.journal.next_large(back=True)
    for _, edit in zip(range(count), large.edits(back=True)):
        edit.revert(labels, status)
print("now", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("what", ["make", "take back"])
def test_killed_in_the_midst_of_a_large_step_it_never_was(tmp_path, what):
    code = KILLED.format(here=os.path.dirname(__file__), folder=str(tmp_path))
    command = [sys.executable, "-c", code, what, "3"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "now\n"
        os.kill(child.pid, signal.SIGKILL)
    store = open_there(tmp_path)
    assert not store.read_only
    labels, status = store.load()
    assert (labels == 1).all()
    assert (status == 1).all()
    assert len(store.journal) == len(parts_in(store)) == 1
    walk(store.journal, labels, status, back=True)
    assert not labels.any()
    assert store.close()

"""The store: what a person did is there again, whatever happens to the disk, the image or the program."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.correction import Edit, has_store, identify, open_store, recent
from napari_unet.correction import journal as journal_module
from napari_unet.correction import journal_files as files_module
from napari_unet.correction import writer as writer_module
from napari_unet.correction.records import read_records
from napari_unet.errors import ImageChangedError, StoreError

SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 40, "X": 50, "S": 3}


OPENED = []


@pytest.fixture(autouse=True)
def prompt(monkeypatch):
    """Housekeeping and new attempts come at once; no store outlives its test."""
    monkeypatch.setattr(writer_module, "_IDLE_SECONDS", 0.01)
    monkeypatch.setattr(writer_module, "_RETRY_SECONDS", 0.01)
    yield
    while OPENED:
        OPENED.pop().close()


def make_image(folder, axes="YX", name="img_03.tif", seed=0):
    """Return the identity of an image that is there as a file."""
    shape = [SIZES[letter] for letter in axes]
    pixels = np.random.default_rng(seed).integers(0, 1000, shape).astype(np.uint16)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(pixels.tobytes())
    return identify(pixels, axes, path=path)


class Session:
    """A store with its arrays, as a document has them."""

    def __init__(self, identity, **options):
        self.store = open_store(identity, **options)
        OPENED.append(self.store)
        self.labels, self.status = self.store.load()

    def paint(self, number, corner=None):
        corner = corner or (0,) * (self.labels.ndim - 2) + (number % 20, number % 30)
        room = [n - c for n, c in zip(self.labels.shape, corner, strict=True)]
        size = tuple(min(n, m) for n, m in zip((1,) * (self.labels.ndim - 2) + (9, 7), room, strict=True))
        box = tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))
        after = np.full(size, number, np.int32)
        known = np.ones(size, np.uint8)
        edit = Edit(box, self.labels[box].copy(), after, self.status[box].copy(), known, "stroke", frozenset({number}))
        edit.apply(self.labels, self.status)
        self.store.journal.record(edit)

    def undo(self):
        edit = self.store.journal.undo()
        if edit is not None:
            edit.revert(self.labels, self.status)
        return edit

    def redo(self):
        edit = self.store.journal.redo()
        if edit is not None:
            edit.apply(self.labels, self.status)
        return edit

    def assert_same(self, other):
        np.testing.assert_array_equal(self.labels, other.labels)
        np.testing.assert_array_equal(self.status, other.status)
        assert len(self.store.journal) == len(other.store.journal)
        assert self.store.journal.corrected == other.store.journal.corrected
        assert self.store.journal.decided == other.store.journal.decided


def until(condition):
    """Wait for another thread."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)


@settings(max_examples=15)
@given(
    axes=st.sampled_from(["YX", "ZYX", "YXS", "CYX", "TYX", "ZTYX", "TCZYX", "XYZ"]),
    days=st.lists(st.lists(st.sampled_from(["paint", "undo", "redo"]), max_size=12), min_size=1, max_size=3),
)
def test_everything_is_there_again_the_next_day(tmp_path_factory, axes, days):
    identity = make_image(tmp_path_factory.mktemp("images"), axes)
    number, last = 0, None
    for day in days:
        session = Session(identity)
        if last is not None:
            session.assert_same(last)
        for action in day:
            if action == "paint":
                number += 1
                session.paint(number, tuple(number % 2 for _ in session.labels.shape))
            else:
                getattr(session, action)()
        assert session.store.close()
        last = session
    while last.undo() is not None:
        pass
    assert not last.labels.any()
    assert not last.status.any()


def test_other_programs_open_labels_and_status(tmp_path):
    zarr_reader = pytest.importorskip("ome_zarr.reader")
    from ome_zarr.io import parse_url

    session = Session(make_image(tmp_path, "ZCYX"), pixel_size_um={"Z": 2.0, "Y": 0.5, "X": 0.5})
    session.paint(7)
    session.store.close()
    for name, expected in (("objects", session.labels), ("status", session.status)):
        (node,) = zarr_reader.Reader(parse_url(session.store.path / name))()
        np.testing.assert_array_equal(np.asarray(node.data[0]), expected)
        assert [axis["name"] for axis in node.metadata["axes"]] == ["z", "y", "x"]
        assert node.metadata["coordinateTransformations"][0][0]["scale"] == [2.0, 0.5, 0.5]
    root = zarr.open_group(session.store.path, mode="r")
    assert root.attrs["ome"]["labels"] == ["objects", "status"]


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage"])
def test_a_torn_record_is_dropped_and_the_rest_is_good(tmp_path, damage, rng):
    identity = make_image(tmp_path)
    session = Session(identity)
    for number in range(1, 6):
        session.paint(number)
    until(lambda: not session.store.saving.waiting)
    (log,) = sorted((session.store.path / "journal").glob("*.log"))
    # the arrays of that moment never got the changes: they are in the journal alone
    content = log.read_bytes()
    session.store.close()
    meta = session.store.path / "napari-unet.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "folded": 0}))
    stops = [record.stop for record in read_records(log)]
    if damage == "cut":
        log.write_bytes(content[: int(rng.integers(stops[3] + 1, stops[4]))])
    elif damage == "flip":
        broken = bytearray(content)
        broken[int(rng.integers(stops[3], stops[4]))] ^= 0x10
        log.write_bytes(bytes(broken))
    else:
        log.write_bytes(content + b"NUJ1 and then nonsense")
    again = Session(identity)
    assert len(again.store.journal) == (5 if damage == "garbage" else 4)
    again.paint(9)
    again.store.close()
    assert Session(identity).store.journal.corrected == again.store.journal.corrected


def test_more_than_a_hundred_steps_back_after_a_restart_with_bounded_memory_and_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "DEPTH", 120)
    monkeypatch.setattr(journal_module, "_SLACK", 5)
    monkeypatch.setattr(files_module, "_MAX_BYTES", 4000)
    identity = make_image(tmp_path, "ZYX")
    session = Session(identity)
    session.store.journal._max_bytes = 20_000
    for number in range(1, 301):
        session.paint(number, (number % 4, number % 20, number % 30))
        if number % 50 == 0:
            assert session.store.wait()
    session.paint(301)  # what is on disk by now need not stay in memory
    session.undo()
    held = sum(step.edit.nbytes for step in session.store.journal._done if step.edit is not None)
    assert held <= 21_000
    for _ in range(10):  # older ones come back from disk
        session.undo()
    assert session.store.close()
    assert len(list((session.store.path / "journal").glob("*.log"))) < 60
    again = Session(identity)
    again.assert_same(session)
    assert again.store.journal.corrected == set(range(1, 291))
    for number in range(291, 301):
        assert again.redo().corrected == {number}
    steps = 0
    while again.undo() is not None:
        steps += 1
    assert 120 <= steps <= 126
    assert again.store.journal.corrected == set(range(1, 301 - steps))
    assert again.labels.max() == 300 - steps
    again.store.close()


def full_disk(path, at, content):
    """Write a part, as a disk that fills up does."""
    with path.open("r+b" if at else "wb") as file:
        file.seek(at)
        file.write(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_and_saving_resumes_by_itself(tmp_path, monkeypatch):
    identity = make_image(tmp_path)
    session = Session(identity)
    session.paint(1)
    assert session.store.wait()
    whole = files_module.append_durably
    monkeypatch.setattr(files_module, "append_durably", full_disk)
    for number in range(2, 6):
        session.paint(number)
    until(lambda: session.store.saving.failed and session.store.saving.waiting == 4)
    assert "No space left" in session.store.saving.message
    assert "kept in memory" in session.store.saving.message
    session.undo()
    assert not session.store.wait(0.2)
    monkeypatch.setattr(files_module, "append_durably", whole)
    until(lambda: not session.store.saving.failed and not session.store.saving.waiting)
    assert session.store.saving.message == ""
    assert session.store.close()
    Session(identity).assert_same(session)


def test_a_drive_that_vanishes_and_comes_back(tmp_path):
    identity = make_image(tmp_path / "drive")
    session = Session(identity)
    session.paint(1)
    assert session.store.wait()
    (tmp_path / "drive").rename(tmp_path / "unplugged")
    session.paint(2)
    until(lambda: session.store.saving.failed)
    assert not (tmp_path / "drive").exists()
    (tmp_path / "unplugged").rename(tmp_path / "drive")
    until(lambda: not session.store.saving.failed)
    assert session.store.close()
    Session(identity).assert_same(session)


def test_a_step_on_a_vanished_drive_cannot_be_taken_back_but_is_not_lost(tmp_path):
    identity = make_image(tmp_path / "drive")
    session = Session(identity)
    session.paint(1)
    session.store.close()
    session = Session(identity)
    (tmp_path / "drive").rename(tmp_path / "unplugged")
    with pytest.raises(StoreError, match="Connect the drive"):
        session.undo()
    (tmp_path / "unplugged").rename(tmp_path / "drive")
    assert session.undo().corrected == {1}
    session.store.close()


def test_closing_tells_when_something_is_not_saved(tmp_path, monkeypatch):
    session = Session(make_image(tmp_path))
    monkeypatch.setattr(files_module, "append_durably", full_disk)
    session.paint(1)
    assert not session.store.close()


def test_two_windows_on_one_image(tmp_path):
    identity = make_image(tmp_path)
    first = Session(identity)
    first.paint(1)
    first.store.wait()
    second = Session(identity)
    assert second.store.read_only
    assert "img_03.tif is open in another window" in second.store.notice
    assert second.store.saving.failed
    np.testing.assert_array_equal(second.labels, first.labels)
    second.paint(2)
    assert second.undo().corrected == {2}
    second.store.close()
    first.store.close()
    third = Session(identity)
    assert not third.store.read_only
    third.assert_same(first)
    third.store.close()


def test_the_lock_of_a_process_that_died_is_void_and_of_another_machine_is_not(tmp_path):
    identity = make_image(tmp_path)
    session = Session(identity)
    lock = session.store.path / "lock"
    who = json.loads(lock.read_text())
    session.store.close()
    lock.write_text(json.dumps({**who, "pid": 2**22 + 1, "token": "x"}))
    session = Session(identity)
    assert not session.store.read_only
    session.store.close()
    lock.write_text("torn {")
    session = Session(identity)
    assert not session.store.read_only
    session.store.close()
    lock.write_text(json.dumps({**who, "host": "elsewhere"}))
    session = Session(identity)
    assert session.store.read_only
    assert "napari on elsewhere" in session.store.notice


def test_an_image_that_changed_is_not_silently_matched(tmp_path):
    old = Session(make_image(tmp_path, seed=0))
    old.paint(1)
    old.store.close()
    changed = make_image(tmp_path, seed=1)
    with pytest.raises(ImageChangedError, match=r"img_03\.tif has other pixels"):
        open_store(changed)
    new = Session(changed, when_changed="set aside")
    assert not new.labels.any()
    new.store.close()
    assert len(list((tmp_path / "napari-unet").glob("img_03*.zarr"))) == 2
    third = make_image(tmp_path, seed=2)
    new = Session(changed)
    new.paint(5)
    new.store.close()
    adopted = Session(third, when_changed="adopt")
    adopted.assert_same(new)
    adopted.store.close()
    Session(third).store.close()  # from now on it is this image's


def test_of_another_shape_it_cannot_be_taken_over(tmp_path):
    Session(make_image(tmp_path, "YX")).store.close()
    pixels = np.zeros((9, 9))
    with pytest.raises(ImageChangedError, match="It was"):
        open_store(identify(pixels, "YX", path=tmp_path / "img_03.tif"), when_changed="adopt")


@pytest.mark.parametrize("how", ["renamed", "to another folder", "with its folder"])
def test_a_moved_image_is_found_by_its_hash(tmp_path, how):
    identity = make_image(tmp_path / "a")
    session = Session(identity)
    session.paint(1)
    session.store.close()
    if how == "renamed":
        target = tmp_path / "a" / "other.tif"
        Path(identity.path).rename(target)
    elif how == "to another folder":
        target = tmp_path / "b" / "img_03.tif"
        target.parent.mkdir()
        Path(identity.path).rename(target)
    else:
        (tmp_path / "a").rename(tmp_path / "b")
        target = tmp_path / "b" / "img_03.tif"
    pixels = np.random.default_rng(0).integers(0, 1000, (40, 50)).astype(np.uint16)
    moved = Session(identify(pixels, "YX", path=target))
    moved.assert_same(session)
    assert moved.store.path.parent == target.parent / "napari-unet"
    moved.store.close()


def test_a_copy_of_an_image_has_corrections_of_its_own(tmp_path):
    identity = make_image(tmp_path)
    session = Session(identity)
    session.paint(1)
    session.store.close()
    copy = make_image(tmp_path, name="copy.tif")
    assert copy.digest == identity.digest
    assert not Session(copy).labels.any()
    same_stem = make_image(tmp_path, name="img_03.png", seed=5)
    other = Session(same_stem)
    assert not other.labels.any()
    other.store.close()
    again = Session(identity)
    again.assert_same(session)
    again.store.close()


def test_kinds_and_axes_have_stores_of_their_own(tmp_path):
    identity = make_image(tmp_path, "ZYX")
    nuclei = Session(identity, kind="nucleus")
    nuclei.paint(1)
    cells = Session(identity, kind="cell")
    assert not cells.labels.any()
    assert cells.store.path != nuclei.store.path
    nuclei.store.close()
    cells.store.close()


@pytest.mark.parametrize("path", [None, "https://somewhere.org/data/img_03.zarr", "folder"])
def test_where_the_image_has_no_folder_it_goes_to_the_users_data(tmp_path, user_folder, path):
    pixels = np.arange(2000).reshape(40, 50)
    if path == "folder":  # where nothing can be made: a file is in the way
        (tmp_path / "napari-unet").write_text("")
        path = tmp_path / "img_03.tif"
        path.write_bytes(b"")
    identity = identify(pixels, "YX", path=path, name="sample")
    session = Session(identity)
    session.paint(3)
    assert session.store.path.parent == user_folder / "stores"
    assert str(session.store.path) in session.store.notice
    session.store.close()
    Session(identity).assert_same(session)


def test_where_nothing_can_be_kept_it_is_said(tmp_path, user_folder):
    (user_folder / "stores").write_text("")
    with pytest.raises(StoreError, match="can be kept neither"):
        open_store(identify(np.zeros((4, 4)), "YX"))


def test_recent_work_names_image_day_and_count(tmp_path):
    for name in ("a.tif", "b.tif"):
        session = Session(make_image(tmp_path, name=name, seed=ord(name[0])))
        session.paint(1)
        session.store.remember(checked=37, corrected=12, model="nuclei")
        session.store.close()
    works = recent()
    assert [work.name for work in works] == ["b.tif", "a.tif"]
    noon = time.mktime((2025, 3, 5, 12, 0, 0, 0, 0, -1))
    evening = time.mktime((2025, 3, 4, 18, 40, 0, 0, 0, -1))
    work = type(works[0])(**{**vars(works[0]), "when": evening, "name": "img_03.tif"})
    assert work.line(noon) == "Continue img_03 (yesterday 18:40, 37 checked)"
    assert Session(make_image(tmp_path, name="b.tif", seed=ord("b"))).store.facts["model"] == "nuclei"


def test_the_hash_is_the_same_for_memory_and_file_and_tells_images_apart(tmp_path, rng):
    import dask.array as da

    pixels = rng.integers(0, 2**16, (7, 900, 1100)).astype(np.uint16)
    expected = identify(pixels, "ZYX").digest
    assert identify(da.from_array(pixels, chunks=(1, 300, 300)), "ZYX").digest == expected
    assert identify(pixels.astype(">u2"), "ZYX").digest == expected
    assert identify(pixels + 1, "ZYX").digest != expected
    assert identify(pixels.astype(np.int32), "ZYX").digest != expected


def test_recording_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    from threading import Event

    session = Session(make_image(tmp_path))
    released = Event()
    whole = files_module.append_durably

    def slow(*arguments):
        assert released.wait(20)
        whole(*arguments)

    monkeypatch.setattr(files_module, "append_durably", slow)
    for number in range(1, 51):
        session.paint(number)
    assert session.store.saving.waiting == 50  # and here we are
    for _ in range(3):
        assert session.undo() is not None
    released.set()
    assert session.store.close()


def test_keeping_corrections_imports_neither_torch_nor_napari():
    code = (
        "import sys, numpy\n"
        "from napari_unet.correction import Edit, Journal, open_store, identify, recent, refill, stroke\n"
        "unwanted = {'torch', 'napari', 'qtpy', 'skimage'} & set(sys.modules)\n"
        "assert not unwanted, unwanted"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("is_open", [False, True])
def test_corrections_of_a_channel_from_when_they_were_kept_elsewhere_come_along(tmp_path, user_folder, is_open):
    pixels = np.random.default_rng(0).integers(0, 900, (40, 50))
    before = Session(identify(pixels, "YX", name="cells DAPI"))
    before.paint(3)
    assert before.store.path.parent == user_folder / "stores"
    meta = before.store.path / "napari-unet.json"
    if not is_open:
        before.store.close()
        known = json.loads(meta.read_text())
        del known["image"]["channel"], known["image"]["level"]  # as it was written then
        meta.write_text(json.dumps(known))
    else:
        assert before.store.wait()
    (tmp_path / "cells.tif").touch()
    identity = identify(pixels, "YX", path=tmp_path / "cells.tif", channel=1)
    assert has_store(identity, "object")
    assert not has_store(identify(pixels + 1, "YX", path=tmp_path / "cells.tif", channel=1), "object")
    now = Session(identity)
    if is_open:  # it stays where a window writes to it
        assert now.store.read_only
        before.store.close()
    else:
        assert now.store.path == tmp_path / "napari-unet" / "cells channel 2.zarr"
        assert now.store.notice == ""
        now.store.close()
    last = Session(identity)
    last.assert_same(before)
    last.store.close()
    other = identify(pixels, "YX", path=tmp_path / "cells.tif", channel=0)
    assert not has_store(other, "object"), "channels of equal pixels are told apart"


def test_a_store_is_moved_to_another_disk_whole(tmp_path, user_folder, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 900, (40, 50))
    before = Session(identify(pixels, "YX", name="cells DAPI"))
    before.paint(3)
    before.store.close()
    rename = Path.rename

    def across_disks(path, target):
        if path == before.store.path:
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", across_disks)
    now = Session(identify(pixels, "YX", path=tmp_path / "cells.tif", channel=1))
    now.assert_same(before)
    assert now.store.path.parent == tmp_path / "napari-unet"
    assert not before.store.path.exists()
    assert [path.name for path in now.store.path.parent.iterdir()] == ["cells channel 2.zarr"]
    now.store.close()


@pytest.fixture
def make_read_only(monkeypatch):
    """Let nothing be written below a folder, whoever runs the tests."""
    refused = []
    opened, renamed, made = Path.open, Path.rename, Path.mkdir

    def is_refused(path):
        return any(folder in path.parents for folder in refused)

    def refuse(path):
        if is_refused(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))

    def open_file(path, mode="r", *others, **options):
        if set(mode) & set("wxa+"):
            refuse(path)
        return opened(path, mode, *others, **options)

    def rename(path, target):
        refuse(path)
        return renamed(path, target)

    def mkdir(path, *others, **options):
        if not path.exists():  # as systems do
            refuse(path)
        return made(path, *others, **options)

    monkeypatch.setattr(Path, "open", open_file)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    return refused.append


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_corrections_in_a_folder_that_cannot_be_written_go_on_in_a_copy(tmp_path, user_folder, make_read_only):
    identity = make_image(tmp_path / "share")
    first = Session(identity)
    first.paint(3)
    first.paint(4)
    first.undo()
    first.store.remember(model="nuclei")
    first.store.close()
    before = content(tmp_path / "share")
    make_read_only(tmp_path / "share")

    second = Session(identity)
    assert not second.store.read_only
    assert second.store.path.parent == user_folder / "stores"
    assert "img_03.tif cannot be written: its corrections go on in a copy" in second.store.notice
    assert str(second.store.path) in second.store.notice
    second.assert_same(first)
    assert second.store.facts["model"] == "nuclei"
    second.redo()
    second.paint(5)
    assert second.store.close()
    assert content(tmp_path / "share") == before

    # from then on it is the copy, for everybody who looks
    third = Session(identity)
    third.assert_same(second)
    assert third.store.path == second.store.path
    assert third.undo() is not None, "with its undo stack"
    third.store.close()
    assert len(list((user_folder / "stores").glob("*.zarr"))) == 1
    (entry,) = [one for one in recent() if one.store == str(second.store.path)]
    assert entry.image == identity.path


def test_a_copy_tells_when_the_corrections_it_came_from_have_changed(tmp_path, user_folder, make_read_only):
    identity = make_image(tmp_path / "share")
    first = Session(identity)
    first.paint(3)
    first.store.close()
    make_read_only(tmp_path / "share")
    second = Session(identity)
    second.paint(4)
    second.store.close()
    meta = first.store.path / "napari-unet.json"
    known = json.loads(meta.read_text())
    handle = os.open(meta, os.O_WRONLY | os.O_TRUNC)
    os.write(handle, json.dumps({**known, "when": known["when"] + 9}).encode())
    os.close(handle)
    third = Session(identity)
    assert "have changed since; move the copy away to see them" in third.store.notice
    third.assert_same(second)
    third.store.close()


def test_where_not_even_a_copy_can_be_kept_the_corrections_are_shown(tmp_path, user_folder, make_read_only):
    identity = make_image(tmp_path / "share")
    first = Session(identity)
    first.paint(3)
    first.store.close()
    make_read_only(tmp_path)
    make_read_only(user_folder)
    second = Session(identity)
    assert second.store.read_only
    assert "is not saved" in second.store.notice
    np.testing.assert_array_equal(second.labels, first.labels)
    np.testing.assert_array_equal(second.status, first.status)

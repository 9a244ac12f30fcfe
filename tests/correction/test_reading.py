"""Corrections that are only read: what a person left, while a window may be at work on it; nothing is touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.correction import Edit, identify, open_store, read_corrections
from napari_unet.correction import writer as writer_module
from napari_unet.errors import ImageChangedError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.correction import Store

SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 20, "X": 25, "S": 3}


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_IDLE_SECONDS", 0.01)


@pytest.fixture
def stores() -> Iterator[list[Store]]:
    opened: list[Store] = []
    yield opened
    for store in opened:
        store.close()


def picture(axes: str = "YX", seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 1000, [SIZES[letter] for letter in axes]).astype(np.uint16)


def paint(store: Store, labels: Any, status: Any, number: int) -> None:
    box = (*(slice(0, 1),) * (labels.ndim - 2), slice(number % 9, number % 9 + 8), slice(number % 7, number % 7 + 9))
    after = np.full([s.stop - s.start for s in box], number, np.int32)
    edit = Edit(box, labels[box].copy(), after, status[box].copy(), np.ones_like(after, np.uint8), "stroke",
                frozenset({number}))  # fmt: skip
    edit.apply(labels, status)
    store.journal.record(edit)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@settings(max_examples=15)
@given(
    axes=st.sampled_from(["YX", "ZYX", "YXS", "TCYX", "XYZ"]),
    actions=st.lists(st.sampled_from(["paint", "undo", "redo", "fold"]), max_size=10),
    is_open=st.booleans(),
)
def test_what_is_read_is_what_was_left(
    tmp_path_factory: pytest.TempPathFactory, axes: str, actions: list[str], is_open: bool
) -> None:
    path, image = tmp_path_factory.mktemp("images") / "a.tif", picture(axes)
    store = open_store(identify(image, axes, path=path))
    labels, status = store.load()
    for number, action in enumerate(actions, start=1):
        if action == "paint":
            paint(store, labels, status, number)
        elif action == "fold":
            assert store.wait()
        else:
            edit = getattr(store.journal, action)()
            if edit is not None:
                (edit.revert if action == "undo" else edit.apply)(labels, status)
    corrected = store.journal.corrected
    assert store.wait() if is_open else store.close()
    before = content(path.parent)
    found = read_corrections(image, axes, path)
    assert content(path.parent) == before
    if not status.any():
        assert found is None
    else:
        assert found is not None
        np.testing.assert_array_equal(found.labels, labels)
        np.testing.assert_array_equal(found.status, status)
        assert found.corrected == corrected
    store.close()


def test_changes_that_are_in_the_journal_only_are_read(
    tmp_path: Path, stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_IDLE_SECONDS", 1000)
    image = picture()
    store = open_store(identify(image, "YX", path=tmp_path / "a.tif"))
    stores.append(store)
    labels, status = store.load()
    for number in (1, 2):
        paint(store, labels, status, number)
    for _ in range(5000):
        if not store.saving.waiting:
            break
        store._writer._thread.join(0.002)
    assert json.loads((store.path / "napari-unet.json").read_text())["folded"] == 0
    found = read_corrections(image, "YX", tmp_path / "a.tif")
    assert found is not None
    np.testing.assert_array_equal(found.labels, labels)
    assert found.corrected == {1, 2}


def test_channel_that_was_corrected_on_its_own_belongs_to_the_image(tmp_path: Path, stores: list[Store]) -> None:
    image = picture("CYX")
    store = open_store(identify(image[1], "YX", path=tmp_path / "a.tif"))
    stores.append(store)
    paint(store, *store.load(), 3)
    assert store.wait()
    found = read_corrections(image, "CYX", tmp_path / "a.tif")
    assert found is not None
    assert set(np.unique(found.labels)) == {0, 3}
    with pytest.raises(ImageChangedError, match=r"a\.tif has other pixels than when it was corrected"):
        read_corrections(picture("CYX", seed=1), "CYX", tmp_path / "a.tif")


def test_of_several_channels_that_were_corrected_the_one_that_is_asked_for_is_read(
    tmp_path: Path, stores: list[Store]
) -> None:
    image, path = picture("CYX"), tmp_path / "a.tif"
    for channel in (2, 1):
        store = open_store(identify(image[channel], "YX", path=path, channel=channel))
        paint(store, *store.load(), channel)
        assert store.close()
    for channels, number in (((2,), 2), ((1,), 1), ((1, 2), 1), ((), 1), ((0,), 1)):
        found = read_corrections(image, "CYX", path, channels=channels)
        assert found is not None
        assert found.corrected == {number}


def test_corrections_of_another_level_are_told(tmp_path: Path) -> None:
    image, path = picture("CYX"), tmp_path / "a.tif"
    store = open_store(identify(image[0, ::2, ::2], "YX", path=path, channel=0, level=1))
    paint(store, *store.load(), 9)
    assert store.close()
    with pytest.raises(StoreError, match="corrected at level 1 of its pyramid and is read at level 0"):
        read_corrections(image, "CYX", path)
    assert read_corrections(image[:, ::2, ::2], "CYX", path, level=1) is not None


def test_a_channel_that_was_kept_as_an_image_without_a_file_is_read(tmp_path: Path, stores: list[Store]) -> None:
    image = picture("CYX")
    store = open_store(identify(image[1], "YX", name="a DAPI"))
    stores.append(store)
    paint(store, *store.load(), 3)
    assert store.wait()
    found = read_corrections(image, "CYX", tmp_path / "a.tif")
    assert found is not None
    assert found.corrected == {3}
    assert read_corrections(picture("CYX", seed=1), "CYX", tmp_path / "a.tif") is None


def test_other_images_and_other_kinds_have_none(tmp_path: Path, stores: list[Store]) -> None:
    image = picture()
    path = tmp_path / "a.tif"
    store = open_store(identify(image, "YX", path=path))
    stores.append(store)
    assert read_corrections(image, "YX", path) is None, "nothing is checked in it"
    paint(store, *store.load(), 3)
    assert store.close()
    path.touch()
    assert read_corrections(image, "YX", path, kind="nucleus") is None
    assert read_corrections(image, "YX", tmp_path / "b.tif") is None, "a copy was not corrected"
    path.rename(tmp_path / "b.tif")
    assert read_corrections(image, "YX", tmp_path / "b.tif") is not None, "it has another name now"
    assert read_corrections(picture(seed=1), "YX", tmp_path / "c.tif") is None
    (store.path / "napari-unet.json").write_text(
        (store.path / "napari-unet.json").read_text().replace('"folded": 1', '"folded": "x"')
    )
    with pytest.raises(StoreError, match="cannot be read"):
        read_corrections(image, "YX", tmp_path / "b.tif")

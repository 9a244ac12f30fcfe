"""Labels of other programs: found by their names, made to fit, taken over as one step."""

from __future__ import annotations

from contextlib import closing
from unittest.mock import patch

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from napari_unet import Status, write_labels
from napari_unet.correction import (
    Project,
    filling,
    find_label_pairs,
    fit_labels,
    identify,
    import_edit,
    import_labels,
    iter_import_labels,
    open_store,
    read_labels,
)
from napari_unet.errors import ImageError
from napari_unet.images import write_rois

TWO = np.zeros((60, 30), np.uint16)
TWO[3:9, 4:9], TWO[20:30, 10:20] = 1, 2


@pytest.fixture
def folder(tmp_path):
    """Three images of different sizes."""
    home = tmp_path / "images"
    home.mkdir()
    for number, shape in ((10, (40, 50)), (2, (60, 30)), (1, (300, 400))):
        pixels = np.random.default_rng(number).integers(0, 900, shape).astype(np.uint16)
        tifffile.imwrite(home / f"img_{number}.tif", pixels)
    return home


def write(path, labels):
    """Write labels as other programs do."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".png":
        imageio.imwrite(path, labels)
    elif path.suffix == ".zip":
        write_rois(path, labels, "YX")
    elif path.suffix == ".zarr":
        write_labels(path, labels, "YX")
    else:
        tifffile.imwrite(path, labels)


def pairs_of(folder, *labels):
    return find_label_pairs(Project(folder).images, *labels)


@pytest.mark.parametrize(
    "name",
    [
        "img_2_masks.tif", "img_2_cp_masks.png", "img_2_RoiSet.zip", "img_2.zip", "img_2_masks.ome.zarr",
        "img_2-labels.ome.tif", "labels/img_2.tif", "masks/img_2_mask.tif", "Masks/IMG_2.tif", "../labels/img_2.tif",
        "../rois/img_2.zip", "img_2_Masks.tif", "img_2_label.tif",
    ],
)  # fmt: skip
@pytest.mark.parametrize("as_truth", [False, True])
def test_labels_of_other_programs(folder, name, as_truth):
    path = folder / name
    write(path, TWO)
    assert len(Project(folder).images) == 3
    pairs = pairs_of(folder)
    assert [(image.name, found.name) for image, found in pairs] == [("img_2.tif", path.name)]
    assert list(import_labels(pairs, as_truth=as_truth)) == [(folder / "img_2.tif", "taken")]
    assert [what for _, what in import_labels(pairs, as_truth=as_truth)] == ["was there"]
    store = open_store(identify(tifffile.imread(folder / "img_2.tif"), "YX", path=folder / "img_2.tif"))
    taken, status = store.load()
    np.testing.assert_array_equal(taken, TWO)
    assert (status == (Status.CHECKED if as_truth else Status.UNCHECKED)).all()
    assert store.journal.decided == [], "nobody has decided on an object"
    assert store.journal.undo().what == "import"
    store.close()
    assert Project(folder).entries()[1].objects == 2


def test_labels_of_the_same_names_in_a_folder_that_is_chosen(folder, tmp_path):
    home = tmp_path / "from cellpose"
    write(home / "img_2.tif", TWO)
    write(home / "img_10_cp_masks.tif", np.ones((40, 50), np.uint8))
    write(home / "other.tif", TWO)
    assert pairs_of(folder) == []
    assert [(a.name, b.name) for a, b in pairs_of(folder, home)] == [
        ("img_2.tif", "img_2.tif"),
        ("img_10.tif", "img_10_cp_masks.tif"),
    ]
    assert pairs_of(folder, folder) == [], "an image is not its own labels"
    assert pairs_of(folder, tmp_path / "gone") == []


@pytest.mark.parametrize("name", ["img_2_masks.tif", "img_2_img_cp_masks.tif", "labels/img_2.tif"])
def test_images_that_say_so_in_their_names(folder, name):
    (folder / "img_2.tif").rename(folder / "img_2_img.tif")
    write(folder / name, TWO)
    assert [(a.name, b.name) for a, b in pairs_of(folder)] == [("img_2_img.tif", name.split("/")[-1])]


def test_labels_that_do_not_fit_are_told_and_the_others_are_taken(folder):
    write(folder / "img_1_masks.tif", np.ones((9, 9), np.uint16))
    write(folder / "img_2_masks.tif", np.full((60, 30), 0.5, np.float32))
    write(folder / "img_10_masks.tif", np.ones((40, 50), np.uint16))
    told = {path.name: what for path, what in import_labels(pairs_of(folder), as_truth=True)}
    assert "img_1_masks.tif does not fit the image: it is 9 x 9, and the image needs 300 x 400" in told["img_1.tif"]
    assert "float32" in told["img_2.tif"]
    assert told["img_10.tif"] == "taken"


def test_what_a_person_checked_is_not_replaced_by_a_folder_of_labels(folder):
    path = folder / "img_2.tif"
    write(folder / "img_2_masks.tif", TWO)
    store = open_store(identify(tifffile.imread(path), "YX", path=path))
    labels, status = store.load()
    done = import_edit(labels, status, np.full(labels.shape, 7), as_truth=True)
    store.journal.record(done)
    store.close()
    assert list(import_labels(pairs_of(folder), as_truth=True)) == [(path, "was there")]


def test_labels_of_the_channel_that_is_worked_on(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 900, (3, 2, 60, 30)).astype(np.uint16)
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "cells_masks.tif", np.stack([TWO, TWO, TWO]), photometric="minisblack")
    assert [what for _, what in import_labels(pairs_of(tmp_path), as_truth=False, channel=1)] == ["taken"]
    store = open_store(identify(pixels[:, 1], "ZYX", path=path, channel=1))
    np.testing.assert_array_equal(store.load()[0], [TWO] * 3)
    store.close()
    (problem,) = [what for _, what in import_labels(pairs_of(tmp_path), as_truth=False, channel=2)]
    assert "there is no channel 3" in problem


def test_a_mask_becomes_objects_piece_by_piece_and_frame_by_frame():
    mask = np.where(TWO > 0, 255, 0).astype(np.uint8)
    fitted = fit_labels(mask, TWO.shape, "YX", name="mask.png")
    np.testing.assert_array_equal(fitted.labels, TWO)
    assert fitted.count == 2
    assert "2 separate pieces" in fitted.note
    assert fit_labels(np.stack([mask] * 3), (3, 60, 30), "ZYX", name="stack").count == 2
    assert fit_labels(np.stack([mask] * 3), (3, 60, 30), "TYX", name="film").count == 6
    one = fit_labels(np.where(TWO == 2, 2, 0), TWO.shape, "YX", name="one")
    assert (one.count, one.note) == (1, "")


@given(arrays(bool, st.tuples(*[st.integers(1, 5)] * 3)), st.integers(1, 40), st.sampled_from(["ZYX", "TYX"]))
def test_a_mask_is_parted_in_pieces_as_in_one(mask, piece, axes):
    expected = fit_labels(mask, mask.shape, axes, name="mask")
    with patch.object(filling, "_PIECE", piece):
        found = fit_labels(mask, mask.shape, axes, name="mask", make=np.zeros)
    assert found.count == expected.count
    np.testing.assert_array_equal(found.labels, expected.labels)
    if axes == "ZYX":
        np.testing.assert_array_equal(found.labels, ndi.label(mask)[0])


def test_classes_are_values_and_a_mask_is_the_first():
    assert fit_labels(np.where(TWO > 0, 255, 0), TWO.shape, "YX", name="mask", classes=2).labels.max() == 1
    assert fit_labels(TWO, TWO.shape, "YX", name="two", classes=2).count == 2
    with pytest.raises(ImageError, match="values up to 2, this model has 1 classes"):
        fit_labels(TWO, TWO.shape, "YX", name="two", classes=1)


@pytest.mark.parametrize("made", ["float32", "int64", "bool", "singletons", "huge ids"])
def test_labels_as_programs_write_them(made):
    found = {
        "float32": TWO.astype(np.float32),
        "int64": TWO.astype(np.int64),
        "bool": TWO == 1,
        "singletons": TWO[None, :, None],
        "huge ids": TWO.astype(np.uint64) * 2**40,
    }[made]
    fitted = fit_labels(found, (1, 60, 30), "ZYX", name="labels")
    assert fitted.labels.shape == (1, 60, 30)
    np.testing.assert_array_equal(fitted.labels[0], TWO == 1 if made == "bool" else TWO)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.zeros((30, 60), int), "it is 30 x 60, and the image needs 60 x 30"),
        (np.full((60, 30), -1), "values below 0"),
        (np.full((60, 30), np.nan), "no whole numbers"),
        (np.full((60, 30), 1j), "no whole numbers"),
    ],
)
def test_what_is_no_label_image_is_said(found, message):
    with pytest.raises(ImageError, match=message):
        fit_labels(found, (60, 30), "YX", name="it")


def test_files_that_hold_no_labels_are_said(tmp_path):
    imageio.imwrite(tmp_path / "colours.png", np.zeros((60, 30, 3), np.uint8))
    with pytest.raises(ImageError, match="a picture in colours"):
        read_labels(tmp_path / "colours.png", (60, 30), "YX")
    (tmp_path / "bad.zip").write_bytes(b"no")
    with pytest.raises(ImageError, match="cannot be read"):
        read_labels(tmp_path / "bad.zip", (60, 30), "YX")


small = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


@given(labels=small, status=arrays(np.uint8, (6, 7), elements=st.integers(0, 2)), found=small, as_truth=st.booleans(),
       objects=st.booleans())  # fmt: skip
def test_an_import_is_one_step_and_keeps_what_is_checked_unless_it_is_the_truth(
    labels, status, found, as_truth, objects
):
    before = labels.copy(), status.copy()
    edit = import_edit(labels, status, found, as_truth=as_truth, objects=objects)
    np.testing.assert_array_equal(labels, before[0])
    edit.apply(labels, status)
    if as_truth:
        np.testing.assert_array_equal(labels, found)
        assert (status == Status.CHECKED).all()
    else:
        kept = before[1] != Status.UNCHECKED
        np.testing.assert_array_equal(labels[kept], before[0][kept])
        np.testing.assert_array_equal(status, before[1])
        if not objects or not kept.any():
            np.testing.assert_array_equal(labels[~kept], found[~kept])
    edit.revert(labels, status)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(status, before[1])


@pytest.mark.parametrize("as_truth", [False, True])
def test_images_of_a_folder_that_do_not_fit_are_taken_in_pieces_as_one_step(folder, monkeypatch, as_truth):
    monkeypatch.setattr(filling, "_PIECE", 500)
    write(folder / "img_2_masks.tif", TWO)
    images = pairs_of(folder)
    told = list(iter_import_labels(images, as_truth=as_truth, make_for=lambda _: np.zeros))
    assert [one.what for one in told[-2:]] == ["", "taken"]
    assert [one.fraction for one in told] == sorted(one.fraction for one in told)
    assert len(told) > 8, "it says how far it is"
    assert [what for _, what in import_labels(images, as_truth=as_truth, make_for=lambda _: np.zeros)] == ["was there"]
    store = open_store(identify(tifffile.imread(folder / "img_2.tif"), "YX", path=folder / "img_2.tif"))
    labels, status = store.load()
    np.testing.assert_array_equal(labels, TWO)
    assert (status == as_truth).all()
    assert len(store.journal) == 1
    store.journal.undo().revert(labels, status)
    assert not labels.any()
    assert not status.any()
    store.close()
    assert Project(folder).entries()[1].objects == 2


def test_where_it_is_ended_the_image_is_as_it_was(folder, monkeypatch):
    monkeypatch.setattr(filling, "_PIECE", 500)
    write(folder / "img_2_masks.tif", TWO)
    with closing(iter_import_labels(pairs_of(folder), as_truth=True, make_for=lambda _: np.zeros)) as steps:
        assert next(one for one in steps if one.fraction > 0.8).what == ""
    store = open_store(identify(tifffile.imread(folder / "img_2.tif"), "YX", path=folder / "img_2.tif"))
    assert not store.read_only
    assert store.is_empty
    assert not list(store.path.rglob("*.parts"))
    store.close()

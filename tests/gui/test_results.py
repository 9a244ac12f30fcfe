"""What leaves the panel: measurements, files, whole folders."""

import csv

import numpy as np
import pytest
import tifffile
import torch
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QFileDialog, QTableView

from napari_unet import load_model
from napari_unet.gui.results import as_features
from napari_unet.images import open_image, read_provenance, read_rois, rois_to_labels


@pytest.fixture
def pick(monkeypatch):
    """Answer the file dialogs of the system."""

    def answer(path):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))

    return answer


def choose_export(user, text):
    """Choose an entry of the menu."""
    user.press("export")
    menu = user.panel.results.menu
    user.until(menu.isVisible)
    action = next(one for one in menu.actions() if one.text().startswith(text))
    QTest.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())
    user.until(lambda: user.idle)


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_measurements_are_the_features_of_the_layer(user):
    assert not user.button("measure_objects").isEnabled()
    user.segment()
    user.press("measure_objects")
    user.until(lambda: len(user.document.editable.features))
    features = user.document.editable.features
    assert list(features["index"]) == [0, 1, 2, 3, 4, 5], "the row of a label has its number"
    np.testing.assert_array_equal(features["area_px"][1:], np.bincount(user.labels.ravel())[1:])
    assert (features["mean_channel0"][1:] > 900).all()
    assert set(features["state"][1:]) == {"predicted"}
    assert list(features)[:2] == ["index", "area_px"], "a plane has neither frames nor slices"
    assert "5 objects measured" in user.says
    # napari's own table shows them, and a row that is chosen there is chosen in the image
    tables = user.viewer.window._qt_window.findChildren(QTableView)
    table = next(one for one in tables if one.model() is not None and one.model().rowCount() == 6)
    user.until(table.isVisible)
    cell = table.visualRect(table.model().index(4, 1)).center()
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    assert user.document.editable.selected_label == 4
    user.panel.parent().raise_()
    user.pause()
    # pressed again after a correction: measured anew, in the same table
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("measure_objects")
    user.until(lambda: "checked" in set(user.document.editable.features["state"]))
    assert len(user.viewer.window._qt_window.findChildren(QTableView)) == len(tables)


def test_the_table_begins_with_an_object_that_there_is(user):
    user.segment()
    for _ in range(12):
        user.document.clear()
        user.segment()  # each time with new ids
    first = np.unique(user.labels)[1]
    assert first > 50
    user.press("measure_objects")
    user.until(lambda: len(user.document.editable.features))
    table = next(one for one in user.viewer.window._qt_window.findChildren(QTableView) if one.model() is not None)
    user.until(table.isVisible)
    user.until(lambda: table.rowAt(5) <= first < table.rowAt(table.viewport().height() - 5) + 1)


def test_the_model_as_a_file(user, library, pick, tmp_path):
    menu = user.panel.results.menu
    assert [one.isEnabled() for one in menu.actions() if not one.isSeparator()] == [False] * 4 + [True]
    pick(tmp_path / "for a friend.safetensors")
    choose_export(user, "Model")
    assert "for a friend" in user.says
    friend = load_model(tmp_path / "for a friend.safetensors")
    own = load_model("nuclei")
    assert friend.spec == own.spec
    for name, tensor in own.network.state_dict().items():
        assert torch.equal(tensor, friend.network.state_dict()[name])
    # nothing is said to be written that is not
    (tmp_path / "a file").touch()
    pick(tmp_path / "a file" / "mine.safetensors")
    choose_export(user, "Model")
    assert "cannot be saved" in user.says
    assert user.session.problem


def test_labels_of_a_movie_keep_the_time_between_frames(start, discs, pick, tmp_path):
    tifffile.imwrite(tmp_path / "movie.ome.tif", discs(2), metadata={"axes": "TYX", "TimeIncrement": 90})
    user = start()
    user.viewer.open(str(tmp_path / "movie.ome.tif"), plugin="napari")
    user.segment()
    pick(tmp_path / "a.ome.tif")
    choose_export(user, "Labels as OME-TIFF")
    written = open_image(tmp_path / "a.ome.tif")
    assert (written.axes, written.frame_interval_s) == ("TYX", 90)


def test_labels_outlines_and_tables_as_files(start, discs, pick, tmp_path):
    user = start(discs(2), scale=(2.0, 0.5, 0.5), units=("um",) * 3)
    user.segment()
    for text, name in (("Labels as OME-TIFF", "a.ome.tif"), ("Labels as OME-Zarr", "a.ome.zarr")):
        pick(tmp_path / name)
        choose_export(user, text)
        assert user.says == f"Written: {tmp_path / name}"
        written = open_image(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(written.data), user.labels)
        assert written.axes == "ZYX"
        assert written.pixel_size_um == {"Z": 2.0, "Y": 0.5, "X": 0.5}
        assert read_provenance(tmp_path / name)["model"] == "nuclei"
    pick(tmp_path / "a.zip")
    choose_export(user, "ImageJ ROIs")
    again = rois_to_labels(read_rois(tmp_path / "a.zip"), user.labels.shape, "ZYX")
    np.testing.assert_array_equal(again > 0, user.labels > 0)
    pick(tmp_path / "a.csv")
    choose_export(user, "Measurements as CSV")
    rows = rows_of(tmp_path / "a.csv")
    assert len(rows) == 5
    assert float(rows[0]["volume_um3"]) == pytest.approx(float(rows[0]["volume_px"]) * 0.5)
    # nowhere to write to, and a dialog that is cancelled
    pick(tmp_path / "none" / "a.csv" / "b.csv")
    (tmp_path / "none").write_text("a file")
    choose_export(user, "Measurements as CSV")
    assert user.session.problem
    pick("")
    choose_export(user, "Measurements as CSV")
    assert user.idle


def test_a_folder_is_segmented_as_from_the_command_line(user, pick, tmp_path, discs):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(folder / f"{name}.tif", discs())
    (folder / "c.tif").write_bytes(b"no image")
    for name in ("with_table", "with_rois"):
        box = user.panel.findChild(QCheckBox, name)
        QTest.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
        assert box.isChecked()
    seen = []
    user.session.events.message.connect(seen.append)
    pick(folder)
    user.press("segment_folder")
    user.until(lambda: user.idle)
    assert "2 images segmented" in user.says
    assert "c.tif" in user.says
    assert user.session.problem
    assert any("a.tif (1 of 3)" in one for one in seen)
    for name in ("a", "b"):
        assert open_image(folder / f"{name}-labels.ome.tif").data.max() == 5
        assert len(read_rois(folder / f"{name}-rois.zip")) == 5
    assert len(rows_of(folder / "measurements.csv")) == 10
    assert user.panel.workbench.document is None, "the image in the window is left alone"
    (folder / "c.tif").unlink()
    user.press("segment_folder")
    user.until(lambda: user.idle)
    assert "2 skipped" in user.says
    assert not user.session.problem
    pick(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    user.press("segment_folder")
    assert "No images" in user.says


def test_what_was_checked_stays_in_the_labels_of_a_folder(start, discs, pick, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        tifffile.imwrite(folder / f"{name}.tif", discs())
    user = start()
    opening = user.panel.workbench.opening
    assert opening.open(folder / "b.tif")
    user.look_at(slice(0, 64), slice(0, 64))
    user.segment()
    user.press("tool_delete")
    user.click((12, 12))
    user.viewer.layers.remove(user.viewer.layers["b"])  # closed: its corrections are on disk only
    assert opening.open(folder / "a.tif")
    user.look_at(slice(0, 64), slice(0, 64))
    user.segment()
    document = user.document
    user.press("tool_confirm")
    user.click((12, 44))
    user.press("tool_ignore")
    document.editable.brush_size = 16
    user.click((50, 12))
    user.press("tool_draw")
    document.editable.brush_size = 9
    user.stroke(np.array([(30, 6), (33, 7)]))  # saved or not: it is in the window
    labels, status = user.labels, user.status
    confirmed, drawn = labels[12, 44], labels[31, 6]
    assert drawn not in (0, confirmed)
    box = user.panel.findChild(QCheckBox, "with_table")
    QTest.mouseClick(box, Qt.MouseButton.LeftButton, pos=QPoint(8, box.height() // 2))
    pick(folder)
    user.press("segment_folder")
    user.until(lambda: user.idle)
    assert "2 with what you checked in them" in user.says
    written = np.asarray(open_image(folder / "a-labels.ome.tif").data)
    np.testing.assert_array_equal(written[status == 1], labels[status == 1])
    assert not written[status == 2].any()
    states = {row["id"]: row["state"] for row in rows_of(folder / "measurements.csv") if row["file"].endswith("a.tif")}
    assert (states[str(confirmed)], states[str(drawn)]) == ("checked", "corrected")
    assert set(states.values()) == {"checked", "corrected", "predicted"}
    assert len(states) == 5, "five discs and the stroke, less the ignored one"
    other = np.asarray(open_image(folder / "b-labels.ome.tif").data)
    assert other[12, 12] == 0
    assert len(np.unique(other)) == 5, "what was deleted stays deleted"
    np.testing.assert_array_equal(user.labels, labels)
    # one more correction: that image alone is made anew
    user.stroke(np.array([(5, 28), (6, 30)]))
    user.press("segment_folder")
    user.until(lambda: user.idle)
    assert "1 image segmented" in user.says
    assert "1 skipped" in user.says
    assert open_image(folder / "a-labels.ome.tif").data[6, 29] == user.labels[6, 29] != 0


def test_what_was_checked_in_a_channel_stays_too(start, discs, pick, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        both = np.stack([discs()[::-1], discs()])
        tifffile.imwrite(folder / f"{name}.tif", both, imagej=True, metadata={"axes": "CYX"})
    user = start()
    for name in "ab":
        assert user.panel.workbench.opening.open(folder / f"{name}.tif")
        user.choose("image", f"{name} channel 2")
        user.look_at(slice(0, 64), slice(0, 64))
        user.segment()
        user.press("tool_delete")
        user.click((12, 12))
        if name == "a":
            for layer in [one for one in user.viewer.layers if one.name.startswith("a channel")]:
                user.viewer.layers.remove(layer)
    pick(folder)
    user.press("segment_folder")
    user.until(lambda: user.idle)
    assert "2 with what you checked in them" in user.says, user.says
    for name in "ab":
        written = np.asarray(open_image(folder / f"{name}-labels.ome.tif").data)
        assert written[12, 12] == 0
        assert len(np.unique(written)) == 5


def test_a_folder_can_be_cancelled(user, pick, tmp_path, discs, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(40):
        tifffile.imwrite(folder / f"{number:02}.tif", discs())
    pick(folder)
    user.press("segment_folder")
    user.until(lambda: "(2 of 40)" in user.says)
    assert user.button("cancel").isVisible()
    user.press("cancel")
    user.until(lambda: user.idle)
    assert user.says.startswith("Stopped. What is written stays")
    assert 1 <= len(list(folder.glob("*-labels.ome.tif"))) < 40


def test_objects_that_are_seen_in_several_frames_have_a_row_in_each():
    twice = as_features({"file": np.array(["a"] * 3), "t": np.array([0, 0, 1]), "id": np.array([1, 2, 1])}, "TYX")
    assert list(twice["index"]) == [1, 2, 1]
    gap = as_features({"id": np.array([2, 4]), "area_px": np.array([7, 9])}, "YX")
    assert gap["area_px"].isna().tolist() == [True, True, False, True, False]
    assert as_features({"id": np.zeros(0, int)}, "YX").empty

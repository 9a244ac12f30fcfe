"""A folder of images: walking through it, its corrections, and work that is taken up again."""

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QLabel

from napari_unet import iter_fine_tune, save_model
from napari_unet.gui import learning


@pytest.fixture
def folder(tmp_path, discs):
    """Three images of different sizes."""
    home = tmp_path / "images"
    home.mkdir()
    for number, image in enumerate((discs(), np.tile(discs(), (1, 2)), discs()[:48])):
        tifffile.imwrite(home / f"img_{number + 9}.tif", image, metadata={"axes": "YX"})
    return home


def drop(user, path):
    """Drop a folder on the panel."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    none = Qt.KeyboardModifier.NoModifier
    how = (Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, none)
    QApplication.sendEvent(user.panel, QDragEnterEvent(QPoint(5, 5), *how))
    QApplication.sendEvent(user.panel, QDropEvent(QPointF(5, 5), *how))
    user.pause()


def segmented(user):
    user.until(lambda: user.idle and user.session.segmented)


def strip(user):
    return user.panel.findChild(QLabel, "place").text()


def test_a_folder_has_one_model(start, discs, tmp_path):
    for number, image in enumerate((discs().max() - discs(), discs())):
        tifffile.imwrite(tmp_path / f"img_{number}.tif", image)
    user = start()
    drop(user, tmp_path)
    segmented(user)
    assert user.session.model == "nuclei-stained"
    assert user.labels.max() == 5
    user.press("next_image")
    assert user.session.model == "nuclei-stained"


def test_walking_through_a_folder(start, folder):
    user = start()
    drop(user, folder)
    assert strip(user) == "1/3 img_9.tif"
    before, after, place = (*map(user.button, ("previous_image", "next_image")), user.panel.findChild(QLabel, "place"))
    user.until(lambda: before.geometry().right() < place.geometry().left() < place.geometry().right() < after.x())
    assert after.geometry().right() < after.parentWidget().width()
    segmented(user)
    assert not user.button("previous_image").isEnabled()
    user.look_at(slice(0, 64), slice(0, 64))
    user.use_tool("confirm")
    user.click((12, 12))
    labels = user.labels
    user.press("next_image")
    assert strip(user) == "2/3 img_10.tif", "in natural order"
    segmented(user)
    assert user.labels.shape == (64, 128)
    assert len(np.unique(user.labels)) == 11
    assert {layer.name for layer in user.viewer.layers} == {"img_10", "img_10 labels", "img_10 checked"}
    user.press("next_image")
    segmented(user)
    assert user.labels.shape == (48, 64)
    assert not user.button("next_image").isEnabled()
    # back at the first, all is as it was left
    user.press("previous_image")
    user.until(lambda: user.labels.shape == (64, 128))
    user.press("previous_image")
    user.until(lambda: user.session.checked == 1)
    np.testing.assert_array_equal(user.labels, labels)
    user.undo()
    assert user.session.checked == 0


def test_the_next_image_is_segmented_meanwhile(start, folder, monkeypatch):
    user = start()
    drop(user, folder)
    segmented(user)
    user.until(lambda: user.panel.workbench.projects._ahead is not None)
    monkeypatch.setattr("napari_unet.gui.segmenting.iter_predict", None)  # not needed any more
    user.press("next_image")
    segmented(user)
    assert len(np.unique(user.labels)) == 11


@pytest.fixture
def seen(monkeypatch):
    """Names of the images that trainings learned from."""
    names = []

    def watched(model, samples, *others, **more):
        names.extend(sample.name for sample in samples)
        return (yield from iter_fine_tune(model, samples, *others, **more))

    monkeypatch.setattr(learning, "iter_fine_tune", watched)
    return names


def check_one_and_go_on(user, folder):
    """Check a corner of the first image of a folder, and go on to the second."""
    drop(user, folder)
    segmented(user)
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("complete")
    user.press("next_image")
    segmented(user)


def test_training_uses_all_images_of_the_folder(start, folder, library, trainings, seen):
    user = start()
    check_one_and_go_on(user, folder)
    assert user.session.checked == 0
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("complete")
    user.train()
    assert seen == ["img_10", "img_9.tif"]


def test_a_folder_without_images_is_told(start, tmp_path):
    user = start()
    (tmp_path / "empty").mkdir()
    drop(user, tmp_path / "empty")
    assert "image" in user.says
    assert user.session.problem
    assert not user.viewer.layers


def test_continue_takes_up_the_work_of_another_day(start, folder):
    first = start()
    drop(first, folder)
    segmented(first)
    first.look_at(slice(0, 64), slice(0, 64))
    first.use_tool("confirm")
    first.click((12, 12))
    labels = first.labels
    assert not first.button("continue").isVisible()
    first.viewer.window.remove_dock_widget(first.panel)
    first.pause()

    second = start()
    resume = second.button("continue")
    assert resume.isVisible()
    assert resume.text().startswith("Continue img_9 (today ")
    assert resume.text().endswith("1 checked)")
    second.press("continue")
    second.until(lambda: second.session.checked == 1)
    np.testing.assert_array_equal(second.labels, labels)
    assert not resume.isVisible()
    second.undo()
    assert second.session.checked == 0


def test_a_folder_of_channels_keeps_and_learns_from_the_channel_that_is_worked_on(
    start, tmp_path, discs, trainings, monkeypatch
):
    home = tmp_path / "images"
    home.mkdir()
    for number in (1, 2):
        pixels = np.stack([discs()[::-1], discs()])
        tifffile.imwrite(home / f"img_{number}.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    seen = []

    def watched(model, samples, *others, **more):
        seen.extend((sample.name, sample.image.shape) for sample in samples)
        return (yield from iter_fine_tune(model, samples, *others, **more))

    monkeypatch.setattr(learning, "iter_fine_tune", watched)
    user = start()
    drop(user, home)
    segmented(user)
    user.choose("image", "img_1 channel 2")
    user.segment()
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("complete")
    user.press("next_image")
    assert user.session.image == "img_2 channel 2", "the channel that was worked on"
    segmented(user)
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("complete")
    user.train()
    assert seen == [("img_2 channel 2", (1, 64, 64)), ("img_1.tif", (1, 64, 64))]
    assert (home / "napari-unet" / "img_1 channel 2 nucleus.zarr").is_dir()
    user.press("keep_old")
    user.viewer.window.remove_dock_widget(user.panel)
    user.pause()

    second = start()
    second.press("continue")
    second.until(lambda: second.session.checked == 5)
    assert second.session.image == "img_2 channel 2"


def test_what_is_checked_stays_when_the_folder_is_segmented(start, folder):
    user = start()
    drop(user, folder)
    segmented(user)
    user.look_at(slice(0, 64), slice(0, 64))
    user.use_tool("delete")
    user.click((12, 12))
    user.until(lambda: user.idle)
    user.panel.workbench.results.segment_folder(str(folder), table=True, rois=False)
    user.until(lambda: user.idle)
    assert "3 images segmented" in user.says
    written = tifffile.imread(folder / "img_9-labels.ome.tif")
    assert not written[6:18, 6:18].any()
    assert len(np.unique(written)) == 5
    table = (folder / "measurements.csv").read_text()
    assert table.count("img_9.tif") == 4


def test_every_training_of_a_folder_starts_from_the_model_of_the_first(
    start, folder, library, make_model, trainings, monkeypatch
):
    seen = []

    def watched(model, samples, *others, in_use, **more):
        seen.append((model.spec.name, in_use.spec.name))
        return (yield from iter_fine_tune(model, samples, *others, in_use=in_use, **more))

    monkeypatch.setattr(learning, "iter_fine_tune", watched)
    for name in ("cells", "lines"):
        save_model(make_model(name), library / name)
    save_model(make_model("tissue", "semantic", ("nucleus",)), library / "tissue")
    save_model(make_model("yeast", classes=("yeast",)), library / "yeast")

    user = start()
    assert not user.combo("base_model").isVisible(), "without a folder a version tells where it came from"
    drop(user, folder)
    segmented(user)
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("complete")
    assert user.combo("base_model").isVisible()
    assert user.combo("base_model").currentText() == "nuclei"
    assert user.offers("base_model") == ["nuclei", "nuclei-stained", "cells", "lines"], "those of the same kind"
    user.train()
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.session.model == "nuclei-2"
    assert user.combo("base_model").currentText() == "nuclei"
    # another model in use changes nothing of it
    user.choose("model", "cells")
    assert user.combo("base_model").currentText() == "nuclei"
    user.train()
    user.press("keep_old")
    # the user does
    user.choose("base_model", "lines")
    assert "starts from 'lines'" in user.says
    user.train()
    user.press("keep_old")
    assert seen == [("nuclei", "nuclei"), ("nuclei", "cells"), ("lines", "cells")]
    user.viewer.window.remove_dock_widget(user.panel)
    user.pause()

    second = start()
    drop(second, folder)
    assert second.combo("base_model").currentText() == "lines"
    (library / "lines.safetensors").unlink()
    second.choose("model", "cells")
    assert second.combo("base_model").currentText() == "cells", "the chosen one is gone"


def drop_on_napari(user, path):
    """Drop a folder on napari's canvas."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    none = Qt.KeyboardModifier.NoModifier
    how = (Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, none)
    canvas = user.viewer.window._qt_viewer
    QApplication.sendEvent(canvas, QDragEnterEvent(QPoint(5, 5), *how))
    QApplication.sendEvent(canvas, QDropEvent(QPointF(5, 5), *how))
    user.pause()


def test_a_folder_that_napari_has_stacked_is_offered_as_images(start, tmp_path, discs):
    home = tmp_path / "plate 1"
    home.mkdir()
    for number in (1, 2, 10):
        tifffile.imwrite(home / f"img_{number}.tif", discs(), photometric="minisblack")
    user = start()
    drop_on_napari(user, home)
    user.until(lambda: user.button("use_offer").isVisible())
    (layer,) = user.viewer.layers
    assert type(layer.data).__module__.startswith("dask"), "what napari makes of a folder"
    assert len(layer.data) == 3
    assert "folder of 3 images" in user.panel.findChild(QLabel, "offer").text()
    assert user.button("use_offer").text() == "Open as 3 images"
    user.press("use_offer")
    assert strip(user) == "1/3 img_1.tif"
    assert layer not in user.viewer.layers
    segmented(user)
    assert user.labels.ndim == 2
    assert len(np.unique(user.labels)) == 6
    assert not user.button("use_offer").isVisible()
    user.press("next_image")
    segmented(user)
    assert strip(user) == "2/3 img_2.tif"


def test_a_folder_of_slices_stays_a_stack_if_the_user_says_so(start, tmp_path, discs):
    home = tmp_path / "stack"
    home.mkdir()
    for number in range(3):
        tifffile.imwrite(home / f"z{number}.tif", discs(), photometric="minisblack")
    user = start()
    drop_on_napari(user, home)
    user.until(lambda: user.button("use_offer").isVisible())
    assert user.button("decline_offer").text() == "It is one stack"
    assert user.session.axes == "CYX", "what three planes look like"
    user.press("decline_offer")
    assert not user.button("use_offer").isVisible()
    assert user.session.axes == "ZYX"
    user.segment()
    assert user.labels.shape == (3, 64, 64)


def test_an_image_from_elsewhere_is_told_and_the_folder_is_one_press_away(
    start, folder, tmp_path, discs, library, trainings, seen
):
    user = start()
    check_one_and_go_on(user, folder)
    back = user.button("back_to_folder")
    assert not back.isVisible()
    tifffile.imwrite(tmp_path / "other.tif", discs(), metadata={"axes": "YX"})
    user.panel.workbench.opening.open(tmp_path / "other.tif")
    assert strip(user) == "other is not of this folder"
    assert not user.button("next_image").isVisible()
    assert not user.combo("base_model").isVisible(), "what is trained here is not trained for the folder"
    # what is checked in the folder is not learned with it
    user.segment()
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("complete")
    user.train()
    assert seen == ["other"]
    user.press("keep_old")
    assert back.text() == "Back to 2/3 img_10.tif"
    user.press("back_to_folder")
    assert user.session.image == "img_10"
    assert strip(user) == "2/3 img_10.tif"
    assert not back.isVisible()
    user.until(lambda: user.viewer.layers.selection.active is user.document.editable)
    # also when its layers were removed; and another image of the folder is of the folder
    user.panel.workbench.choose_image("other")
    user.viewer.layers.remove("img_10")
    user.press("back_to_folder")
    user.until(lambda: user.session.image == "img_10")
    user.panel.workbench.opening.open(folder / "img_11.tif")
    assert strip(user) == "3/3 img_11.tif"
    user.press("previous_image")
    user.until(lambda: strip(user) == "2/3 img_10.tif")

"""Nothing is lost: what was corrected comes back with the image, whatever happens to layers, windows and files."""

import re

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import QUrl

from napari_unet.correction import recent
from napari_unet.gui.session import SizeFrom


@pytest.fixture
def image_file(tmp_path, discs):
    path = tmp_path / "images" / "cells.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, discs())
    return path


def open_file(user, path):
    """Open an image as the File menu does."""
    (layer,) = user.viewer.open(path, plugin="napari")
    user.until(lambda: user.session.image == layer.name)
    return layer


def correct(user):
    """Segment, confirm one object, delete another."""
    user.segment()
    user.use_tool("confirm")
    user.click((12, 12))
    user.use_tool("delete")
    user.click((50, 48))


def wait_for_the_disk(user):
    assert user.document.store.wait(10)


def test_corrections_come_back_with_the_image(start, image_file):
    user = start()
    layer = open_file(user, image_file)
    user.panel.workbench.sizing.choose(13.0)
    correct(user)
    labels, status = user.labels, user.status
    wait_for_the_disk(user)
    assert (image_file.parent / "napari-unet" / "cells nucleus.zarr").is_dir()
    user.until(lambda: user.panel.saving.text().startswith("Saved"))
    assert "napari-unet" in user.panel.saving.text()
    user.viewer.layers.remove(layer)
    user.until(lambda: user.session.image == "")
    user.viewer.layers.clear()
    user.session.object_size, user.session.size_from = 0.0, SizeFrom.NOWHERE  # as in a new window

    open_file(user, image_file)
    user.until(lambda: user.session.checked == 1)
    assert (user.session.object_size, user.session.size_from) == (13.0, SizeFrom.USER)
    assert user.says.startswith("Your corrections are back")
    np.testing.assert_array_equal(user.labels, labels)
    np.testing.assert_array_equal(user.status, status)
    # the undo stack is there too
    user.undo()
    assert user.labels[50, 48] > 0
    user.redo()
    np.testing.assert_array_equal(user.labels, labels)
    # a new object gets a number that none has had
    user.use_tool("draw")
    user.document.editable.brush_size = 3
    user.stroke(np.array([(50.0, 48.0), (50.0, 50.0)]))
    assert user.labels[50, 48] > labels.max()


def test_an_image_without_a_file_has_its_corrections_too(start, discs):
    user = start(discs())
    correct(user)
    labels = user.labels
    wait_for_the_disk(user)
    user.viewer.layers.clear()
    user.viewer.add_image(discs(), name="img")
    user.until(lambda: user.session.checked == 1)
    np.testing.assert_array_equal(user.labels, labels)
    assert recent()[0].checked == 1


def test_a_long_name_fits_into_the_panel(start, tmp_path, discs):
    path = tmp_path / ("20261123_exp042_plate7_well_C05_field_0012_DAPI_" * 3 + "10x.tif")
    tifffile.imwrite(path, discs())
    first = start()
    open_file(first, path)
    first.segment()
    wait_for_the_disk(first)
    assert first.panel.width() < 400
    first.viewer.window.remove_dock_widget(first.panel)
    first.pause()

    second = start()
    line = second.button("continue")
    second.until(line.isVisible)
    name, when = line.text().split("\n")
    assert name.startswith("Continue 2026")
    assert name.endswith("10x")
    assert when.endswith("0 checked)")
    assert max(line.fontMetrics().horizontalAdvance(one) for one in (name, when)) < line.width()
    assert line.height() > 2 * line.fontMetrics().height()
    second.press("continue")
    second.until(lambda: second.session.segmented)
    assert second.panel.width() < 400


def linked_folder(text):
    """Return the folder that a line of the panel links to, and what the line says."""
    href = re.search('href="([^"]*)"', text)
    return QUrl(href[1]).toLocalFile() if href else None, re.sub("<[^>]*>", "", text)


def test_the_foot_of_the_panel_tells_where_corrections_are(start, discs, image_file, user_folder):
    user = start(discs())
    foot = user.panel.saving
    assert not foot.isVisible(), "there is nothing to keep yet"
    user.press("tool_draw")
    # an image without a file: nobody would find the folder without being told, so it is said before anything is saved
    user.until(foot.isVisible)
    folder = str(user_folder / "stores")
    assert linked_folder(foot.text()) == (folder, "Corrections are kept in your data folder")
    user.document.editable.brush_size = 3
    user.stroke(np.array([(30.0, 6.0), (33.0, 7.0)]))
    user.until(lambda: linked_folder(foot.text()) == (folder, "Saved just now in your data folder"))
    assert folder in foot.toolTip()
    assert user.document.store.path.parent == user_folder / "stores"
    # one that has a file: beside it
    user.viewer.open(image_file, plugin="napari")
    user.choose("image", "cells")
    user.until(lambda: not foot.isVisible())
    user.segment()
    beside = str(image_file.parent / "napari-unet")
    user.until(lambda: linked_folder(foot.text()) == (beside, "Saved just now in napari-unet"))


def test_deleted_labels_can_be_restored(user):
    correct(user)
    labels = user.labels
    restore = user.button("restore")
    assert not restore.isVisible()
    user.viewer.layers.remove("img labels")
    user.until(lambda: [layer.name for layer in user.viewer.layers] == ["img"])
    assert restore.isVisible()
    user.press("restore")
    np.testing.assert_array_equal(user.labels, labels)
    assert user.session.checked == 1
    assert not restore.isVisible()
    # deleted again, and begun anew: undo still knows the way back
    user.viewer.layers.remove("img labels")
    user.segment()
    assert user.session.checked == 0
    assert len(np.unique(user.labels)) == 6
    assert not restore.isVisible()
    user.undo()
    assert not user.labels.any()
    user.undo()
    np.testing.assert_array_equal(user.labels, labels)


def layers_of(user):
    return [layer.name for layer in user.viewer.layers]


def test_labels_go_with_their_image_and_come_back_with_it(start, image_file, discs):
    user = start(discs(), name="other")
    correct(user)
    others = {layer.name: (layer.data.copy(), layer.visible) for layer in user.viewer.layers}
    layer = open_file(user, image_file)
    user.choose("image", "cells")
    correct(user)
    labels = user.labels
    user.viewer.layers.remove(layer)
    user.until(lambda: user.says == "cells was removed. Its labels are kept: open it again.")
    user.until(lambda: len(layers_of(user)) == 3)
    assert layers_of(user) == list(others) == ["other", "other labels", "other checked"]
    for one in user.viewer.layers:
        np.testing.assert_array_equal(one.data, others[one.name][0])
    assert user.session.image == "other"
    assert user.session.checked == 1
    # the last image
    user.viewer.layers.remove("other")
    user.until(lambda: user.says == "other was removed. Its labels are kept: open it again.")
    user.until(lambda: not layers_of(user))
    open_file(user, image_file)
    user.until(lambda: user.session.checked == 1)
    np.testing.assert_array_equal(user.labels, labels)
    user.viewer.layers.remove("cells")
    user.until(lambda: user.says == "cells was removed. Its labels are kept: open it again or press Continue.")
    user.until(lambda: user.button("continue").isVisible())
    assert user.button("continue").text().startswith("Continue cells")
    assert "1 checked" in user.button("continue").text()
    user.press("continue")
    user.until(lambda: user.session.checked == 1)
    np.testing.assert_array_equal(user.labels, labels)


@pytest.mark.parametrize("names", [["img", "img labels"], ["img labels", "img"], ["img", "img labels", "img checked"]])
def test_an_image_can_be_removed_together_with_its_labels(user, discs, names):
    correct(user)
    labels = user.labels
    user.viewer.layers.selection = {user.viewer.layers[name] for name in names}
    user.viewer.layers.remove_selected()
    user.until(lambda: not layers_of(user))
    user.until(lambda: user.says == "img was removed. Its labels are kept: open it again.")
    user.viewer.add_image(discs(), name="img", axis_labels=("y", "x"))
    user.until(lambda: user.session.checked == 1)
    np.testing.assert_array_equal(user.labels, labels)


def test_labels_that_could_not_be_saved_stay_when_their_image_goes(user, monkeypatch):
    correct(user)
    labels = user.labels
    monkeypatch.setattr(type(user.document.store), "close", lambda *_: False)
    user.viewer.layers.remove("img")
    user.until(lambda: "its labels are not saved: keep the layer 'img labels'" in user.says)
    assert user.session.problem
    user.until(lambda: layers_of(user) == ["img labels"])
    np.testing.assert_array_equal(user.viewer.layers["img labels"].data, labels)


@pytest.mark.parametrize("answer", ["take_over", "set_aside"])
def test_an_image_that_changed_on_disk_is_not_silently_matched(start, image_file, discs, answer):
    user = start()
    open_file(user, image_file)
    correct(user)
    labels = user.labels
    wait_for_the_disk(user)
    user.viewer.layers.clear()
    tifffile.imwrite(image_file, discs()[::-1])
    open_file(user, image_file)
    user.until(lambda: bool(user.session.question))
    assert "other pixels" in user.says
    assert user.panel.keeping.question.isVisible()
    user.press("segment")  # not before the choice
    assert len(user.viewer.layers) == 1
    user.press(answer)
    assert not user.panel.keeping.question.isVisible()
    expected = labels if answer == "take_over" else np.zeros_like(labels)
    np.testing.assert_array_equal(user.labels, expected)
    user.segment()


def test_a_second_window_is_told(start, discs):
    first = start(discs())
    correct(first)
    wait_for_the_disk(first)
    second = start(discs())
    second.until(lambda: "is open in" in second.says)
    assert not second.document.editable.editable
    second.until(lambda: "is open in" in second.panel.saving.text())
    np.testing.assert_array_equal(second.labels, first.labels)
    assert "press Train" not in second.says
    checked = second.session.checked
    for act in (lambda: second.press("complete"), lambda: second.press("tool_delete")):
        second.session.say("")
        act()
        assert "is open in" in second.says
    assert second.session.checked == checked


def test_a_disk_that_fails_is_told_until_saving_goes_on(user, monkeypatch):
    user.segment()
    wait_for_the_disk(user)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("napari_unet.correction.journal_files.append_durably", full)
        user.use_tool("confirm")
        user.click((12, 12))
        user.until(lambda: "No space left" in user.panel.saving.text())
        user.click((50, 48))  # work goes on
        assert user.session.checked == 2
    user.until(lambda: user.panel.saving.text().startswith("Saved"))
    wait_for_the_disk(user)


def test_painted_classes_come_back(start, discs, library, make_model, trainings):
    from napari_unet import save_model

    save_model(make_model("tissue", "semantic", ("gland", "stroma")), library / "tissue")
    user = start(discs())
    user.choose("model", "tissue")
    user.segment()
    user.press("tool_draw")
    user.choose("classes", "stroma")
    user.stroke(np.array([(24.0, 4.0), (24.0, 10.0)]))
    annotations = user.viewer.layers["img annotations"].data.copy()
    prediction = user.viewer.layers["img prediction"].data.copy()
    assert annotations[24, 6] == 3
    assert user.panel.workbench.document.store.wait(10)
    user.viewer.layers.clear()
    user.viewer.add_image(discs(), name="img")
    user.until(lambda: user.session.checked > 0)
    np.testing.assert_array_equal(user.viewer.layers["img annotations"].data, annotations)
    np.testing.assert_array_equal(
        user.viewer.layers["img prediction"].data[annotations == 0], prediction[annotations == 0]
    )
    user.undo()
    assert not user.viewer.layers["img annotations"].data.any()


def test_a_model_that_was_never_trained_comes_back_with_what_was_painted(start, image_file, discs):
    tifffile.imwrite(image_file, np.stack([discs(), discs() // 2, discs() // 3], -1).astype(np.uint8))
    first = start()
    open_file(first, image_file)
    first.choose("model", "New model...")
    first.write("new_name", "tissue")
    first.choose("new_task", "classes")
    first.write("new_classes", "gland, stroma")
    first.press("create")
    spec = first.panel.workbench.spec
    first.look_at(slice(0, 64), slice(0, 64))
    first.choose("classes", "stroma")
    first.stroke(np.array([(24.0, 4.0), (24.0, 10.0)]))
    painted = first.session.checked
    assert painted > 0
    assert first.panel.workbench.document.store.wait(10)
    first.viewer.window.remove_dock_widget(first.panel)
    first.pause()

    second = start()
    second.until(second.button("continue").isVisible)
    second.press("continue")
    second.until(lambda: second.session.checked == painted)
    assert second.session.model == second.combo("model").currentText() == "tissue"
    assert second.panel.workbench.model is None
    assert second.panel.workbench.spec == spec
    assert second.viewer.layers["cells annotations"].data[24, 6] == 3

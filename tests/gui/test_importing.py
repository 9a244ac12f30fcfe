"""Labels of other programs: offered, asked about inline, taken over as one step."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QFileDialog, QLabel

from napari_unet.images import write_rois


@pytest.fixture
def masks(discs):
    """Labels of the five discs, as another program numbers them."""
    from scipy import ndimage as ndi

    return ndi.label(discs() > 600)[0].astype(np.uint16) * 3


def text(user, name):
    return user.panel.findChild(QLabel, name).text()


def is_asked(user):
    user.until(lambda: user.button("import_truth").isVisible())


def choose_from_menu(user, start_of_text):
    user.press("import_labels")
    actions = {action.text(): action for action in user.panel.imports.menu.actions()}
    next(action for text, action in actions.items() if text.startswith(start_of_text)).trigger()
    user.panel.imports.menu.close()


@pytest.mark.parametrize("answer", ["import_to_check", "import_truth"])
def test_a_layer_of_another_program_is_offered_and_taken_over(user, masks, answer):
    layer = user.viewer.add_labels(masks, name="cellpose")
    user.until(lambda: user.button("use_offer").isVisible())
    assert user.button("use_offer").text() == "Use this layer"
    assert "'cellpose' is a labels layer of its own" in text(user, "offer")
    user.press("use_offer")
    is_asked(user)
    assert "5 objects in 'cellpose'." in text(user, "import_question")
    user.press(answer)
    np.testing.assert_array_equal(user.labels, masks)
    assert (user.status == (answer == "import_truth")).all()
    assert user.session.checked == (5 if answer == "import_truth" else 0)
    assert user.session.segmented
    assert user.session.so_far == ""
    assert not layer.visible, "nobody paints in the wrong one"
    assert user.viewer.layers.selection.active is user.document.editable
    assert not user.button("use_offer").isVisible()
    assert not user.button("import_truth").isVisible()
    user.undo()
    assert not user.labels.any()
    assert not user.status.any()
    user.redo()
    np.testing.assert_array_equal(user.labels, masks)


def test_what_is_checked_stays_when_labels_are_to_be_checked(user, masks):
    user.segment()
    user.use_tool("delete")
    user.click((12, 12))
    user.viewer.add_labels(masks, name="StarDist")
    user.until(lambda: user.button("use_offer").isVisible())
    user.press("use_offer")
    is_asked(user)
    user.press("import_to_check")
    assert not user.labels[6:18, 6:18].any()
    assert len(np.unique(user.labels)) == 5
    user.undo()
    assert not user.labels[6:18, 6:18].any(), "the deletion is a step of its own"


def test_an_offer_can_be_declined_until_somebody_paints_there(user, masks):
    layer = user.viewer.add_labels(masks, name="mine")
    user.until(lambda: user.button("use_offer").isVisible())
    user.press("decline_offer")
    assert not user.button("use_offer").isVisible()
    user.viewer.layers.selection.active = layer
    layer.mode = "paint"
    user.stroke(np.array([(30, 5), (34, 8)]))
    assert "Strokes in 'mine' are not learned" in user.says
    assert user.button("use_offer").isVisible()
    user.press("use_offer")
    is_asked(user)
    user.press("import_cancel")
    assert user.panel.workbench.document is None
    assert not user.button("import_truth").isVisible()


def test_layers_that_do_not_fit_or_are_hidden_are_not_offered_and_what_is_wrong_is_said(user, masks):
    user.viewer.add_labels(masks[:40], name="other")
    user.viewer.add_labels(masks, name="truth", visible=False)
    user.pause()
    assert not user.button("use_offer").isVisible()
    choose_from_menu(user, "Layer other")
    user.until(lambda: "does not fit the image" in user.says)
    assert "it is 40 x 64, and the image needs 64 x 64" in user.says
    assert user.session.problem
    assert user.panel.workbench.document is None


@pytest.mark.parametrize("ending", [".tif", "_rois.zip"])
def test_a_file_beside_the_image_is_offered(start, tmp_path, discs, masks, ending, monkeypatch):
    home = tmp_path / "images"
    home.mkdir()
    tifffile.imwrite(home / "cells.tif", discs(), metadata={"axes": "YX"})
    name = f"cells_masks{ending}" if ending == ".tif" else f"cells{ending}"
    tifffile.imwrite(home / name, masks) if ending == ".tif" else write_rois(home / name, masks, "YX")
    user = start()
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(home / "cells.tif")], ""))
    user.press("open_image")
    user.until(lambda: user.button("use_offer").isVisible())
    assert text(user, "offer") == f"There are labels for this image: {name}."
    user.press("use_offer")
    is_asked(user)
    user.press("import_truth")
    np.testing.assert_array_equal(user.labels, masks)
    # another day it is not offered again
    user.viewer.window.remove_dock_widget(user.panel)
    user.pause()
    second = start()
    second.press("continue")
    second.until(lambda: second.session.checked == 5)
    assert not second.button("use_offer").isVisible()


def test_a_file_from_anywhere(user, tmp_path, masks, monkeypatch):
    tifffile.imwrite(tmp_path / "from_fiji.tif", np.where(masks > 0, 255, 0).astype(np.uint8))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "from_fiji.tif"), ""))
    choose_from_menu(user, "From a file")
    is_asked(user)
    assert "It is a mask: its 5 separate pieces become objects." in text(user, "import_question")
    user.press("import_to_check")
    assert len(np.unique(user.labels)) == 6
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    choose_from_menu(user, "From a file")
    assert not user.button("import_truth").isVisible()


def test_classes_can_be_imported_too(start, library, make_model, masks, discs):
    from napari_unet import save_model

    save_model(make_model("tissue", "semantic", ("cell", "debris")), library / "tissue")
    user = start(discs())
    user.choose("model", "tissue")
    user.viewer.add_labels((masks > 0).astype(np.uint8), name="mask")
    user.until(lambda: user.button("use_offer").isVisible())
    user.press("use_offer")
    is_asked(user)
    user.press("import_truth")
    np.testing.assert_array_equal(user.labels, masks > 0)
    assert user.session.checked == masks.size
    user.undo()
    assert user.session.checked == 0


def test_the_labels_of_a_folder_come_all_at_once(start, tmp_path, discs, masks, monkeypatch):
    home = tmp_path / "images"
    (home / "masks").mkdir(parents=True)
    for number in range(1, 5):
        tifffile.imwrite(home / f"img_{number}.tif", discs(), metadata={"axes": "YX"})
    for number in (1, 2, 3):
        tifffile.imwrite(home / "masks" / f"img_{number}.tif", masks if number < 3 else masks[:9])
    user = start()
    user.panel.workbench.projects.open_folder(home)
    user.until(lambda: user.button("use_offer").isVisible())
    assert text(user, "offer") == "3 of 4 images have labels of another program, such as img_1.tif."
    user.press("use_offer")
    is_asked(user)
    user.press("import_truth")
    user.until(lambda: "taken over" in user.says and not user.panel.workbench.importing.is_busy)
    assert "Labels of 2 of 3 images taken over, checked." in user.says
    assert "img_3.tif does not fit the image" in user.says
    np.testing.assert_array_equal(user.labels, masks)
    assert user.session.checked == 5
    user.press("next_image")
    user.until(lambda: user.session.image == "img_2" and user.session.checked == 5)
    np.testing.assert_array_equal(user.labels, masks)
    user.undo()  # what was written in parts is taken back in the background
    user.until(lambda: "Taken back" in user.says)
    assert not user.labels.any()
    assert user.panel.workbench.projects.project.entries()[0].checked == 5


def test_what_became_of_the_labels_of_a_folder_is_told(start, tmp_path, discs, masks, monkeypatch):
    home, elsewhere = tmp_path / "images", tmp_path / "fiji"
    home.mkdir()
    elsewhere.mkdir()
    for number in range(1, 6):
        tifffile.imwrite(home / f"img_{number}.tif", discs(), metadata={"axes": "YX"})
    user = start()
    user.panel.workbench.projects.open_folder(home)
    importing = user.panel.workbench.importing
    importing.choose_folder(elsewhere)
    assert user.says.startswith(f"No labels in {elsewhere}.")
    assert "names" in user.says
    assert user.session.problem
    assert not user.session.import_question
    # the first is worked on, two do not fit, one is good, and one has none
    user.segment()
    user.press("tool_confirm")
    user.click((12, 12))
    before = user.labels
    for number, rows in ((1, 64), (2, 9), (3, 64), (4, 9)):
        tifffile.imwrite(elsewhere / f"img_{number}.tif", masks[:rows])
    said = []
    user.session.events.message.connect(said.append)
    importing.choose_folder(elsewhere)
    assert "4 of 5 images" in text(user, "import_question")
    user.press("import_to_check")
    user.until(lambda: "taken over" in user.says)
    assert said[0] == "Importing labels of 4 images..."
    assert any(one.startswith("Importing labels: 2 of 4 images") for one in said)
    assert user.says == (
        "Labels of 1 of 4 images taken over, to be checked. 1 had been worked on and keep theirs. "
        "img_2.tif does not fit the image: it is 9 x 64, and the image needs 64 x 64 (YX). "
        "Choose labels that were made on this image. And 1 more like this."
    )
    assert user.session.problem
    np.testing.assert_array_equal(user.labels, before)
    assert user.session.checked == 1

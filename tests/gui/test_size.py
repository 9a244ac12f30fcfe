"""The object size: measured in the image, taken from what is checked; and the models side by side."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QSpinBox, QWidget

from napari_unet import save_model
from napari_unet.models import Model


@pytest.fixture
def library(user_folder, make_model):
    """The library, with a model that knows how large its objects are, and another."""
    folder = user_folder / "models"
    known = make_model()
    save_model(Model(known.network, known.spec.model_copy(update={"object_diameter_px": 13.0})), folder / "nuclei")
    save_model(make_model("tissue", task="semantic", classes=("bright",)), folder / "tissue")
    return folder


def size_of(user):
    return user.panel.findChild(QSpinBox, "object_size").value()


def temporary(user):
    return [layer.name for layer in user.viewer.layers if layer.name.startswith(("drag", "try"))]


def test_a_drag_across_an_object_is_its_size(start, discs):
    user = start(discs(), scale=(2.0, 2.0), translate=(30, 40), zoom=False)
    user.segment()
    user.viewer.layers["img"].translate = (0, 0)
    user.look_at(slice(0, 64), slice(0, 64))
    user.press("measure")
    assert user.button("measure").isChecked()
    assert "Drag across" in user.says
    assert user.viewer.layers.selection.active.mode == "add_line"
    # a click is no line
    user.click((12, 12))
    assert user.session.measuring
    assert user.session.object_size == 0
    user.stroke(np.linspace((12, 4), (12, 21), 4))
    assert not user.session.measuring
    assert not user.button("measure").isChecked()
    assert size_of(user) == user.session.object_size == pytest.approx(17, abs=1), (
        "pixels of the image, not of the world"
    )
    assert "px, as measured" in user.says
    user.until(lambda: temporary(user) == [])
    assert user.viewer.layers.selection.active == user.document.editable
    # it counts for the next segmentation: the model sees the image smaller
    assert user.panel.workbench.choosing.predict_config().object_diameter_px == user.session.object_size


def test_measuring_is_ended_by_escape_a_second_press_and_by_what_happens_else(user, discs):
    user.press("measure")
    user.keys(Qt.Key.Key_Escape)
    assert not user.session.measuring
    user.until(lambda: temporary(user) == [])
    user.press("measure")
    user.press("measure")
    assert not user.session.measuring
    user.until(lambda: temporary(user) == [])
    # the line is deleted in the layer list, or another image is chosen
    user.press("measure")
    user.viewer.layers.remove_selected()
    assert not user.session.measuring
    user.press("measure")
    user.viewer.add_image(discs(), name="other")
    assert user.session.image == "other"
    assert not user.session.measuring
    user.until(lambda: temporary(user) == [])
    assert size_of(user) == 0


def test_the_size_of_what_is_checked(user):
    user.segment()
    take = user.button("size_from_checked")
    assert not take.isVisible()
    user.until(user.button("complete").isEnabled)
    user.pause()
    places = {
        one: one.mapTo(user.panel, QPoint(0, 0)) for one in map(user.button, ("segment", "tool_draw", "complete"))
    }
    user.press("complete")
    user.until(take.isVisible)
    user.pause()
    assert {one: one.mapTo(user.panel, QPoint(0, 0)) for one in places} == places, "a click would hit another button"
    assert "5 checked" in take.text()
    user.press("size_from_checked")
    assert size_of(user) == 12  # discs of 113 pixels
    assert "of 5 checked objects" in user.says


def large_discs():
    rows, columns = np.indices((192, 192))
    bright = sum((rows - y) ** 2 + (columns - x) ** 2 <= 24**2 for y, x in ((40, 40), (40, 130), (110, 90), (150, 30)))
    return (100 + 1000 * bright + np.random.default_rng(0).normal(0, 10, bright.shape)).clip(0).astype(np.uint16)


def test_segment_finds_the_size_of_objects_that_the_model_does_not_know(start):
    user = start(large_discs())
    spin = user.panel.findChild(QSpinBox, "object_size")
    assert spin.text() == "automatic"
    user.segment()
    assert size_of(user) == user.session.object_size == pytest.approx(48, abs=3)
    assert "4 objects. They are about" in user.says
    assert "saw the image at" in user.says
    # it is a setting as any other: the user may let the image be as it is, and keeps it for what comes
    spin.setValue(0)
    assert spin.text() == "as it is"
    user.segment()
    assert size_of(user) == 0
    assert "px wide" not in user.says


def test_a_size_that_was_found_is_not_for_other_images_and_models(start, discs):
    user = start(large_discs())
    user.segment()
    assert size_of(user) > 40
    user.viewer.add_image(discs(), name="small")
    user.panel.workbench.choose_image("small")
    assert size_of(user) == 0
    user.segment()
    assert size_of(user) == 0
    assert user.panel.findChild(QSpinBox, "object_size").text() == "as it is", "they are as large as it knows them"
    user.panel.workbench.choosing.choose("tissue")
    user.panel.workbench.choosing.choose("nuclei")
    assert user.panel.findChild(QSpinBox, "object_size").text() == "automatic"
    user.panel.workbench.choose_image("img")
    user.panel.findChild(QSpinBox, "object_size").setValue(50)
    user.panel.workbench.choose_image("small")
    assert size_of(user) == 50, "what the user says stays"


def test_a_training_rescales_to_the_size_of_what_is_checked(start, discs, trainings):
    image = np.kron(discs(), np.ones((2, 2), np.uint16))
    user = start(image)
    user.segment()
    size = size_of(user)
    user.until(user.button("complete").isEnabled)
    user.press("complete")
    user.train()
    assert user.panel.workbench.object_size == pytest.approx(24, abs=1)
    assert size_of(user) == 24
    assert size in (0, 24)
    user.press("use_new")
    user.until(lambda: user.idle)
    assert size_of(user) == 24, "the new model goes on with it"
    assert user.panel.workbench.spec.object_diameter_px == 13


def test_nothing_found_asks_for_the_object_size(start):
    rng = np.random.default_rng(0)
    user = start(rng.normal(100, 1, (64, 64)).astype(np.float32))
    model = user.panel.workbench.model
    high = model.spec.model_copy(update={"decoder": model.spec.decoder.model_copy(update={"min_size": 10**6})})
    user.panel.workbench.choosing.use(Model(model.network, high), "nuclei")
    user.press("segment")
    user.until(lambda: user.idle)
    assert user.says == "No objects. Check the object size, or press Try models."
    assert user.session.problem


def test_the_models_side_by_side(user):
    user.press("try_models")
    user.until(lambda: user.session.trials)
    user.until(lambda: user.idle)
    found = {trial.model: trial.found for trial in user.session.trials}
    assert found["nuclei"] == "5 objects"
    assert found["tissue"] == "1 class"
    layer = user.viewer.layers["try nuclei"]
    assert len(np.unique(layer.data)) == 6
    assert user.panel.workbench.document is None, "trying makes no labels"
    box = user.panel.findChild(QWidget, "trials")
    assert box.isVisible()
    assert user.session.image == "img"
    # chosen by a click: it is in use, the outlines go
    user.press("trial_tissue")
    assert user.session.model == user.combo("model").currentText() == "tissue"
    assert not box.isVisible()
    user.until(lambda: temporary(user) == [])
    # or none of them
    user.press("try_models")
    user.until(lambda: user.session.trials and user.idle)
    QTest.mouseClick(user.button("try_models"), Qt.MouseButton.LeftButton)
    assert not user.session.trials
    assert user.session.model == "tissue"
    user.until(lambda: temporary(user) == [])
    QApplication.processEvents()
    assert not [one for one in user.panel.findChildren(QPushButton) if one.objectName().startswith("trial_")]

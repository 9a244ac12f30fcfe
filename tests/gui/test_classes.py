"""Classes: annotations are painted over a prediction; just what is painted is learned from."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet import load_model, save_model
from napari_unet.gui import learning


@pytest.fixture
def painter(start, discs, library, make_model, trainings):
    """A user with a model of three classes: background, gland (bright) and stroma."""
    save_model(make_model("tissue", "semantic", ("gland", "stroma")), library / "tissue")
    user = start(discs())
    user.choose("model", "tissue")
    return user


def annotations(user):
    return user.viewer.layers["img annotations"]


def paint(user, name, path):
    user.choose("classes", name)
    annotations(user).brush_size = 3
    user.stroke(np.array(path, float))


def test_a_class_and_objects_of_one_name_are_kept_apart(start, discs, library, make_model):
    save_model(make_model("pixels", "semantic", ("nucleus",)), library / "pixels")
    user = start(discs())
    user.segment()
    user.use_tool("confirm")
    user.click((12, 12))
    objects = user.labels
    user.choose("model", "pixels")
    user.press("tool_draw")
    user.choose("classes", "nucleus")
    user.stroke(np.array([(20, 4), (20, 16)], float))
    store = user.panel.workbench.document.store
    assert store is not None
    assert not store.read_only
    painted = user.session.checked
    assert painted > 10
    user.choose("model", "nuclei")
    assert user.session.checked == 1
    assert all(one.store.wait(10) for one in user.panel.workbench.documents)
    user.viewer.layers.clear()
    user.viewer.add_image(discs(), name="img")
    user.until(lambda: user.session.checked == 1)
    np.testing.assert_array_equal(user.labels, objects)
    user.choose("model", "pixels")
    user.until(lambda: user.session.checked == painted)


def test_painting_on_top_of_the_prediction(painter):
    user = painter
    user.segment()
    prediction = user.viewer.layers["img prediction"]
    assert user.viewer.layers.index(prediction) < user.viewer.layers.index(annotations(user))
    assert user.viewer.layers.selection.active == annotations(user)
    assert not prediction.editable
    np.testing.assert_array_equal(prediction.data, user.viewer.layers["img"].data > 600)
    assert not annotations(user).data.any()
    assert user.session.checked == 0
    user.press("tool_draw")
    assert annotations(user).mode == "paint"
    assert user.offers("classes") == ["background", "gland", "stroma", "Add class..."]
    for number, name in enumerate(("background", "gland", "stroma"), start=1):
        row = 20 + 4 * number
        paint(user, name, [(row, 4), (row, 10), (row, 16)])
        assert annotations(user).data[row, 10] == number
        assert user.labels[row, 10] == number - 1
    painted = annotations(user).data.copy()
    assert user.session.checked == np.count_nonzero(painted)
    assert user.panel.correct.counts.text() == f"{user.session.checked} pixels painted"
    # a stroke may run over the prediction and over another class: the last one counts
    paint(user, "stroma", [(12, 4), (12, 10), (12, 20)])
    assert user.labels[12, 12] == 2
    assert prediction.data[12, 12] == 1
    # the eraser forgets
    user.press("tool_background")
    annotations(user).brush_size = 5
    user.stroke(np.array([(12, 4), (12, 10), (12, 20)], float))
    np.testing.assert_array_equal(annotations(user).data, painted)
    assert user.labels[12, 12] == 1
    assert user.session.checked == np.count_nonzero(painted)
    # a closed outline is a line, as one expects of a class
    user.segment()
    np.testing.assert_array_equal(annotations(user).data, painted)


def test_undo_and_the_count(painter):
    user = painter
    user.press("tool_draw")
    paint(user, "gland", [(24, 4), (24, 10)])
    once = annotations(user).data.copy()
    annotations(user).mode = "polygon"
    for corner in [(20, 46), (20, 60), (34, 60), (34, 46)]:
        user.click(corner)
    user.keys(Qt.Key.Key_Return)
    twice = annotations(user).data.copy()
    assert twice[27, 53] == 2
    for take_back, make_again in [
        (user.undo, user.redo),
        (lambda: user.press("undo"), lambda: user.press("redo")),
    ]:
        user.until(lambda: user.session.checked == np.count_nonzero(twice), 5)
        take_back()
        np.testing.assert_array_equal(annotations(user).data, once)
        assert user.session.checked == np.count_nonzero(once)
        take_back()
        assert not annotations(user).data.any()
        assert user.session.checked == 0
        make_again()
        make_again()
        np.testing.assert_array_equal(annotations(user).data, twice)


def test_training_on_strokes(painter, trainings, library, monkeypatch):
    user, asked = painter, []
    core = learning.iter_fine_tune

    def spy(model, samples, config, **others):
        asked.extend(samples)
        return core(model, samples, config, **others)

    monkeypatch.setattr(learning, "iter_fine_tune", spy)
    user.segment()
    user.press("train")
    assert "Nothing is checked" in user.says
    assert "class" in user.says
    user.press("tool_draw")
    paint(user, "gland", [(12, 10), (12, 14)])
    user.press("train")
    assert "two classes" in user.says
    assert user.idle
    paint(user, "background", [(24, 4), (24, 16)])
    paint(user, "stroma", [(60, 24), (60, 36)])
    assert user.button("train").text() == "Train on what is painted"
    painted = annotations(user).data.copy()
    user.train()
    (sample,) = asked
    np.testing.assert_array_equal(sample.status == 1, painted > 0)
    np.testing.assert_array_equal(sample.labels[painted > 0], painted[painted > 0] - 1)
    assert user.viewer.layers["preview of the new model"].data.shape == (64, 64)
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.session.model == user.combo("model").currentText() == "tissue-2"
    assert load_model("tissue-2").spec.task == "semantic"
    np.testing.assert_array_equal(annotations(user).data, painted)
    assert user.viewer.layers["img prediction"].data.any()


def test_objects_and_classes_of_one_image_do_not_mix(painter):
    user = painter
    user.press("tool_draw")
    paint(user, "gland", [(24, 4), (24, 16)])
    painted = annotations(user).data.copy()
    user.choose("model", "nuclei")
    assert user.session.checked == 0
    assert not user.session.segmented
    assert user.button("tool_delete").isVisible()
    assert not user.combo("classes").isVisible()
    user.segment()
    objects = user.labels
    assert objects.max() == 5
    np.testing.assert_array_equal(annotations(user).data, painted)
    user.press("tool_delete")
    user.click((32, 28))
    assert user.session.corrected == 1
    user.choose("model", "tissue")
    assert user.session.checked == np.count_nonzero(painted)
    assert user.session.tool == "none"
    user.choose("model", "nuclei")
    assert user.session.corrected == 1
    assert len(np.unique(user.labels)) == 5

"""A class that is added in the middle of the work: what is known and what is painted stays."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit

from napari_unet import load_model, save_model
from napari_unet.gui import learning


@pytest.fixture
def painter(start, discs, library, make_model, trainings):
    """A user with a model of two classes who has segmented and painted both of them."""
    save_model(make_model("tissue", "semantic", ("gland", "stroma")), library / "tissue")
    user = start(discs())
    user.choose("model", "tissue")
    user.segment()
    user.press("tool_draw")
    assert user.combo("classes").currentText() == "gland"
    paint(user, "background", 24)
    paint(user, "gland", 12)
    paint(user, "stroma", 60)
    return user


def annotations(user):
    return user.viewer.layers["img annotations"]


def paint(user, name, y):
    user.choose("classes", name)
    annotations(user).brush_size = 3
    user.stroke(np.array([(y, 4), (y, 10), (y, 16)], float))


def add_class(user, name, color=None):
    user.choose("classes", "Add class...")
    user.write("class_name", name)
    if color is not None:
        user.choose("class_color", color)
    user.press("add_class")


def color_of(layer, label):
    return np.round(255 * np.asarray(layer.colormap.map(label))[:3]).astype(int).tolist()


def test_a_class_is_added_painted_and_learned(painter, library, monkeypatch):
    user, asked = painter, []
    core = learning.iter_fine_tune

    def spy(model, samples, config, **others):
        asked.append((model, samples))
        return core(model, samples, config, **others)

    monkeypatch.setattr(learning, "iter_fine_tune", spy)
    painted, labels = annotations(user).data.copy(), user.labels
    assert not user.button("add_class").isVisible()
    add_class(user, "debris", "green")
    assert not user.button("add_class").isVisible()
    assert user.offers("classes") == ["background", "gland", "stroma", "debris", "Add class..."]
    assert user.combo("classes").currentText() == "debris"
    assert user.session.tool == "draw"
    assert "'debris'" in user.says
    # what is painted and what was found stays; the model answers as before
    np.testing.assert_array_equal(annotations(user).data, painted)
    np.testing.assert_array_equal(user.labels, labels)
    prediction = user.viewer.layers["img prediction"]
    before = prediction.data.copy()
    user.segment()
    np.testing.assert_array_equal(prediction.data, before)
    # the colours follow, in both layers
    for number, color in ((2, [255, 204, 0]), (4, [48, 209, 88])):
        assert color_of(annotations(user), number) == color
        assert color_of(prediction, number - 1) == color
    paint(user, "debris", 40)
    assert annotations(user).data[40, 10] == 4
    assert user.labels[40, 10] == 3
    painted = annotations(user).data.copy()
    for name in ("tissue-2", "tissue-3"):
        user.train()
        base, samples = asked.pop()
        assert (base.spec.name, len(base.spec.maps)) == ("tissue", 4), "from the base again, which knows the new class"
        assert set(np.unique(samples[0].labels[samples[0].status == 1])) == {0, 1, 2, 3}
        user.press("use_new")
        user.until(lambda: user.idle)
        assert user.session.model == name
        assert [one.name for one in load_model(name).spec.classes] == ["gland", "stroma", "debris"]
        np.testing.assert_array_equal(annotations(user).data, painted)
    # the old model meets strokes of a class that it does not know
    user.choose("model", "tissue")
    assert user.offers("classes")[-2] == "debris"
    np.testing.assert_array_equal(annotations(user).data, painted)
    user.train()
    assert len(asked.pop()[0].spec.maps) == 4
    user.press("keep_old")


def test_names_that_cannot_be(painter):
    user = painter
    for name, why in (("", "name"), ("Gland", "already"), ("background", "already"), ("a, b", "comma")):
        add_class(user, name)
        assert why in user.says
        assert user.session.problem
        assert len(user.session.classes) == 2
        assert user.button("add_class").isVisible()
    # another choice instead, and Enter instead of Add
    user.choose("classes", "stroma")
    assert not user.button("add_class").isVisible()
    user.choose("classes", "Add class...")
    user.write("class_name", "vessel")
    QTest.keyClick(user.panel.findChild(QLineEdit, "class_name"), Qt.Key.Key_Return)
    assert user.session.classes == ("gland", "stroma", "vessel")
    # a model of objects has none to add
    user.choose("model", "nuclei")
    assert not user.combo("classes").isVisible()
    assert user.session.classes == ()


def test_while_it_trains_and_across_sessions(painter, trainings, discs):
    user = painter
    trainings.steps = 10**6
    user.press("train")
    user.until(lambda: len(user.panel.train.curve._steps) >= 3)
    add_class(user, "debris", "pink")
    paint(user, "debris", 40)
    painted = annotations(user).data.copy()
    user.press("stop")
    user.until(lambda: user.session.has_preview and user.idle)
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.session.classes == ("gland", "stroma", "debris")
    assert color_of(annotations(user), 4) == [255, 111, 174]
    # not trained yet; the window closes, and a model comes that never heard of it
    assert user.panel.workbench.document.store.wait(10)
    user.viewer.layers.clear()
    user.choose("model", "nuclei")
    user.viewer.add_image(discs(), name="img")
    user.choose("model", "tissue")
    user.until(lambda: user.session.checked > 0)
    assert user.session.classes == ("gland", "stroma", "debris")
    np.testing.assert_array_equal(annotations(user).data, painted)
    assert color_of(annotations(user), 4) == [255, 111, 174]


def test_a_model_that_is_not_trained_yet(user, trainings):
    user.choose("model", "New model...")
    user.write("new_name", "parts")
    user.choose("new_task", "classes")
    user.press("create")
    add_class(user, "third")
    for name, y in (("background", 24), ("class A", 12), ("class B", 50), ("third", 40)):
        paint(user, name, y)
    user.train()
    user.press("use_new")
    user.until(lambda: user.idle)
    assert [one.name for one in load_model("parts").spec.classes] == ["class A", "class B", "third"]
    assert len({one.color for one in load_model("parts").spec.classes}) == 3

"""Every new model can be taken back, with the labels of before."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_unet.correction import list_versions
from napari_unet.errors import StoreError
from napari_unet.gui import versions


@pytest.fixture
def teacher(user, contrary):
    """A user who has segmented, confirmed a disc, deleted another, and marked some background."""
    user.segment()
    user.teach()
    return user


def train_and_use(user):
    user.train()
    user.press("use_new")
    user.until(lambda: user.idle)
    unchecked = user.panel.workbench.document.status == 0
    assert not user.labels[unchecked].any()


def go_back(user):
    user.press("back")
    user.until(lambda: user.idle)


def partition(labels, where):
    """Return what two labellings of the same objects have in common, whatever their numbers."""
    _, first, inverse = np.unique(labels[where], return_index=True, return_inverse=True)
    return first[inverse] * (labels[where] > 0)


def test_one_click_takes_the_old_model_and_its_labels_back(teacher):
    user = teacher
    before, was_checked = user.labels, user.status == 1
    assert not user.button("back").isVisible()
    train_and_use(user)
    assert user.button("back").text() == "Back to nuclei"
    assert not user.button("versions").isVisible()
    # corrected since
    user.use_tool("draw")
    user.document.editable.brush_size = 3
    user.stroke(np.linspace((24, 4), (24, 16), 4))
    newer, checked = user.labels, user.status == 1
    assert checked.sum() > was_checked.sum()

    go_back(user)
    assert user.session.model == user.combo("model").currentText() == "nuclei"
    np.testing.assert_array_equal(user.labels[checked], newer[checked])
    np.testing.assert_array_equal(user.status == 1, checked)
    np.testing.assert_array_equal(partition(user.labels, ~checked), partition(before, ~checked))
    assert "checked stays" in user.says
    # one step, and the way forward is as short
    user.undo()
    np.testing.assert_array_equal(user.labels, newer)
    user.redo()
    assert user.button("back").text() == "Back to nuclei-2"
    go_back(user)
    assert user.session.model == "nuclei-2"
    np.testing.assert_array_equal(user.labels[checked], newer[checked])
    np.testing.assert_array_equal(partition(user.labels, ~checked), partition(newer, ~checked))


def test_versions_survive_and_each_can_be_chosen(teacher, discs):
    user = teacher
    first = user.labels
    train_and_use(user)
    train_and_use(user)
    assert user.session.model == "nuclei-3"
    store = user.document.store.path
    user.until(lambda: len(list_versions(store)) == 2)
    checked = user.status == 1
    user.viewer.layers.clear()
    assert not user.button("back").isVisible(), "no image, nothing to go back to"
    user.viewer.add_image(discs(), name="img")
    user.until(lambda: user.session.checked == 1)
    assert user.button("back").text() == "Back to nuclei-2"
    user.press("versions")
    menu = user.panel.train.menu
    texts = [action.text() for action in menu.actions()]
    assert [text.split(",")[0] for text in texts] == ["nuclei-2", "nuclei"]
    assert texts[1].endswith("1 checked")
    QTest.keyClick(menu, Qt.Key.Key_Down)
    QTest.keyClick(menu, Qt.Key.Key_Down)
    QTest.keyClick(menu, Qt.Key.Key_Return)
    user.until(lambda: user.session.model == "nuclei" and user.idle)
    np.testing.assert_array_equal(partition(user.labels, ~checked), partition(first, ~checked))


def test_without_a_disk_it_lasts_as_long_as_the_window(teacher, monkeypatch):
    def full(*_, **__):
        raise StoreError("No space left.")

    monkeypatch.setattr(versions, "keep_version", full)
    user = teacher
    before, unchecked = user.labels, user.status == 0
    train_and_use(user)
    go_back(user)
    assert user.session.model == "nuclei"
    np.testing.assert_array_equal(partition(user.labels, unchecked), partition(before, unchecked))


def test_a_model_that_is_gone_is_told(teacher, library):
    user = teacher
    train_and_use(user)
    train_and_use(user)
    (library / "nuclei-2.safetensors").unlink()
    labels = user.labels
    go_back(user)
    assert "There is no model 'nuclei-2'" in user.says
    assert user.session.problem
    assert user.session.model == "nuclei-3"
    np.testing.assert_array_equal(user.labels, labels)


def test_painted_classes_keep_the_prediction_below_them(start, discs, library, make_model, contrary):
    from napari_unet import save_model

    save_model(make_model("tissue", "semantic", ("gland", "stroma")), library / "tissue")
    user = start(discs())
    user.choose("model", "tissue")
    user.segment()
    prediction = user.viewer.layers["img prediction"]
    before = prediction.data.copy()
    user.press("tool_draw")
    user.choose("classes", "stroma")
    user.stroke(np.array([(12.0, 4.0), (12.0, 20.0)]))
    user.choose("classes", "background")
    user.stroke(np.array([(24.0, 4.0), (24.0, 20.0)]))
    painted = user.viewer.layers["img annotations"].data.copy()
    train_and_use(user)
    go_back(user)
    assert user.session.model == "tissue"
    np.testing.assert_array_equal(prediction.data, before)
    np.testing.assert_array_equal(user.viewer.layers["img annotations"].data, painted)

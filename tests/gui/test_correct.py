"""Click tools, complete areas, and undo and redo over everything."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_unet.gui.session import Tool

DISC = (32, 28)


def state(user):
    return user.labels, user.status, user.session.checked, user.session.corrected


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def corrector(user):
    user.segment()
    return user


def test_delete_and_object_is_right(corrector):
    user, before = corrector, corrector.labels
    number = before[DISC]
    user.press("tool_confirm")
    assert "click" in user.says.lower()
    user.click(DISC)
    np.testing.assert_array_equal(user.status == 1, before == number)
    np.testing.assert_array_equal(user.labels, before)
    assert (user.session.checked, user.session.corrected) == (1, 0)
    user.press("tool_delete")
    user.click(DISC)
    assert not (user.labels == number).any()
    np.testing.assert_array_equal(user.labels[before != number], before[before != number])
    np.testing.assert_array_equal(user.status == 1, before == number)
    assert (user.session.checked, user.session.corrected) == (0, 1)
    after = state(user)
    # beside every object, and beside the image
    user.click((22, 8))
    assert user.says.startswith("There is no object here")
    # another button is not a click, and another layer is not ours
    user.click((12, 12), button=Qt.MouseButton.MiddleButton)
    user.viewer.layers.selection.active = user.viewer.layers["img"]
    user.click((12, 12))
    assert_same(state(user), after)
    # the tool comes back to its layer, and is put away there: then clicks do nothing
    user.press("tool_delete")
    assert user.session.tool is Tool.DELETE
    user.press("tool_delete")
    assert user.session.tool is Tool.NONE
    user.click((12, 12))
    assert_same(state(user), after)


def test_undo_and_redo_walk_labels_and_status(corrector):
    """By key and by button, over strokes, clicks and complete areas; a new change ends the way forward."""
    user = corrector
    states = [state(user)]

    def then():
        states.append(state(user))

    user.press("tool_draw")
    user.document.editable.brush_size = 3
    user.stroke(np.linspace((24, 4), (24, 16), 4))
    then()
    user.press("tool_delete")
    user.click(DISC)
    then()
    user.press("tool_confirm")
    user.click((12, 12))
    then()
    user.press("tool_background")
    user.stroke(np.linspace((40, 30), (40, 50), 4))
    then()
    user.press("complete")
    then()
    for was in reversed(states[:-1]):
        user.undo()
        assert_same(state(user), was)
    for was in states[1:]:
        user.redo()
        assert_same(state(user), was)
    for was in reversed(states[:-1]):
        user.press("undo")
        assert user.says == "Taken back."
        assert_same(state(user), was)
    # the segmentation itself is a step like any other
    user.press("undo")
    assert not user.labels.any()
    user.press("undo")
    assert user.says == "There is nothing to take back."
    user.press("redo")
    for was in states[1:3]:
        user.press("redo")
        assert user.says == "Made again."
        assert_same(state(user), was)
    user.press("tool_confirm")
    user.click((50, 12))
    end = state(user)
    user.redo()
    user.press("redo")
    assert user.says == "There is nothing to make again."
    assert_same(state(user), end)


def complete_text(user):
    user.until(lambda: not user.panel.correct._timer.isActive())
    return user.button("complete").text()


def test_complete_view_slice_and_image(start, discs):
    user = start(discs(3), axis_labels=("t", "y", "x"))
    user.segment()
    user.viewer.dims.set_current_step(0, 1)
    # a view: the upper left quarter and a bit, with one disc
    user.look_at(slice(0, 20), slice(0, 20))
    user.until(lambda: complete_text(user) == "View is complete: 1 object")
    user.press("complete")
    assert "1 object is right and nothing is missing" in user.says
    checked = user.status == 1
    assert checked[1, :20, :20].all()
    assert not checked[[0, 2]].any()
    assert not checked[1, :, 40:].any()
    assert user.session.checked == 1
    user.choose("complete_scope", "frame")
    user.until(lambda: complete_text(user) == "Frame is complete: 5 objects")
    user.press("complete")
    assert (user.status[1] == 1).all()
    assert not (user.status[[0, 2]] == 1).any()
    assert user.session.checked == 5
    user.choose("complete_scope", "image")
    user.until(lambda: complete_text(user) == "Image is complete: 15 objects")
    # not offered in the 3-D display, by the button or otherwise
    user.viewer.dims.ndisplay = 3
    user.until(lambda: complete_text(user) == "Image is complete")
    assert not user.button("complete").isEnabled()
    user.panel.workbench.correcting.complete()
    assert "2-D display" in user.says
    # outlines would be solid blocks there
    outline = user.viewer.layers["img checked"]
    assert not outline.visible
    assert not (user.status[[0, 2]] == 1).any()
    user.viewer.dims.ndisplay = 2
    assert outline.visible
    user.until(lambda: complete_text(user) == "Image is complete: 15 objects")
    user.press("complete")
    assert (user.status == 1).all()
    assert (user.session.checked, user.session.corrected) == (15, 0)
    for _ in range(3):
        user.undo()
    assert not user.status.any()


def test_nothing_is_complete_before_there_are_labels(user):
    assert complete_text(user) == "View is complete"
    assert not user.button("complete").isEnabled()
    assert not user.panel.correct.counts.isVisible()
    user.panel.workbench.correcting.complete()
    assert "Segment the image first" in user.says
    assert user.session.problem
    # a tool makes the empty layer, where one draws from nothing
    user.press("tool_draw")
    user.until(lambda: complete_text(user) == "View is complete: 0 objects")
    user.press("complete")
    assert (user.status == 1).all()
    assert user.panel.correct.counts.text() == "0 of 0 objects checked, 0 corrected"


def in_the_list(layer):
    """Tell whether the thumbnail of a layer shows something where the first disc is."""
    return layer.thumbnail[6, 6, :3].any()


def test_the_layer_list_shows_what_is_there_now(start, discs):
    user = start(discs(3))
    user.segment()
    labels, checked = user.viewer.layers["img labels"], user.viewer.layers["img checked"]
    user.until(lambda: in_the_list(labels))
    assert labels.thumbnail.shape == (32, 32, 4)
    assert not labels.thumbnail[0, 0, :3].any()
    user.press("tool_delete")
    user.click((12, 12))
    user.until(lambda: in_the_list(checked) and not in_the_list(labels))
    assert labels.thumbnail[25, 24, :3].any(), "another disc"
    user.undo()
    user.until(lambda: in_the_list(labels) and not in_the_list(checked))


def test_a_plane_that_is_complete_has_a_line_around_it(user):
    user.segment()
    before = user.viewer.screenshot(flash=False).astype(int)
    user.until(user.button("complete").isEnabled)
    user.press("complete")
    assert (user.status == 1).all()
    after = user.viewer.screenshot(flash=False).astype(int)
    drawn = np.abs(after - before).sum(-1) > 60
    rows, columns = (np.flatnonzero(drawn.any(axis)) for axis in (1, 0))
    around = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert all(side.mean() > 0.9 for side in (around[0], around[-1], around[:, 0], around[:, -1]))
    assert not around[20:-20, 20:-20].any(), "it does not hide the image"
    user.keys(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not user.status.any()


def test_the_outline_is_whole_where_the_image_is_small(user):
    user.segment()
    user.use_tool("confirm")
    user.click((12, 12))
    (outline,) = user.document.outlines
    assert outline.contour == 1
    user.viewer.scene.camera.zoom = 0.4
    user.until(lambda: not user.panel.workbench._outlining._timer.is_waiting)
    assert outline.contour == 3
    user.viewer.scene.camera.zoom = 8
    user.until(lambda: outline.contour == 1)

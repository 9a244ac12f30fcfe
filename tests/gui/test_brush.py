"""Strokes in the canvas: what the brush and the eraser do to labels and status."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_unet.gui.session import Tool

ALT = Qt.KeyboardModifier.AltModifier
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


def line(start, stop, count=6):
    return np.linspace(start, stop, count)


def circle(centre, radius, turn=1.0, count=24):
    angle = np.linspace(0, 2 * np.pi * turn, count)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1)


@pytest.fixture
def painter(user):
    """A user who has segmented the five discs and holds a brush of 3 pixels."""
    user.segment()
    assert sorted(np.unique(user.labels)) == [0, 1, 2, 3, 4, 5]
    user.press("tool_draw")
    user.document.editable.brush_size = 3
    return user


def test_a_stroke_on_background_is_new_and_one_on_an_object_extends_it(painter):
    user, before = painter, painter.labels
    user.stroke(line((24, 4), (24, 16)))
    drawn = user.labels
    assert set(np.unique(drawn[before != drawn])) == {6}
    np.testing.assert_array_equal(user.status == 1, drawn == 6)
    user.stroke(line((24, 16), (24, 22)))
    longer = user.labels
    assert (longer == 6).sum() > (drawn == 6).sum()
    np.testing.assert_array_equal(longer[longer != 6], drawn[longer != 6])
    number = longer[32, 28]
    user.stroke(line((32, 28), (32, 40)))
    after = user.labels
    assert after[32, 40] == number
    np.testing.assert_array_equal(user.status == 1, np.isin(after, (6, number)))
    assert (user.session.checked, user.session.corrected) == (2, 2)
    assert user.panel.correct.counts.text() == "2 of 6 objects checked, 2 corrected"
    # an id that was used once never comes back
    user.press("undo")
    user.press("undo")
    user.press("undo")
    user.stroke(line((24, 4), (24, 16)))
    assert user.labels.max() == 7


def test_neighbours_are_painted_over_with_alt_only(painter):
    user, before = painter, painter.labels
    number = before[32, 28]
    across = line((32, 16), (32, 40))
    user.stroke(across)
    after = user.labels
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    assert after[32, 17] == after[32, 39] == 6
    assert not (user.status[before > 0] == 1).any()
    user.undo()
    np.testing.assert_array_equal(user.labels, before)
    # Alt, pressed on the way
    user.stroke(across, modifier_later=ALT)
    after = user.labels
    assert after[32, 28] == 7
    assert (after == number).any()
    assert (user.status[after == number] == 1).all(), "what is left of the neighbour was changed: it is checked"
    assert (user.status[after == 7] == 1).all()
    user.undo()
    np.testing.assert_array_equal(user.labels, before)
    assert not user.status.any()
    # and the next stroke spares the neighbours again
    user.stroke(across)
    np.testing.assert_array_equal(user.labels[before > 0], before[before > 0])


def test_a_closed_outline_fills_itself(painter):
    user, before = painter, painter.labels
    user.document.editable.brush_size = 1
    user.stroke(circle((30, 52), 6))
    after = user.labels
    assert after[30, 52] == 6
    assert (after == 6).sum() > 90
    np.testing.assert_array_equal(user.status == 1, after == 6)
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    user.undo()
    np.testing.assert_array_equal(user.labels, before)
    # an open one does not
    user.stroke(circle((30, 52), 6, turn=0.7))
    assert user.labels[30, 52] == 0
    user.undo()
    # over a neighbour: what is free inside is filled, the neighbour stays
    user.stroke(circle((32, 34), 7))
    after = user.labels
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    inside = (np.indices((64, 64)) - np.array([32, 34]).reshape(2, 1, 1)).astype(float)
    inside = np.hypot(*inside) < 6
    assert (after[inside & (before == 0)] == after[32, 38]).all()
    assert after[32, 38] == 8


def test_the_encircling_brush_is_one_recorded_stroke(painter):
    """napari's: a click with the right button starts an outline, the mouse draws it, back at the start it is filled."""
    user, before = painter, painter.labels
    path = circle((30, 52), 7)
    user.click(path[0], button=RIGHT)
    for point in path[1:]:
        user.hover(point)
    after = user.labels
    assert after[30, 52] == 6
    np.testing.assert_array_equal(user.status == 1, after == 6)
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    user.undo()
    np.testing.assert_array_equal(user.labels, before)
    assert not user.status.any()


def test_the_eraser_tells_background(painter):
    user, before = painter, painter.labels
    user.press("tool_background")
    assert user.document.editable.mode == "erase"
    # on empty background nothing changes but what is known
    user.stroke(line((24, 6), (24, 18)))
    np.testing.assert_array_equal(user.labels, before)
    checked = user.status == 1
    assert checked[23:26, 6:19].all()
    assert not checked[:22].any()
    assert not checked[27:].any()
    assert user.session.corrected == 0
    # a click is a stroke, too
    user.click((24, 40))
    assert user.status[24, 40] == 1
    user.undo()
    assert user.status[24, 40] == 0
    # part of an object: the rest of it is checked, as what was erased is
    number = before[32, 28]
    user.stroke(line((26, 20), (28, 36)))
    after = user.labels
    assert (after[(before == number) & (after != number)] == 0).all()
    assert 0 < (after == number).sum() < (before == number).sum()
    assert (user.status[before == number] == 1).all()
    assert user.session.checked == user.session.corrected == 1
    np.testing.assert_array_equal(after[before != number], before[before != number])
    user.undo()
    user.undo()
    assert not user.status.any()
    np.testing.assert_array_equal(user.labels, before)


def test_in_a_stack_a_stroke_checks_its_plane_only(start, discs):
    user = start(discs(3))
    assert user.session.axes == "ZYX"
    user.segment()
    before = user.labels
    user.viewer.dims.set_current_step(0, 1)
    user.press("tool_draw")
    user.document.editable.brush_size = 3
    user.stroke(line((24, 4), (24, 16)))
    user.press("tool_background")
    user.stroke(line((26, 20), (28, 36)))
    after, status = user.labels, user.status
    for plane in (0, 2):
        np.testing.assert_array_equal(after[plane], before[plane])
        assert not status[plane].any()
    assert after[1, 24, 10] == before.max() + 1
    assert (status[1][after[1] == before[1, 32, 28]] == 1).all()
    assert status[1, 26, 21] == 1
    # undo finds the plane again, wherever one looks
    user.viewer.dims.set_current_step(0, 2)
    user.undo()
    user.undo()
    np.testing.assert_array_equal(user.labels, before)
    assert not user.status.any()


def test_a_brush_on_an_image_with_a_pixel_size(start, discs):
    user = start(discs(), scale=(0.5, 0.25))
    user.press("tool_draw")
    layer = user.document.editable
    np.testing.assert_array_equal(layer.scale, (0.5, 0.25))
    layer.brush_size = 3
    user.stroke(line((24, 4), (24, 16)))
    assert (user.labels[24, 4:17] == 1).all()
    assert user.labels[24, 20:].max() == user.labels[:20].max() == 0
    user.press("tool_background")
    user.stroke(line((40, 4), (40, 16)))
    assert (user.status[40, 4:17] == 1).all()
    assert not user.status[44:].any()


def napari_button(user, mode):
    """Return napari's own button for a mode of the labels layer."""
    controls = user.viewer.window._qt_viewer.controls.widgets[user.document.editable]
    return getattr(controls, f"{mode}_button")


def test_the_tools_follow_napari_and_napari_the_tools(painter):
    user = painter
    layer = user.document.editable
    assert user.button("tool_draw").isChecked()
    for napari_mode, tool, name in [
        ("erase", Tool.BACKGROUND, "tool_background"),
        ("paint", Tool.DRAW, "tool_draw"),
        ("panzoom", Tool.NONE, None),
        ("fill", Tool.NONE, None),
    ]:
        QTest.mouseClick(napari_button(user, napari_mode), LEFT)
        user.pause()
        assert user.session.tool is tool
        checked = [one for one in Tool if one is not Tool.NONE and user.button(f"tool_{one}").isChecked()]
        assert checked == ([tool] if name else [])
    for name, mode, button in [
        ("tool_draw", "paint", "paint"),
        ("tool_background", "erase", "erase"),
        ("tool_delete", "pick", "pick"),
        ("tool_confirm", "pick", "pick"),
    ]:
        user.press(name)
        assert layer.mode == mode
        assert napari_button(user, button).isChecked()
    # the one in use again puts it away; so does a key of napari
    user.press("tool_confirm")
    assert layer.mode == "pan_zoom"
    assert not user.button("tool_confirm").isChecked()
    user.press("tool_draw")
    user.keys(Qt.Key.Key_1)
    assert layer.mode == "erase"
    assert user.button("tool_background").isChecked()


def test_bucket_and_polygon_are_recorded(painter):
    user, before = painter, painter.labels
    layer = user.document.editable
    layer.mode = "fill"
    layer.selected_label = 40
    user.click((32, 28))
    filled = user.labels
    np.testing.assert_array_equal(filled == 40, before == before[32, 28])
    np.testing.assert_array_equal(user.status == 1, filled == 40)
    layer.mode = "polygon"
    layer.selected_label = 50
    for corner in [(20, 46), (20, 60), (34, 60), (34, 46)]:
        user.click(corner)
    user.keys(Qt.Key.Key_Return)
    drawn = user.labels
    assert drawn[27, 53] == 50
    np.testing.assert_array_equal(user.status == 1, np.isin(drawn, (40, 50)))
    assert user.document.fresh_id() == 51
    user.undo()
    np.testing.assert_array_equal(user.labels, filled)
    np.testing.assert_array_equal(user.status == 1, filled == 40)
    user.undo()
    np.testing.assert_array_equal(user.labels, before)
    assert not user.status.any()
    user.redo()
    user.redo()
    np.testing.assert_array_equal(user.labels, drawn)
    np.testing.assert_array_equal(user.status == 1, np.isin(drawn, (40, 50)))


def test_a_change_is_shown_by_its_size(start, discs):
    """Strokes and tools upload what they changed, never the plane; and what is seen is what a full refresh shows."""
    image = np.tile(discs(), (20, 20))
    user = start(image)
    user.segment()
    user.look_at(slice(0, 64), slice(0, 64))
    layers = user.document.layers
    (outline,) = user.document.outlines
    user.until(lambda: outline.contour == 1)  # it is thicker where the image is small, which changes all of it
    sent = []
    for layer in layers:
        layer.events.labels_update.connect(lambda event: sent.append(event.data.size))
        layer.events.set_data.connect(lambda _: sent.append(image.size))
    user.press("tool_draw")
    user.document.editable.brush_size = 3
    user.stroke(line((24, 4), (24, 16)))
    user.press("tool_delete")
    user.click((32, 28))
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("tool_background")
    user.stroke(line((40, 4), (40, 16)))
    user.undo()
    assert sent
    assert sum(sent) < image.size / 50
    shown = user.viewer.screenshot(flash=False)
    for layer in layers:
        layer.refresh()
    np.testing.assert_array_equal(user.viewer.screenshot(flash=False), shown)

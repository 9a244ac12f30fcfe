"""Segment: what it makes, that it can be stopped, and what happens when its layers go away meanwhile."""

from threading import Event

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QProgressBar

from napari_unet import iter_predict
from napari_unet.gui.layers import make_map, make_outlines, make_rim
from napari_unet.gui.opening import split_channels
from napari_unet.gui.origin import set_axes
from napari_unet.gui.session import JobState

IDLE, RUNNING, STOPPING = JobState.IDLE, JobState.RUNNING, JobState.STOPPING


@pytest.fixture
def slow_user(start, discs, many_tiles):
    """A user whose segmentations last."""
    return start(discs(40))


def begin(user):
    """Press Segment and wait for the first tiles."""
    user.press("segment")
    user.until(lambda: user.session.progress > 0)
    assert user.session.prediction is RUNNING


def assert_idle(user):
    assert user.idle
    assert user.session.progress < 0
    assert user.button("segment").isEnabled()
    assert not user.button("cancel").isVisible()
    assert not user.panel.findChild(QProgressBar, "progress").isVisible()


def test_labels_lie_on_an_image_that_is_turned(start, discs):
    user = start(discs(2), scale=(2, 1, 1), rotate=(0, 0, 30), shear=(0, 0, 0.2), translate=(1, 5, 7), zoom=False)
    image = user.viewer.layers["img"]
    image.affine = np.array([[1, 0, 0, 3], [0, 0, -1, 40], [0, 1, 0, 9], [0, 0, 0, 1]], float)
    user.segment()
    assert user.labels.max() > 0
    labels, outline = user.document.layers
    np.testing.assert_allclose(labels.data_to_world((1, 20, 30)), image.data_to_world((1, 20, 30)))
    # it has a frame of a pixel around each plane
    np.testing.assert_allclose(outline.data_to_world((1, 21, 31)), image.data_to_world((1, 20, 30)))
    # what lies on a part of it, and a channel
    box = (slice(1, 2), slice(20, 25), slice(30, 45))
    corner = image.data_to_world((1, 20, 30))
    outlines = make_outlines(image, "ZYX", box, np.ones((1, 5, 15), int), "some", "red")
    np.testing.assert_allclose(outlines.data_to_world((0, 0, 0)), corner)
    values = make_map(image, "ZYX", box, np.ones((5, 15)), "map")
    np.testing.assert_allclose(values.data_to_world((0, 0, 0)), corner)
    coarse = make_rim(image, "ZYX", box, np.ones((2, 5), np.uint8), 3)
    np.testing.assert_allclose(coarse.data_to_world((0, 0, 0)), image.data_to_world((1, 21, 31)))
    set_axes(image, "CYX")
    first, _ = split_channels(user.viewer, image, "CYX")
    np.testing.assert_allclose(first.data_to_world((20, 30)), image.data_to_world((0, 20, 30))[1:])


def test_a_model_that_takes_the_background_for_objects_is_told(start, discs):
    user = start(discs().max() - discs())
    user.choose("model", "nuclei")
    user.segment()
    assert user.says.startswith("1 object. They cover most of the image: 'nuclei' may not know such images.")
    assert user.session.problem
    # an object that fills what is looked at is none
    user.viewer.add_image(discs(), name="bright")
    user.choose("image", "bright")
    user.look_at(slice(28, 36), slice(24, 32))
    user.choose("scope", "view")
    user.segment()
    assert user.labels.any()
    assert user.says.startswith("1 object. Correct what is wrong")


def test_labels_lie_on_the_image(start, discs):
    user = start(discs(2), scale=(3.0, 0.5, 0.25), translate=(10, 20, 30), zoom=False)
    seen = []
    user.session.events.message.connect(seen.append)
    user.segment()
    layer = user.document.editable
    assert layer.name == "img labels"
    assert layer in user.viewer.layers
    assert user.viewer.layers.selection.active == layer
    np.testing.assert_allclose(layer.scale, (3.0, 0.5, 0.25))
    np.testing.assert_allclose(layer.translate, (10, 20, 30))
    assert layer.data.shape == (2, 64, 64)
    # a disc that goes through the planes is one object
    assert len(np.unique(layer.data)) == 6
    np.testing.assert_array_equal(layer.data > 0, discs(2) > 600)
    assert not user.status.any(), "a prediction is not checked"
    assert user.says.startswith("5 objects")
    assert seen[0].startswith("Segmenting")
    assert any("tiles" in one for one in seen)
    assert user.session.segmented
    assert_idle(user)


def test_progress_cancel_and_pressing_twice(slow_user):
    user = slow_user
    begin(user)
    bar = user.panel.findChild(QProgressBar, "progress")
    assert bar.isVisible()
    cancel = user.button("cancel")
    room = cancel.visibleRegion().boundingRect().width()
    assert room > cancel.fontMetrics().horizontalAdvance("Cancel"), "it can be seen"
    assert not user.button("segment").isEnabled()
    # pressed again: by an impatient finger, or by a program
    QTest.mouseDClick(user.button("segment"), Qt.MouseButton.LeftButton)
    user.panel.workbench.segmenting.segment()
    assert user.says.startswith("Already segmenting")
    was = bar.value()
    user.until(lambda: bar.value() > was)
    assert "tiles" in user.says
    user.press("cancel")
    assert user.session.prediction in (STOPPING, IDLE)
    user.until(lambda: user.idle, 15)
    assert user.says.startswith("Cancelled")
    assert user.says.endswith("Segment image goes on where it stopped.")
    assert_idle(user)


def test_what_runs_moves_no_button(slow_user):
    user = slow_user
    tool = user.button("tool_draw")
    place = tool.mapTo(user.panel, QPoint(0, 0))
    begin(user)
    user.until(lambda: user.session.progress > 0)
    assert tool.mapTo(user.panel, QPoint(0, 0)) == place
    user.press("cancel")
    user.until(lambda: user.idle, 15)
    assert tool.mapTo(user.panel, QPoint(0, 0)) == place


def test_cancelling_leaves_earlier_labels_alone(slow_user):
    user = slow_user
    user.choose("scope", "slice")
    user.segment()
    before = user.labels
    assert len(np.unique(before)) == 6
    user.choose("scope", "image")
    begin(user)
    user.panel.workbench.segmenting.cancel()
    user.panel.workbench.segmenting.cancel()
    user.until(lambda: user.idle, 15)
    shown = user.viewer.dims.current_step[0]
    assert before[shown].any()
    np.testing.assert_array_equal(user.labels[shown:], before[shown:])
    assert user.session.segmented
    assert_idle(user)


def test_layers_that_go_away_meanwhile(slow_user, discs):
    user = slow_user
    layers = user.viewer.layers
    # the labels
    begin(user)
    layers.remove("img labels")
    user.until(lambda: user.idle, 15)
    assert user.says == "The layer was removed while it was segmented. Segment begins anew."
    assert user.session.image == "img"
    assert [layer.name for layer in layers] == ["img"], "an outline without labels means nothing"
    assert_idle(user)
    # both, and only the image; one can go on with another at once
    for number, gone in enumerate((["img", "img labels"], ["1"])):
        begin(user)
        layers.selection = {layers[name] for name in gone}
        layers.remove_selected()
        assert user.session.image == ""
        user.until(lambda: user.idle, 15)
        assert not user.button("segment").isEnabled()
        assert user.session.progress < 0
        user.viewer.add_image(discs(40), name=f"{number + 1}")
        assert user.session.image == f"{number + 1}"
    # the user turns to another image, and drops the labels of the first
    begin(user)
    user.viewer.add_image(discs(), name="other")
    user.choose("image", "other")
    layers.remove("2 labels")
    user.until(lambda: user.idle, 15)
    user.segment()
    assert len(np.unique(user.labels)) == 6
    # everything
    user.choose("image", "2")
    begin(user)
    layers.clear()
    user.until(lambda: user.idle, 15)
    assert "The image was removed" in user.says
    assert user.session.image == ""
    assert not layers


def test_labels_that_are_gone_when_the_result_comes(user, monkeypatch):
    """Too late to cancel: the result is dropped, with a word."""
    last_tile, go_on = Event(), Event()

    def finishes_anyway(*image_and_model, stop, **others):
        result = yield from iter_predict(*image_and_model, **others)
        last_tile.set()
        assert go_on.wait(30)
        return result

    monkeypatch.setattr("napari_unet.gui.segmenting.iter_predict", finishes_anyway)
    user.press("segment")
    user.until(last_tile.is_set)
    user.viewer.layers.remove("img labels")
    go_on.set()
    user.until(lambda: user.idle)
    assert "was removed while it was segmented" in user.says
    assert user.session.restorable == ("Restore the labels" in user.says)
    assert [layer.name for layer in user.viewer.layers] == ["img"]


def test_a_slice_or_a_view_leaves_the_rest_alone(start, discs):
    user = start(discs(3))
    user.viewer.dims.set_current_step(0, 1)
    user.choose("scope", "slice")
    user.segment()
    labels = user.labels
    assert not labels[[0, 2]].any()
    assert len(np.unique(labels[1])) == 6
    user.viewer.dims.set_current_step(0, 2)
    user.look_at(slice(0, 22), slice(0, 22))
    user.choose("scope", "view")
    user.segment()
    after = user.labels
    np.testing.assert_array_equal(after[:2], labels[:2])
    assert after[2, 12, 12] > labels.max()
    assert not after[2, :, 40:].any()
    # the same thresholds of intensity as for the whole image
    np.testing.assert_array_equal(after[2, :20, :20] > 0, discs(3)[2, :20, :20] > 600)
    user.press("undo")
    np.testing.assert_array_equal(user.labels, labels)


def test_segmenting_again_keeps_what_is_checked(user):
    user.segment()
    before = user.labels
    deleted, right = before[32, 28], before[12, 12]
    user.press("tool_delete")
    user.click((32, 28))
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("tool_draw")
    user.document.editable.brush_size = 3
    user.stroke(np.linspace((24, 4), (24, 16), 4))
    corrected, status = user.labels, user.status
    user.segment()
    after = user.labels
    checked = status == 1
    np.testing.assert_array_equal(after[checked], corrected[checked])
    np.testing.assert_array_equal(user.status, status)
    assert not (after == deleted).any()
    np.testing.assert_array_equal(after == right, before == right)
    assert len(np.unique(after)) == 6  # four of the discs, and what was drawn
    np.testing.assert_array_equal(after, corrected, "what is found once more has another number, and another colour")
    # each is one step, whatever it changes
    user.undo()
    np.testing.assert_array_equal(user.labels, corrected)
    user.session.min_size = 10**6
    user.segment()
    assert len(np.unique(user.labels)) == 3
    user.undo()
    np.testing.assert_array_equal(user.labels, corrected)


def test_what_is_checked_in_a_slice_takes_nothing_away_in_the_others(start, discs):
    user = start(discs(5))
    user.viewer.dims.set_current_step(0, 2)
    user.choose("scope", "slice")
    user.segment()
    user.use_tool("confirm")
    user.click((12, 12))
    checked = user.labels[2, 12, 12]
    user.choose("scope", "image")
    user.segment()
    np.testing.assert_array_equal(user.labels > 0, discs(5) > 600)
    np.testing.assert_array_equal(np.unique(user.labels[:, 12, 12]), [checked])
    assert not user.status[[0, 1, 3, 4]].any(), "what was not looked at is not checked"


def test_an_object_that_is_checked_hides_none_above_and_below(start, discs):
    image = discs(6).astype(float)
    image[[0, 1, 4, 5]] = 100 + 0.45 * (image[[0, 1, 4, 5]] - 100)
    user = start(image)
    user.segment()
    right = user.labels[2, 12, 12]
    user.viewer.dims.set_current_step(0, 2)
    user.use_tool("confirm")
    user.click((12, 12))
    before = user.labels
    np.testing.assert_array_equal(np.flatnonzero((before == right).any((1, 2))), [2, 3])
    user.session.foreground_threshold = 0.1
    user.segment()
    after = user.labels
    np.testing.assert_array_equal(after > 0, image > 300)
    np.testing.assert_array_equal(after == right, before == right)
    above, below = set(after[:2, 12, 12]), set(after[4:, 12, 12])
    assert len(above) == len(below) == 1
    assert above != below
    assert len(np.unique(after[:, 32, 28])) == 1, "what is not checked is one object through all slices"


def test_in_the_3d_display(start, discs):
    user = start(discs(3))
    user.viewer.dims.ndisplay = 3
    user.segment()
    assert len(np.unique(user.labels)) == 6
    outline = user.viewer.layers["img checked"]
    assert not outline.visible
    user.viewer.dims.ndisplay = 2
    assert outline.visible


def count_planes(labels):
    """Return how many planes have the five discs; those behind them must be empty."""
    found = [len(np.unique(plane)) - 1 for plane in labels]
    assert found == [5] * found.count(5) + [0] * found.count(0), found
    return found.count(5)


def test_cancel_leaves_the_slices_that_are_finished_and_goes_on_there(start, discs, many_tiles):
    user = start(discs(6))
    done = []
    user.session.events.progress.connect(done.append)
    user.press("segment")
    user.until(lambda: user.session.progress > 0.2)
    user.press("cancel")
    user.until(lambda: user.idle, 15)
    finished = count_planes(user.labels)
    assert 0 < finished < 6
    assert user.says == f"Cancelled with {finished} of 6 slices done, which stay. " + (
        "Segment image goes on where it stopped."
    )
    assert_idle(user)
    assert len(user.document._journal) == 1, "one step to undo"
    # what is corrected meanwhile stays
    left = user.labels[0, 12, 12]
    user.viewer.dims.set_current_step(0, 0)
    user.press("tool_delete")
    user.click((12, 12))
    assert left not in user.labels
    done.clear()
    user.segment()
    assert min(one for one in done if one > 0) > 0.2, "it does not begin anew"
    assert not user.labels[:finished, 12, 12].any()
    assert all(len(np.unique(plane)) == 6 for plane in user.labels[finished:])
    for _ in range(3):
        user.press("undo")
    assert not user.labels.any()


def test_cancel_within_a_plane_leaves_the_labels_alone_and_goes_on_there(start, discs, many_tiles):
    user = start(np.tile(discs(), (2, 3)))
    done = []
    user.session.events.progress.connect(done.append)
    begin(user)
    user.press("cancel")
    user.until(lambda: user.idle, 15)
    assert user.says == "Cancelled. The labels are as they were; Segment image goes on where it stopped."
    assert not user.labels.any()
    assert not user.session.segmented
    assert len(user.document._journal) == 0
    assert_idle(user)
    reached = max(done)
    done.clear()
    user.segment()
    assert min(one for one in done if one > 0) > reached
    np.testing.assert_array_equal(user.labels > 0, np.tile(discs(), (2, 3)) > 600)

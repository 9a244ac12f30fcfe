"""The click tools in the canvas, with mouse and keys: what each does, and that it is one step of undo."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_unet.gui.highlight import _around
from napari_unet.gui.session import Tool
from napari_unet.gui.tools import ACTION_KEYS, TOOLS

DISC, OTHER, CORNER = (32, 28), (12, 12), (12, 44)
SHIFT = Qt.KeyboardModifier.ShiftModifier
HELD = {"Shift": SHIFT, "Control": Qt.KeyboardModifier.ControlModifier}
QT_KEYS = {",": Qt.Key.Key_Comma, ".": Qt.Key.Key_Period}


def press_key(user, key):
    """Press a key given in napari's spelling."""
    *held, letter = key.split("-")
    modifier = Qt.KeyboardModifier.NoModifier
    for one in held:
        modifier |= HELD[one]
    user.keys(QT_KEYS.get(letter) or getattr(Qt.Key, f"Key_{letter}"), modifier)


def use(user, tool):
    press_key(user, TOOLS[tool].key)
    assert user.session.tool is tool, user.says


def line(start, stop, count=6):
    return np.linspace(start, stop, count)


def assert_one_step(user, before):
    """Undo brings labels and status back, redo the change."""
    after = user.labels, user.status
    user.undo()
    assert user.says == "Taken back."
    np.testing.assert_array_equal(user.labels, before[0])
    np.testing.assert_array_equal(user.status, before[1])
    user.redo()
    assert user.says == "Made again."
    np.testing.assert_array_equal(user.labels, after[0])
    np.testing.assert_array_equal(user.status, after[1])


@pytest.fixture
def corrector(user):
    user.segment()
    return user


@pytest.fixture
def stacker(start, discs):
    """A user with a stack of five planes, in the middle one, whose objects go through all of them."""
    user = start(discs(5))
    assert user.session.axes == "ZYX"
    user.segment()
    user.viewer.dims.set_current_step(0, 2)
    assert len(np.unique(user.labels)) == 6
    return user


def test_no_key_is_one_of_naparis():
    ours = [info.key for info in TOOLS.values()] + [
        key for name, key in ACTION_KEYS.items() if name not in ("undo", "redo")
    ]
    assert len(set(ours)) == len(ours)
    taken = {str(key) for kind in (Labels, Image, ViewerModel) for key in kind.class_keymap}
    of_other_layers = ("points", "shapes", "vectors", "tracks", "surface", "vertex", "_add_", "direct_mode", "select_")
    for action, keys in default_shortcuts.items():
        if not any(word in action for word in of_other_layers) or "select_layer" in action:
            taken |= {str(key) for key in keys}
    assert {"M", "P", "V", "Ctrl+Z", "Space"} <= taken
    clashes = {str(coerce_keybinding(key)) for key in ours} & taken
    assert not clashes


def test_every_tool_has_a_button_and_a_key(corrector):
    user = corrector
    for tool, info in TOOLS.items():
        if info.for_stacks:
            assert not user.button(f"tool_{tool}").isVisible()
            press_key(user, info.key)
            assert "needs a stack" in user.says
            continue
        # wherever the user was
        user.viewer.layers.selection.active = user.viewer.layers["img"]
        use(user, tool)
        assert user.viewer.layers.selection.active == user.document.editable
        assert user.button(f"tool_{tool}").isChecked()
        assert user.document.editable.mode == info.mode
        assert info.key.replace("-", "+") in user.button(f"tool_{tool}").toolTip()
        assert user.says == info.hint
        press_key(user, info.key)
        assert user.session.tool is Tool.NONE


def test_undo_is_there_while_another_layer_is_active_and_ends_with_the_panel(corrector):
    user = corrector
    before = user.labels
    number = before[DISC]
    for layer in ("img", "img checked"):
        use(user, Tool.DELETE)  # takes the layer back where the tool was in use already
        user.click(DISC)
        assert not (user.labels == number).any()
        user.viewer.layers.selection.active = user.viewer.layers[layer]
        user.undo()
        np.testing.assert_array_equal(user.labels, before)
        user.redo()
        assert not (user.labels == number).any()
        user.undo()
    assert user.viewer.keymap
    user.panel.workbench.close()
    assert not user.viewer.keymap


def test_shift_paints_over_neighbours(corrector):
    user, before = corrector, corrector.labels
    use(user, Tool.DRAW)
    user.document.editable.brush_size = 3
    user.stroke(line((32, 16), (32, 40)), modifier=SHIFT)
    after = user.labels
    assert after[DISC] == after[32, 17] == 6
    assert user.document.editable.brush_size == 3
    user.undo()
    np.testing.assert_array_equal(user.labels, before)


@pytest.mark.parametrize(("tool", "value"), [(Tool.IGNORE, 2), (Tool.FORGET, 0)])
def test_brushes_of_status(corrector, tool, value):
    user, labels = corrector, corrector.labels
    user.press("complete")
    assert (user.status == 1).all()
    before = user.labels, user.status
    use(user, tool)
    user.document.editable.brush_size = 3
    # a stroke, over an object and its surroundings
    user.stroke(line((32, 18), (32, 38)))
    marked = user.status == value
    assert marked[31:34, 18:39].all()
    assert not marked[:30].any()
    assert not marked[35:].any()
    np.testing.assert_array_equal(user.labels, labels)
    assert_one_step(user, before)
    # a click on an object is all of it, beside objects a dab
    user.undo()
    user.click(OTHER)
    np.testing.assert_array_equal(user.status == value, labels == labels[OTHER])
    assert "ignored" in user.says or "unchecked" in user.says
    assert user.session.checked == 4
    assert user.panel.correct.counts.text().startswith("4 of 5 objects checked")
    user.click((24, 4))
    assert user.status[24, 4] == value
    np.testing.assert_array_equal(user.labels, labels)
    user.undo()
    user.undo()
    np.testing.assert_array_equal(user.status, before[1])


def test_forget_takes_a_correction_out_of_the_count(corrector):
    user = corrector
    use(user, Tool.DRAW)
    user.stroke(line((24, 4), (24, 16)))
    assert user.panel.correct.counts.text() == "1 of 6 objects checked, 1 corrected"
    use(user, Tool.FORGET)
    user.click((24, 10))
    assert user.panel.correct.counts.text() == "0 of 6 objects checked, 0 corrected"


def wheel(user, point, up):
    """Turn the wheel with Shift held."""
    where = QPointF(user._on_canvas(point))
    turn = QPoint(0, 120 if up else -120)
    none = Qt.MouseButton.NoButton
    event = QWheelEvent(
        where,
        QPointF(user._canvas.mapToGlobal(where)),
        QPoint(),
        turn,
        none,
        SHIFT,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(user._canvas, event)
    user.pause()


def outlined(user):
    """Return where the highlight is, in the plane of the image; nothing if it is hidden."""
    where = np.zeros(user.labels.shape[-2:], bool)
    layer = next((one for one in user.viewer.layers if one.name == "highlight"), None)
    if layer is not None and layer.visible:
        rows, columns = np.nonzero(layer.data.any(tuple(range(layer.ndim - 2))))
        row, column = np.rint(layer.translate[-2:] / layer.scale[-2:]).astype(int)
        where[rows + row, columns + column] = True
    return where


def told_at(user, point):
    """Click and return what the panel says then."""
    user.click(point)
    return user.says


def test_propose_outlines_grows_shrinks_and_accepts(start):
    """On a soft spot that is missing: its outlines are nested."""
    distance = np.hypot(*(np.indices((64, 64)) - np.array(DISC).reshape(2, 1, 1)))
    other = np.hypot(*(np.indices((64, 64)) - np.array(OTHER).reshape(2, 1, 1)))
    user = start((1000 * np.clip(1 - np.minimum(distance, other) / 14, 0, None)).astype(np.uint16))
    user.segment()
    number = user.labels[DISC]
    disc = user.labels == number
    use(user, Tool.DELETE)
    user.click(DISC)
    use(user, Tool.FORGET)
    user.document.editable.brush_size = 30
    user.click(DISC)
    state = user.labels, user.status
    assert not state[0][disc].any()
    assert not state[1][disc].any()
    use(user, Tool.PROPOSE)
    camera = user.viewer.scene.camera.zoom
    user.hover((33, 29))
    user.until(lambda: outlined(user).any())
    there = outlined(user)
    assert (there & disc).sum() > 0.9 * disc.sum()
    assert there.sum() < 2 * disc.sum()
    np.testing.assert_array_equal(user.labels, state[0])
    # smaller and larger, by keys and by the wheel; the view stays
    sizes = [there.sum()]
    for step in ("wheel down", ",", ".", "wheel up", "."):
        if step.startswith("wheel"):
            wheel(user, (33, 29), up=step.endswith("up"))
        else:
            press_key(user, step)
        sizes.append(outlined(user).sum())
    assert sizes[2] <= sizes[1] <= sizes[0]
    assert sizes[2] <= sizes[3] <= sizes[4] <= sizes[5]
    assert min(sizes) < max(sizes)
    assert user.viewer.scene.camera.zoom == camera
    # what was chosen stays while the mouse is in it
    chosen = outlined(user)
    user.hover((31, 27))
    user.until(lambda: not user.panel.workbench.correcting.proposing.is_waiting)
    np.testing.assert_array_equal(outlined(user), chosen)
    user.click((31, 27))
    new = user.labels == user.labels.max()
    assert user.labels.max() > number
    np.testing.assert_array_equal(new, chosen)
    assert (user.status[new] == 1).all()
    assert not outlined(user).any()
    assert user.viewer.layers.selection.active == user.document.editable
    assert_one_step(user, state)
    # nothing is proposed on what is checked, nor where nothing is
    user.hover((31, 27))
    user.hover((60, 60))
    user.until(lambda: not user.panel.workbench.correcting.proposing.is_waiting)
    assert "Nothing stands out" in told_at(user, (60, 60))
    assert "This is checked. Forget" in told_at(user, (31, 27))


def test_the_outline_of_propose_follows_the_mouse_without_moving_its_layer(user):
    """A layer that is moved or gets other data costs ten times as much: the outline would lag behind the mouse."""
    use(user, Tool.PROPOSE)
    layer = user.viewer.layers["highlight"]
    assert not outlined(user).any()
    user.hover(DISC)
    assert outlined(user)[DISC]
    slow = []
    for name in ("data", "translate", "visible"):
        getattr(layer.events, name).connect(slow.append)
    user.hover(OTHER)
    assert outlined(user)[OTHER]
    assert not outlined(user)[DISC]
    user.hover(CORNER)
    assert outlined(user)[CORNER]
    user.viewer.layers.selection.active = user.document.editable
    assert not slow
    use(user, Tool.DELETE)
    assert not layer.visible, "drawing nothing costs something, too"
    use(user, Tool.PROPOSE)
    user.hover(OTHER)
    assert layer.visible
    assert outlined(user)[OTHER]


@given(st.data())
def test_the_layer_of_the_outline_is_around_it_and_not_too_large(data):
    shape = [data.draw(st.integers(1, n)) for n in (3, 90, 40_000, 40_000)]
    box = []
    for n, most in zip(shape, (1, 90, 300, 300), strict=True):
        start = data.draw(st.integers(0, n - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, min(n, start + most)))))
    window = _around(tuple(box), shape)
    sides = [w.stop - w.start for w in window]
    assert all(w.start <= b.start and b.stop <= w.stop for w, b in zip(window, box, strict=True))
    assert all(w.start >= -8 and w.stop <= n + 8 for w, n in zip(window, shape, strict=True))
    assert window[0] == box[0]
    assert prod(sides) <= max(2100**2, sides[1] * 300**2)
    if box[1].stop - box[1].start == 1 and max(shape[2:]) <= 2048:
        assert window == (*box[:2], *(slice(-8, n + 8) for n in shape[2:])), "all of the plane"


def test_propose_without_maps_follows_the_image(user):
    use(user, Tool.PROPOSE)
    user.click(DISC)
    rows, columns = np.indices((64, 64))
    disc = (rows - DISC[0]) ** 2 + (columns - DISC[1]) ** 2 <= 36
    drawn = user.labels == 1
    assert (drawn & disc).sum() / (drawn | disc).sum() > 0.8


def test_merge_flags_distant_pieces_and_split_divides(corrector):
    user, before = corrector, (corrector.labels, corrector.status)
    one, other = before[0][OTHER], before[0][CORNER]
    use(user, Tool.MERGE)
    user.click(OTHER)
    assert f"object {one}" in user.says
    user.click(OTHER)
    assert "same object" in user.says
    user.click(OTHER)
    user.click(CORNER)
    np.testing.assert_array_equal(user.labels == one, np.isin(before[0], (one, other)))
    assert "2 distant pieces" in user.says
    assert user.session.problem
    assert_one_step(user, before)
    # clicks and Enter
    merged = user.labels, user.status
    use(user, Tool.SPLIT)
    user.click((22, 8))
    assert "no object here" in user.says
    user.click(OTHER)
    press_key(user, "Enter")
    assert "another part" in user.says
    user.click(CORNER)
    assert "2 parts" in user.says
    user.keys(Qt.Key.Key_Enter)
    assert user.says.startswith("Split into 2")
    after = user.labels
    assert after[OTHER] != after[CORNER]
    colors = [user.document.editable.get_color(after[point])[:3] for point in (OTHER, CORNER)]
    assert np.linalg.norm(colors[0] - colors[1]) > 0.4, "one sees that there are two"
    np.testing.assert_array_equal(after > 0, before[0] > 0)
    assert_one_step(user, merged)
    # a line across; beside the object it divides nothing
    now = user.labels, user.status
    user.stroke(line((24, 28), (40, 28)))
    after = user.labels
    parts = np.unique(after[before[0] == before[0][DISC]])
    assert len(parts) == 2
    assert after[32, 24] != after[32, 32]
    assert_one_step(user, now)
    user.stroke(line((52, 2), (52, 10)))
    assert "does not cross" in user.says
    # Enter is napari's again
    assert not user.document.editable.keymap.keys() & {"Enter"}


def test_fill_holes(corrector):
    user = corrector
    use(user, Tool.BACKGROUND)
    user.document.editable.brush_size = 3
    user.click(DISC)
    assert user.labels[DISC] == 0
    before = user.labels, user.status
    use(user, Tool.HOLES)
    user.click((32, 24))
    assert user.labels[DISC] == user.labels[32, 24]
    assert_one_step(user, before)
    user.click((32, 24))
    assert "no holes" in user.says


def test_tools_of_stacks_tell_their_slices(stacker):
    user = stacker
    number = user.labels[(2, *DISC)]
    use(user, Tool.CONFIRM)
    user.click(DISC)
    np.testing.assert_array_equal(user.status == 1, user.labels == number)
    assert "slices 0 to 4" in user.says
    use(user, Tool.DELETE)
    user.click(DISC)
    assert "slices 0 to 4" in user.says
    assert not (user.labels == number).any()


def test_tools_of_planes_say_so_in_the_3d_display(stacker):
    user = stacker
    before = user.labels
    use(user, Tool.PROPOSE)
    user.viewer.dims.ndisplay = 3
    assert user.session.tool is Tool.NONE
    assert "Propose works in planes" in user.says
    for tool in (Tool.DRAW, Tool.BACKGROUND, Tool.SPLIT, Tool.EXTEND):
        press_key(user, TOOLS[tool].key)
        assert f"{TOOLS[tool].text} works in planes" in user.says
        assert user.session.problem
        assert user.session.tool is Tool.NONE
    press_key(user, TOOLS[Tool.DELETE].key)
    assert user.session.tool is Tool.DELETE
    user.viewer.dims.ndisplay = 2
    assert user.session.tool is Tool.DELETE
    np.testing.assert_array_equal(user.labels, before)


def test_no_tool_is_taken_while_the_labels_are_being_changed(corrector):
    user = corrector
    use(user, Tool.DRAW)
    user.document.begin_to_fill()
    assert user.session.tool is Tool.NONE
    press_key(user, TOOLS[Tool.DRAW].key)
    assert "being changed" in user.says
    assert user.session.tool is Tool.NONE
    user.document.end_filling()
    use(user, Tool.DRAW)
    assert user.document.editable.mode == "paint"


def test_interpolate_between_two_slices(stacker):
    user = stacker
    use(user, Tool.DRAW)
    user.document.editable.brush_size = 5
    for plane in (0, 4):
        user.viewer.dims.set_current_step(0, plane)
        user.stroke(line((24, 4), (24, 16)))
    one, other = user.labels[0, 24, 10], user.labels[4, 24, 10]
    assert one != other
    before = user.labels, user.status
    use(user, Tool.INTERPOLATE)
    user.click((24, 10))
    assert "another slice" in user.says
    user.viewer.dims.set_current_step(0, 0)
    user.click((24, 10))
    after, status = user.labels, user.status
    assert (after[:, 24, 10] == other).all()
    assert not (after == one).any()
    assert (status[[0, 4], 24, 10] == 1).all()
    assert not status[1:4].any()
    np.testing.assert_array_equal(after[before[0] > 0] > 0, True)
    assert_one_step(user, before)


def test_extend_follows_the_object_from_slice_to_slice(stacker):
    user = stacker
    number = user.labels[(2, *DISC)]
    whole = user.labels == number
    use(user, Tool.EXTEND)
    user.click(DISC)
    assert "both neighbouring slices" in user.says
    # where it was never found
    use(user, Tool.BACKGROUND)
    user.document.editable.brush_size = 16
    for plane in (3, 4):
        user.viewer.dims.set_current_step(0, plane)
        user.click(DISC)
    use(user, Tool.FORGET)
    for plane in (3, 4):
        user.viewer.dims.set_current_step(0, plane)
        user.click(DISC)
    user.viewer.dims.set_current_step(0, 2)
    before = user.labels, user.status
    assert not (before[0][3:] == number).any()
    use(user, Tool.EXTEND)
    user.click(DISC)
    assert user.viewer.dims.current_step[0] == 3
    here = user.labels[3] == number
    assert (here & whole[3]).sum() > 0.8 * whole[3].sum()
    assert (user.status[3][here] == 1).all()
    assert not (user.labels[4] == number).any()
    assert_one_step(user, before)
    user.click(DISC)
    assert "slices 0 to 4" in user.says
    assert user.viewer.dims.current_step[0] == 4


def test_next_goes_over_slices_and_right_next_confirms(stacker):
    user = stacker
    use(user, Tool.DELETE)
    user.click(OTHER)
    user.press("undo")
    seen = []
    for _ in range(5):
        press_key(user, "W")  # the first shows the first
        user.until(lambda: outlined(user).any() and "doubtful" in user.says)
        seen.append(user.says)
        assert user.session.checked == len(seen) - 1
        camera = user.viewer.scene.camera
        seen_to = np.array(user.viewer.canvas.size) / camera.zoom / 2
        away = np.argwhere(outlined(user))[:, -2:] - np.array(camera.center[-2:])
        assert (np.abs(away) <= seen_to).all(), "all of it is in sight"
    assert len(set(seen)) == 5
    assert user.session.checked == 4
    assert user.session.corrected == 0
    press_key(user, "W")
    user.until(lambda: "Nothing doubtful is left" in user.says)
    assert user.session.checked == 5
    assert not outlined(user).any()
    # anew: everything is checked, and nothing more is confirmed
    press_key(user, "W")
    user.until(lambda: "Everything here is checked" in user.says)
    # another segmentation, another queue
    user.undo()
    user.press("next")
    user.until(lambda: outlined(user).any())


def test_next_shows_likely_misses(corrector):
    user, before = corrector, corrector.labels
    use(user, Tool.DELETE)
    user.click(DISC)
    use(user, Tool.FORGET)
    user.document.editable.brush_size = 16
    user.click(DISC)
    hole = before == before[DISC]
    assert not user.status[hole].any()
    user.press("next")
    user.until(lambda: outlined(user).any())
    shown = [user.says]
    while "missing" not in shown[-1]:
        press_key(user, "Q")
        shown.append(user.says)
        assert len(shown) < 6, shown
    press_key(user, "W")
    assert (user.status[hole] == 1).mean() > 0.6
    assert not user.labels[hole].any()


def test_am_i_done(start, discs):
    user = start(np.tile(discs(), (2, 3)))
    user.segment()
    assert not user.panel.correct.so_far.isVisible()
    user.press("complete")
    assert user.session.so_far == "corrected per 100 checked: 0. Good enough? Segment the folder."
    told, folder = user.panel.correct.so_far, user.button("segment_folder")
    assert told.isVisible()
    assert "background-color" in folder.styleSheet(), "the next sensible step"
    # the words lead to the button, which may be out of sight
    user.viewer.window._qt_window.resize(900, 480)
    user.panel._scroll.ensureWidgetVisible(told)
    user.pause()
    assert folder.visibleRegion().isEmpty()
    for y in range(2, told.height(), 4):
        for x in range(2, told.width(), 8):
            QTest.mouseClick(told, Qt.MouseButton.LeftButton, pos=QPoint(x, y))
    user.until(lambda: not folder.visibleRegion().isEmpty())
    assert user.panel.correct.counts.text() == "30 of 30 objects checked, 0 corrected"


def test_the_panel_fits_into_its_dock(stacker):
    inside = stacker.panel.correct
    for one in inside.tools.values():
        assert one.isVisible()
        assert one.width() >= one.minimumWidth()
        assert one.x() + one.width() <= one.parentWidget().width()
    assert inside.minimumSizeHint().width() <= 330 - 12 - 16  # margins and a scroll bar

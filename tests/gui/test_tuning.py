"""What runs and how long it takes; thresholds that follow a slider; maps as layers; device."""

import threading
import time

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QSlider, QSpinBox, QStyle, QStyleOptionSlider, QWidget

from napari_unet import iter_predict, save_model
from napari_unet.gui.doctor import Finding
from napari_unet.gui.session import Scope
from napari_unet.prediction import Estimate


@pytest.fixture
def runs(monkeypatch):
    """Count how often the network runs."""
    made = []

    def counting(*args, **others):
        made.append(others["region"])
        return (yield from iter_predict(*args, **others))

    monkeypatch.setattr("napari_unet.gui.segmenting.iter_predict", counting)
    return made


@pytest.fixture
def soft(start, discs):
    """Discs that fade outwards, so that a threshold decides how large they are."""
    rows, columns = np.indices((64, 64))
    near = np.min([np.hypot(rows - y, columns - x) for y, x in ((12, 12), (12, 44), (32, 28), (50, 12), (50, 48))], 0)
    user = start((1000 * np.exp(-((near / 6) ** 2))).astype(np.uint16))
    user.panel.segment.settings.expand(animate=False)
    user.pause()
    return user


def slider(user, name):
    return user.panel.findChild(QSlider, name)


def slide(user, name, steps):
    """Press an arrow key on a slider so often."""
    key = Qt.Key.Key_Right if steps > 0 else Qt.Key.Key_Left
    slider(user, name).setFocus()
    for _ in range(abs(steps)):
        QTest.keyClick(slider(user, name), key)


def grip(handle):
    """Return where a slider is held."""
    option = QStyleOptionSlider()
    handle.initStyleOption(option)
    parts = QStyle.ComplexControl.CC_Slider, option, QStyle.SubControl.SC_SliderHandle
    return handle.style().subControlRect(*parts, handle).center()


def outlines(user):
    """Return the layer of the outlines while there are any to see."""
    return next((layer for layer in user.viewer.layers if layer.name == "threshold" and layer.visible), None)


def test_the_objects_follow_a_threshold_without_the_network(soft, runs):
    user = soft
    assert not slider(user, "foreground_threshold").isEnabled(), "nothing to see yet"
    user.segment()
    before = user.labels
    assert len(runs) == 1
    slide(user, "foreground_threshold", 10)
    assert user.session.foreground_threshold == pytest.approx(0.6)
    rim = user.viewer.layers["threshold"]
    assert (rim.data == 1).any(), "the outline is there at once"
    np.testing.assert_array_equal(user.labels, before)
    outside = np.argwhere(rim.data == 1)
    assert (before[tuple(outside.T)] > 0).all(), "a higher threshold lies inside"
    user.until(lambda: not np.array_equal(user.labels, before))
    after = user.labels
    assert (after > 0).sum() < (before > 0).sum()
    assert len(np.unique(after)) == 6
    user.until(lambda: outlines(user) is None)
    assert len(runs) == 1, "the network does not run again"
    # it counts for the next segmentation, which gives the same
    user.segment()
    np.testing.assert_array_equal(user.labels > 0, after > 0)
    assert len(runs) == 2
    # one step back, and back to the model's own
    user.press("reset")
    assert user.session.foreground_threshold is None
    user.until(lambda: (user.labels > 0).sum() == (before > 0).sum())
    np.testing.assert_array_equal(user.labels > 0, before > 0)
    assert len(runs) == 2


def in_a_large_view(user):
    """Segment, and let the maps be those of as many pixels as a large view has: 2048 x 2048."""
    user.segment()
    bench = user.panel.workbench
    maps = bench.tuning._maps
    object.__setattr__(maps, "values", np.tile(maps.values, (1, 32, 32)))
    object.__setattr__(maps, "box", (slice(0, 2048), slice(0, 2048)))
    bench.segmenting.box = lambda scope: maps.box
    bench.tuning._timer.ask = lambda: None  # the labels stay as they are
    bench.tuning.move(foreground=0.5)
    user.pause()
    return bench.tuning


def test_the_outline_follows_within_a_tenth_of_a_second(soft):
    user, tuning = soft, in_a_large_view(soft)
    took = []
    for value in (0.52, 0.54, 0.56):
        begun = time.thread_time()
        tuning.move(foreground=value)
        user.pause()
        took.append(time.thread_time() - begun)
    assert min(took) < 0.1
    assert user.viewer.layers["threshold"].data.size == 1024**2, "at the resolution of the canvas"


def test_the_objects_of_a_large_view_are_found_in_the_background_and_outlined_then(soft):
    user, tuning = soft, in_a_large_view(soft)
    rim = user.viewer.layers["threshold"]
    whole = rim.data.copy()
    assert whole.any()
    begun = time.thread_time()
    tuning.move(peaks=0.99999)
    assert time.thread_time() - begun < 0.1
    np.testing.assert_array_equal(rim.data, whole)
    # the other slider meanwhile, and back: what counts in the end is shown
    tuning.move(foreground=0.6)
    assert (rim.data != whole).any()
    tuning.move(peaks=0.999999)
    user.until(lambda: not rim.data.any())  # none is so sure
    tuning.move(peaks=0.5)
    assert rim.data.any(), "at once now"


def test_a_press_on_a_slider_makes_the_layer_before_it_moves(soft):
    user = soft
    handle = slider(user, "foreground_threshold")
    QTest.mousePress(handle, Qt.MouseButton.LeftButton)
    QTest.mouseRelease(handle, Qt.MouseButton.LeftButton)
    assert outlines(user) is None, "there are no maps yet"
    user.segment()
    before, value = user.labels, handle.value()
    QTest.mousePress(handle, Qt.MouseButton.LeftButton, pos=grip(handle))
    rim = outlines(user)
    assert rim is not None
    assert not rim.data.any(), "nothing was moved"
    assert user.viewer.layers.selection.active is user.document.editable
    slide(user, "foreground_threshold", 1)
    assert outlines(user) is rim
    assert rim.data.any()
    QTest.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=grip(handle))
    assert handle.value() == value + 1
    np.testing.assert_array_equal(user.labels > 0, before > 0)


def test_what_only_helps_goes_when_nobody_uses_it_for_long(start, discs, monkeypatch):
    for module in ("tuning", "highlight"):
        monkeypatch.setattr(f"napari_unet.gui.{module}.TIDY_MS", 400)
    user = start(discs())
    user.panel.segment.settings.expand(animate=False)
    user.segment()
    helpers, labels = {"threshold", "highlight"}, user.labels

    def there():
        return helpers & {layer.name for layer in user.viewer.layers}

    slide(user, "foreground_threshold", 1)
    user.until(lambda: there() == {"threshold"})
    user.until(lambda: not there())
    slide(user, "foreground_threshold", -1)
    assert there() == {"threshold"}, "it comes again"
    user.until(lambda: not there())
    user.press("next")
    user.until(lambda: there() == {"highlight"})
    layer = user.viewer.layers["highlight"]
    user.until(lambda: user.panel.workbench.correcting.looking._mirroring is None)
    while layer.visible:
        user.press("right_next")
    user.until(lambda: not there())
    np.testing.assert_array_equal(user.labels, labels)


def test_the_outline_goes_along_with_the_view(soft):
    user = soft
    user.segment()
    slide(user, "foreground_threshold", 3)
    user.until(lambda: outlines(user) is None)
    user.look_at(slice(0, 32), slice(30, 62))
    slide(user, "foreground_threshold", 3)
    rim = outlines(user)
    assert [one.name for one in user.viewer.layers].count("threshold") == 1
    lines = np.argwhere(rim.data) * rim.scale + rim.translate
    away = [np.hypot(*(lines - centre).T) for centre in ((12, 44), (32, 28))]
    assert np.min(away, axis=0).max() < 8, "around the discs in view, where they are"
    user.until(lambda: outlines(user) is None)


def test_a_slider_in_a_new_view_asks_the_network_once(start, discs, runs):
    user = start(discs(3))
    user.panel.segment.settings.expand(animate=False)
    user.segment()
    assert len(runs) == 1
    user.viewer.dims.set_current_step(0, 2)
    slide(user, "min_prominence", 3)
    user.until(lambda: len(runs) == 2 and user.idle)
    assert runs[1]["Z"] == slice(2, 3)
    slide(user, "min_prominence", 3)
    user.until(lambda: outlines(user) is not None)
    user.until(lambda: outlines(user) is None)
    assert len(runs) == 2
    # another model comes with thresholds of its own
    user.panel.workbench.choosing.use(user.panel.workbench.model, "nuclei")
    assert user.session.min_prominence is None


def test_what_the_network_is_not_sure_of_is_left_out_and_comes_back(start, runs):
    rows, columns = np.indices((64, 64))
    discs = [(1000, 12, 12), (1000, 12, 44), (560, 32, 28), (1000, 50, 12), (1000, 50, 48)]
    image = np.max([height * (np.hypot(rows - y, columns - x) < 7) for height, y, x in discs], 0)
    user = start(image.astype(np.uint16))
    user.panel.segment.settings.expand(animate=False)
    user.segment()
    assert user.session.objects == 5
    slide(user, "peak_threshold", 90)
    user.until(lambda: user.session.objects == 4)
    assert user.labels[32, 28] == 0, "the faint one"
    assert len(runs) == 1
    user.press("reset")
    user.until(lambda: user.session.objects == 5)
    assert user.session.peak_threshold is None


def test_maps_as_layers(user, runs):
    user.panel.segment.settings.expand(animate=False)
    user.pause()
    user.press("show_maps")
    user.until(lambda: user.session.has_maps)
    assert len(runs) == 1
    names = ["img foreground", "img boundary_distance", "img centre_distance"]
    layers = [user.viewer.layers[name] for name in names]
    assert layers[0].data[12, 12] > 0.9
    assert layers[0].data[0, 0] < 0.1
    assert user.viewer.layers.index("img labels") > user.viewer.layers.index(names[0])
    assert user.offers("image") == ["img"], "a map is not an image to work on"
    assert user.session.image == "img"
    user.press("show_maps")
    user.until(lambda: not set(names) & {layer.name for layer in user.viewer.layers})
    assert not user.button("show_maps").isChecked()
    assert len(runs) == 1


def test_what_runs_says_how_long_it_takes(start, discs, monkeypatch):
    seconds = {64 * 64 * 40: 300.0, 64 * 64: 2.0}
    asked_before = threading.Event()

    def estimate(shape, model, config, *, axes, region):
        asked_before.wait(60)
        voxels = np.prod([part.stop - part.start for part in region.values()])
        return Estimate(seconds.get(int(voxels), 1.0), 3 * 10**9 if voxels > 64 * 64 else 0, True)

    monkeypatch.setattr("napari_unet.gui.estimating.estimate", estimate)
    user = start(discs(40))
    assert user.button("segment").text() == "Segment image"
    asked_before.set()
    user.until(lambda: user.session.estimates)
    assert user.offers("scope")[:2] == ["image, ~5 min, 3 GB", "slice, ~2 s"]
    # the whole takes long: the view is the one to press
    assert user.button("segment").text() == "Segment view"
    assert user.combo("scope").currentText().startswith("view, ~")
    user.choose("scope", "slice")
    assert user.button("segment").text() == "Segment slice"
    user.segment()
    assert user.labels.any(axis=(1, 2)).sum() == 1
    # a plane has no slices, and is quick
    user.viewer.add_image(discs(), name="plane")
    user.choose("image", "plane")
    user.until(lambda: user.session.estimates)
    assert [one.split(",")[0] for one in user.offers("scope")] == ["image", "view"]
    assert user.button("segment").text() == "Segment image"


def test_a_view_that_is_too_large_asks_to_zoom_in(user, monkeypatch):
    monkeypatch.setattr("napari_unet.prediction.interactive.LARGEST_VIEW", 1000)
    user.choose("scope", "view")
    user.press("segment")
    assert "Zoom in" in user.says
    assert user.session.problem
    assert user.idle
    assert list(user.viewer.layers) == [user.viewer.layers["img"]], "nothing was made for it"


def test_halo_of_volumes_is_a_setting_and_the_result_says_where_tiles_were_blended(start, discs, library, make_model):
    save_model(make_model("balls", dims=3), library / "balls")
    user = start(discs(4))
    user.panel.segment.settings.expand(animate=False)
    halo = user.combo("halo")
    assert not halo.isVisible(), "planes are always exact"
    user.choose("model", "balls")
    user.pause()
    assert halo.isVisible()
    user.choose("halo", "blended")
    user.segment()
    assert "blended" in user.says
    np.testing.assert_array_equal(user.labels > 0, discs(4) > 600)
    user.choose("halo", "exact")
    user.segment()
    assert user.says.startswith("5 objects")
    assert "blended" not in user.says


def test_linking_of_slices_is_a_setting(start, discs):
    user = start(discs(3))
    user.panel.segment.settings.expand(animate=False)
    user.pause()
    link = user.panel.findChild(QCheckBox, "link_z")
    assert link.isVisible()
    assert link.isChecked()
    QTest.mouseClick(link, Qt.MouseButton.LeftButton, pos=QPoint(8, link.height() // 2))
    assert not user.session.link_z
    user.segment()
    assert len(np.unique(user.labels)) == 16
    # through time it is off unless asked for
    user.choose("axes", "TYX")
    assert not link.isVisible()
    user.segment()
    assert len(np.unique(user.labels)) == 16
    link = user.panel.findChild(QCheckBox, "link_t")
    assert link.isVisible()
    QTest.mouseClick(link, Qt.MouseButton.LeftButton, pos=QPoint(8, link.height() // 2))
    user.segment()
    assert len(np.unique(user.labels)) == 6


def test_small_objects_are_left_out_without_the_network(start, runs):
    rows, columns = np.indices((64, 64))
    sizes = {(12, 12): 3, (40, 20): 6, (30, 45): 9}
    bright = np.any([np.hypot(rows - y, columns - x) <= radius for (y, x), radius in sizes.items()], 0)
    user = start((1000 * bright).astype(np.uint16))
    user.panel.segment.settings.expand(animate=False)
    box = user.panel.findChild(QSpinBox, "min_size")
    assert not box.isEnabled(), "nothing to see yet"
    user.segment()
    assert len(np.unique(user.labels)) == 4
    assert box.value() == 15, "the model's own"
    box.selectAll()
    QTest.keyClicks(box, "60")
    QTest.keyClick(box, Qt.Key.Key_Return)
    user.until(lambda: len(np.unique(user.labels)) == 3)
    assert not user.labels[12, 12]
    assert len(runs) == 1, "the network did not run again"
    user.press("reset")
    user.until(lambda: len(np.unique(user.labels)) == 4)
    assert box.value() == 15


def test_holes_are_filled_or_left_without_the_network(start, runs):
    rows, columns = np.indices((64, 64))
    away = np.hypot(rows - 32, columns - 32)
    user = start(np.where((away >= 6) & (away <= 14), 1000, 0).astype(np.uint16))
    user.panel.segment.settings.expand(animate=False)
    box = user.panel.findChild(QCheckBox, "fill_holes")
    assert not box.isEnabled(), "nothing to see yet"
    user.segment()
    assert box.isChecked(), "as the model does"
    assert user.labels[32, 32] == user.labels[32, 20] > 0
    box.click()
    user.until(lambda: not user.labels[32, 32])
    assert user.labels[32, 20] > 0
    user.press("reset")
    user.until(lambda: user.labels[32, 32] > 0)
    assert box.isChecked()
    assert len(runs) == 1, "the network did not run again"


def test_overlap_and_averaging_are_settings(start, discs, runs, monkeypatch):
    stack = discs(2)
    stack[1] = np.roll(stack[1], 5, 1)  # objects lie on each other by less than half
    user = start(stack)
    user.panel.segment.settings.expand(animate=False)
    overlap = user.panel.findChild(QDoubleSpinBox, "min_overlap")
    link = user.panel.findChild(QCheckBox, "link_z")
    assert overlap.isVisible()
    QTest.mouseClick(link, Qt.MouseButton.LeftButton, pos=QPoint(8, link.height() // 2))
    assert not overlap.isVisible(), "nothing is linked"
    QTest.mouseClick(link, Qt.MouseButton.LeftButton, pos=QPoint(8, link.height() // 2))
    counts = []
    for share in ("1.00", "0.30"):
        overlap.selectAll()
        QTest.keyClicks(overlap, share)
        user.segment()
        counts.append(len(user.document.objects))
    assert counts == [10, 5]
    average = user.panel.findChild(QCheckBox, "average")
    QTest.mouseClick(average, Qt.MouseButton.LeftButton, pos=QPoint(8, average.height() // 2))
    user.segment()
    assert user.panel.workbench.segmenting.provenance(user.document)["averaged"] == 8
    assert len(user.document.objects) == 5
    # all of it fits into a narrow panel
    inside = user.panel._scroll.widget()
    wide = {
        one.objectName(): one.minimumSizeHint().width() for one in user.panel.segment.settings.findChildren(QWidget)
    }
    assert inside.minimumSizeHint().width() <= 320, wide


def test_the_device_is_named_with_what_is_wrong_with_it(user, monkeypatch):
    findings = [
        Finding("device", "cpu (2 cores)", True),
        Finding("NVIDIA card", "H100, but torch", False, "pip install"),
    ]
    monkeypatch.setattr("napari_unet.gui.settings_panel.examine_device", lambda: findings)
    user.panel.segment.settings.expand(animate=False)
    user.until(lambda: "pip install" in user.combo("device").toolTip())
    assert "cpu (2 cores)" in user.combo("device").toolTip()
    assert "cpu" in user.offers("device")
    user.choose("device", "cpu")
    user.choose("precision", "float32")
    config = user.panel.workbench.choosing.predict_config()
    assert (config.device, config.precision) == ("cpu", "float32")
    user.segment()
    assert user.panel.workbench.segmenting.box(Scope.IMAGE)

"""The end of the panel, of the window, and of jobs that fail."""

import gc
import weakref

import numpy as np
import pytest
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QThreadPool
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QApplication

from napari_unet.gui import learning, segmenting
from napari_unet.gui.contributions import model_imported
from napari_unet.gui.panel import UNetPanel
from napari_unet.gui.session import JobState

LONG = 10**6


def close_dock(user):
    """Take the panel out of the window, as its close button does."""
    user.viewer.window.remove_dock_widget(user.panel)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def pool_is_empty():
    return QThreadPool.globalInstance().activeThreadCount() == 0


def begin(user, job):
    """Have a prediction, a training or both under way."""
    if job in ("training", "both"):
        user.choose("scope", "slice")
        user.segment()
        user.press("complete")
        user.press("train")
        user.until(lambda: user.says.startswith("Training: step"))
    if job in ("prediction", "both"):
        user.choose("scope", "image")
        user.press("segment")
        user.until(lambda: "tiles" in user.says)
    # the estimate of the time may be under way beside them
    user.until(lambda: QThreadPool.globalInstance().activeThreadCount() == (2 if job == "both" else 1))


@pytest.fixture
def busy(start, discs, many_tiles, trainings):
    trainings.steps = LONG
    return start(discs(40))


@pytest.mark.parametrize("job", ["prediction", "both"])
def test_closing_the_panel_stops_the_work(busy, job):
    user = busy
    begin(user, job)
    labels = user.viewer.layers["img labels"]
    before = labels.data.copy()
    close_dock(user)
    user.until(pool_is_empty, 10)
    user.pause()
    np.testing.assert_array_equal(labels.data, before)
    assert user.session.message.startswith(("Segmenting", "Training")), "the session has not heard of it"
    # the layers stay, and the brush is napari's again
    assert "img labels" in user.viewer.layers
    user.viewer.layers.selection.active = labels
    labels.mode = "paint"
    labels.selected_label = 99
    user.viewer.add_image(np.zeros((4, 4)), name="later")
    user.viewer.layers.remove("later")
    user.viewer.dims.set_current_step(0, 1)


@pytest.mark.parametrize("job", ["training", "both"])
def test_closing_the_window_stops_the_work(busy, job):
    user = busy
    begin(user, job)
    user.viewer.close()
    user.until(pool_is_empty, 10)
    user.pause()
    assert not any(w is user.panel and w.isVisible() for w in QApplication.allWidgets())


def emitters(viewer):
    layers, dims = viewer.layers.events, viewer.dims.events
    found = [layers.inserted, layers.removed, layers.reordered, dims.current_step, dims.ndisplay]
    return [*found, viewer.scene.camera.events, *(layer.events.name for layer in viewer.layers)]


def use(panel, user):
    """Segment, declare everything right, and train."""
    panel.workbench.segmenting.segment()
    user.until(lambda: panel.session.prediction is JobState.IDLE)
    panel.workbench.correcting.complete()
    panel.workbench.learning.train()
    user.until(lambda: panel.session.has_preview and panel.session.prediction is JobState.IDLE)
    panel.workbench.learning.keep_old()


def test_a_closed_panel_leaves_no_connection(start, discs, trainings):
    user = start(discs())
    viewer = user.viewer
    close_dock(user)
    before = [len(one.callbacks) for one in emitters(viewer)]
    imported = len(model_imported)
    keys = set(viewer.layers["img"].keymap)
    _, widget = viewer.window.add_plugin_dock_widget("napari-unet")
    panel = next(one for one in QApplication.allWidgets() if isinstance(one, UNetPanel) and one == widget)
    use(panel, user)
    labels = viewer.layers["img labels"]
    assert len(model_imported) == imported + 1
    assert [len(one.callbacks) for one in emitters(viewer)][:6] > before[:6]
    viewer.window.remove_dock_widget(panel)
    viewer.layers.remove("img checked")
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert [len(one.callbacks) for one in emitters(viewer)][: len(before)] == before
    assert len(model_imported) == imported
    assert set(viewer.layers["img"].keymap) == keys
    assert not labels.keymap
    assert not [one for one in labels.mouse_drag_callbacks if "napari_unet" in getattr(one, "__module__", "")]
    # and nothing holds the panel, its documents, or what its jobs were made of
    alive = weakref.ref(panel.workbench)
    del panel, widget, _

    def is_gone():
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        return alive() is None

    user.until(is_gone, 5)


def test_two_panels_one_after_the_other(user):
    user.segment()
    labels = user.labels
    close_dock(user)
    _, widget = user.viewer.window.add_plugin_dock_widget("napari-unet")
    user.panel = next(one for one in QApplication.allWidgets() if isinstance(one, UNetPanel) and one == widget)
    user.session = user.panel.session
    user.until(user.panel.isVisible, 5)
    user.segment()
    np.testing.assert_array_equal(user.labels > 0, labels > 0)
    user.press("tool_delete")
    user.click((32, 28))
    assert len(np.unique(user.labels)) == 5


def test_an_error_inside_a_job_reaches_the_status_line(user, monkeypatch, caplog, trainings):
    def at_once(*_, **__):
        raise RuntimeError("CUDA error: device-side assert triggered")

    def later(*_, **__):
        yield from ()
        raise RuntimeError("CUDA error: device-side assert triggered")

    user.segment()
    user.press("complete")
    labels, status = user.labels, user.status
    for name, module, core in [
        ("segment", segmenting, "iter_predict"),
        ("train", learning, "iter_fine_tune"),
    ]:
        for broken in (at_once, later):
            monkeypatch.setattr(module, core, broken)
            user.press(name)
            user.until(lambda: user.idle)
            assert "device-side assert" in user.says
            assert user.session.problem
            assert color_of(user.panel.status) != color_of(user.panel.correct.counts), "it stands out"
            assert user.session.progress < 0
            assert not user.session.has_preview
            np.testing.assert_array_equal(user.labels, labels)
            np.testing.assert_array_equal(user.status, status)
            (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
            assert record.exc_info, "the traceback is in the log, for a report"
            caplog.clear()
            assert user.button(name).isEnabled()


def test_an_error_of_the_preview_leaves_the_choice(user, monkeypatch, caplog, trainings):
    def broken(*_, **__):
        raise MemoryError("no room for the preview")
        yield

    user.segment()
    user.press("complete")
    monkeypatch.setattr(segmenting, "iter_predict", broken)
    user.train()
    assert "no room" in user.says
    caplog.clear()
    user.press("keep_old")
    assert not user.session.has_preview


def color_of(label):
    return label.palette().color(QPalette.ColorRole.WindowText).getRgbF()[:3]


def luminance(color):
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in color]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_words_can_be_read_on_either_theme(user, theme):
    user.segment()
    user.viewer.theme = theme
    user.session.say("This is wrong.", problem=True)
    user.pause()
    ground = luminance([one / 255 for one in get_theme(theme).background.as_rgb_tuple()[:3]])
    for label in (user.panel.status, user.panel.saving, user.panel.train.forecast, user.panel.correct.counts):
        darker, lighter = sorted((ground, luminance(color_of(label))))
        assert (lighter + 0.05) / (darker + 0.05) > 4, label.objectName()
    assert color_of(user.panel.status) != color_of(user.panel.correct.counts)
    user.session.say("This is right.")
    assert color_of(user.panel.status) == color_of(user.panel.correct.counts)


def test_a_narrow_dock_cuts_nothing_off(user):
    user.segment()
    user.press("complete")
    dock, window = user.panel.parentWidget(), user.panel.window()
    window.resizeDocks([dock], [10], Qt.Orientation.Horizontal)
    user.pause()
    last = user.button("right_next")
    user.until(lambda: last.isEnabled() and last.visibleRegion().boundingRect().width() == last.width())
    text = last.fontMetrics().horizontalAdvance(last.text())
    assert last.width() > text

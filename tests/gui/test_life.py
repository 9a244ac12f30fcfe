"""The end of the panel, of the window, and of jobs that fail."""

import gc
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QThreadPool
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
            assert "color" in user.panel.status.styleSheet()
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

"""A training that was broken off by the end of the window goes on."""

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QThreadPool
from qtpy.QtWidgets import QApplication

from napari_unet.gui import learning
from napari_unet.training import read_unfinished

LONG = 10**6


@pytest.fixture
def broken_off(user, trainings):
    """A user who has closed the panel in the middle of a training and opened it again."""
    user.segment()
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("tool_background")
    user.stroke(np.linspace((60, 30), (60, 40), 4))
    trainings.steps = LONG
    user.press("train")
    user.until(lambda: len(user.panel.train.curve._steps) >= 5)
    file = user.document.store.path / "training.checkpoint"
    assert not file.exists(), "it is written once a minute, and at the end"
    user.viewer.window.remove_dock_widget(user.panel)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    user.until(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    assert file.exists()
    again = type(user)(user.viewer, user.folder, user.told)
    again.until(lambda: again.session.checked == 1)
    again.checkpoint = file
    yield again
    again.panel.workbench.close()


def first_step(user):
    return user.panel.train.curve._steps[0]


def test_it_goes_on_where_it_was(broken_off):
    user = broken_off
    done = read_unfinished(user.checkpoint).steps
    assert done >= 5
    button = user.button("resume")
    assert button.isVisible()
    assert button.text() == f"Continue training ({done} of {LONG} steps)"
    assert button.styleSheet() != ""
    assert user.button("train").styleSheet() == ""
    user.press("resume")
    assert not button.isVisible()
    user.until(lambda: user.panel.train.curve._steps)
    user.until(lambda: f"Going on from step {done}" in user.says)
    assert first_step(user) == done + 1
    user.press("stop")
    user.until(lambda: user.session.has_preview and user.idle)
    # stopped, it could still go on; with the answer that is over
    assert user.checkpoint.exists()
    assert not button.isVisible()
    user.press("keep_old")
    assert not user.checkpoint.exists()
    assert not button.isVisible()


def test_with_other_corrections_it_starts_afresh(broken_off):
    user = broken_off
    user.press("tool_confirm")
    user.click((12, 44))
    said = []
    user.session.events.message.connect(said.append)
    user.press("resume")
    user.until(lambda: len(user.panel.train.curve._steps) > 3)
    assert first_step(user) == 1
    assert [text for text in said if "starts afresh" in text and not text.startswith("Training")] == [
        "What is checked has changed since it was broken off: the training starts afresh."
    ]
    user.press("stop")
    user.until(lambda: user.session.has_preview and user.idle)
    user.press("use_new")
    user.until(lambda: user.idle)
    assert not user.checkpoint.exists()
    assert not user.session.unfinished


def test_train_begins_a_new_one(broken_off, trainings):
    user = broken_off
    trainings.steps = 3
    user.train()
    assert first_step(user) == 1
    assert user.panel.train.curve._steps == [1, 2, 3]
    user.press("keep_old")
    assert not user.checkpoint.exists()
    assert not user.button("resume").isVisible()


def test_a_training_that_fails_can_go_on(user, trainings, monkeypatch):
    core = learning.iter_fine_tune

    def failing(*args, **others):
        steps = core(*args, **others)
        yield from (next(steps) for _ in range(3))
        steps.close()
        raise learning.UNetError("Too little memory. Close something.")

    user.segment()
    user.press("complete")
    with monkeypatch.context() as broken:
        broken.setattr(learning, "iter_fine_tune", failing)
        user.press("train")
        user.until(lambda: user.idle)
    assert user.says.startswith("Too little memory")
    assert user.button("resume").text() == "Continue training (3 of 4 steps)"
    # of another model it is not offered
    user.choose("model", "New model...")
    user.write("new_name", "nucleus")
    user.press("create")
    assert not user.button("resume").isVisible()
    user.choose("model", "nuclei")
    user.press("resume")
    user.until(lambda: user.session.has_preview and user.idle)
    assert first_step(user) == 4
    user.press("keep_old")


def test_a_new_model_that_waits_for_an_answer_is_there_the_next_time(user, trainings):
    user.segment()
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("tool_background")
    user.stroke(np.linspace((60, 30), (60, 40), 4))
    trainings.steps = 3
    user.train()
    user.until(lambda: user.session.has_preview and user.idle)
    before = user.panel.workbench.learning._candidate.model
    user.viewer.window.remove_dock_widget(user.panel)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    user.until(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    again = type(user)(user.viewer, user.folder, user.told)
    again.until(lambda: again.session.checked == 1)
    assert again.button("resume").text() == "Show the new model"
    again.press("resume")
    again.until(lambda: again.session.has_preview and again.idle)
    after = again.panel.workbench.learning._candidate.model
    for one, other in zip(before.network.state_dict().values(), after.network.state_dict().values(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert after.spec.decoder == before.spec.decoder
    again.press("keep_old")
    assert not again.button("resume").isVisible()
    again.panel.workbench.close()

"""What the panel says before, during and after a training."""

import re
from dataclasses import replace

import numpy as np
import pytest
from superqt import QCollapsible

from napari_unet.events import Notice, Score
from napari_unet.gui import learning
from napari_unet.gui.forecast import steps_line
from napari_unet.gui.verdict import advice_on, verdict_on
from napari_unet.training import Paired, Trained

LONG = 10**6
BLUE = "#2f6fde"


@pytest.fixture
def teacher(user, trainings):
    """A user who has segmented and confirmed an object, deleted another, and marked some background."""
    user.segment()
    user.press("tool_delete")
    user.click((32, 28))
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("tool_background")
    user.stroke(np.linspace((60, 30), (60, 40), 4))
    return user


@pytest.fixture
def outcome(monkeypatch):
    """Let trainings end as a test says: with another score or comparison, or with something to tell."""
    changes, notices = {}, []
    core = learning.iter_fine_tune

    def altered(*args, **others):
        steps = core(*args, **others)
        while True:
            try:
                yield next(steps)
            except StopIteration as done:
                return replace(done.value, **changes)
            if notices:
                yield notices.pop(0)

    monkeypatch.setattr(learning, "iter_fine_tune", altered)
    altered.changes, altered.notices = changes, notices
    return altered


def highlighted(user):
    names = ("segment", "train", "stop", "compare", "use_new", "keep_old")
    return [name for name in names if user.button(name).isVisible() and BLUE in user.button(name).styleSheet()]


def test_what_a_training_costs_is_known_before_it(user, trainings):
    forecast = user.panel.train.forecast
    assert user.session.step_seconds == 0
    assert forecast.text() == ""
    user.segment()
    user.press("tool_confirm")
    user.click((12, 12))
    assert user.button("train").text() == "Train on 1 checked"
    user.press("tool_delete")
    user.click((32, 28))
    assert user.button("train").text() == "Train on 1 checked (1 corrected)"
    user.until(lambda: user.session.step_seconds > 0)
    assert user.idle, "it is no job that the user waits for"

    def steps():
        return int(re.fullmatch(r"about (\d+) steps here", forecast.text())[1])

    five = steps()
    assert five == pytest.approx(300 / user.session.step_seconds, rel=0.06)
    user.choose("minutes", "10 min")
    assert steps() == pytest.approx(2 * five, rel=0.06)


@pytest.mark.parametrize(
    ("minutes", "seconds", "line"),
    [
        (5, 0, ""),
        (5, 1.58, "about 190 steps here"),
        (1, 60, "about 1 step here"),
        (1, 100, "about 1 step here"),
        (1, 5, "about 12 steps here"),
        (60, 1, "about 3600 steps here"),
    ],
)
def test_steps_in_words(minutes, seconds, line):
    assert steps_line(minutes, seconds) == line


HELD_OUT = Paired(5, 1, 34, True, 9, 4, better=0.97)


ADVICE = [
    (HELD_OUT, Score(0.82, 0.9, 34), "use_new", "AP50 0.82: gained 5, lost 1 of 34 held-out objects; "
     "false ones: 9 before, 4 now. The new model is better: use it."),
    (replace(HELD_OUT, better=0.05), None, "keep_old", "now. The old model is better: keep the old one."),
    (replace(HELD_OUT, better=0.5), None, "compare", "No clear difference: compare the outlines yourself."),
    (Paired(3, 0, 4, False, better=0.99), None, "compare", "Gained 3, lost 0 of 4 learned objects. It has seen these"),
    (Paired(0, 3, 4, False, better=0.01), None, "keep_old", "It does worse even where it has learned: keep"),
    (Paired(0, 0, 0, False), None, "compare", "Compare the outlines yourself."),
    (None, Score(0.82, 0.9, 34), "use_new", "AP50 0.82 on 34 held-out objects. The outlines show"),
]  # fmt: skip


@pytest.mark.parametrize(("paired", "score", "button", "words"), ADVICE)
def test_advice_in_words(paired, score, button, words, make_model):
    trained = Trained(make_model(), paired=paired, score=score)
    assert words in verdict_on(trained)
    assert {"use": "use_new", "keep": "keep_old", "unsure": "compare"}[advice_on(trained)] == button


def test_the_highlighted_button_follows_the_advice(teacher, trainings, outcome):
    user = teacher
    trainings.steps = 1
    for paired, score, button, words in (*ADVICE[:3], ADVICE[-1]):
        outcome.changes.update(paired=paired, score=score)
        user.train()
        verdict = user.panel.train.verdict
        assert words in verdict.text()
        assert highlighted(user) == [button]
        assert ("AP50" in verdict.text()) == (score is not None)
        user.press("keep_old")
        assert not verdict.isVisible()
        assert highlighted(user) == ["train"]


def test_what_a_training_has_to_tell_stays_in_sight(teacher, trainings, outcome):
    user = teacher
    trainings.steps = LONG
    outcome.notices += [Notice("The loss was not a number: it goes on.", "went_back")]
    user.press("train")
    user.until(lambda: user.says.startswith("Training: step") and user.says.endswith("not a number: it goes on."))
    assert highlighted(user) == []
    outcome.notices += [Notice("No longer improving: you can stop.", "no_gain")]
    user.until(lambda: user.says.startswith("Training: step") and user.says.endswith("you can stop."))
    assert highlighted(user) == ["stop"]
    assert user.panel.findChild(QCollapsible, "curve").isExpanded()
    user.press("stop")
    user.until(lambda: user.session.has_preview and user.idle)
    user.press("keep_old")
    # the next training begins without it
    user.press("train")
    user.until(lambda: "Training: step" in user.says)
    assert user.says.endswith("You can go on correcting.")
    assert highlighted(user) == []
    user.press("stop")
    user.until(lambda: user.session.has_preview and user.idle)

import sys
from pathlib import Path

import numpy as np
import pytest

import napari_unet as nu

FOLDER = Path(__file__).parents[2] / "benchmarks"
EVERYWHERE = (slice(None), slice(None))


@pytest.fixture
def user(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import _user

    yield _user
    sys.modules.pop("_user", None)


@pytest.fixture
def truth():
    y, x = np.mgrid[:120, :120]
    discs = np.zeros((120, 120), int)
    for number, (cy, cx) in enumerate(((20, 20), (20, 48), (60, 20), (60, 80), (100, 60)), start=1):
        discs[(y - cy) ** 2 + (x - cx) ** 2 < 100] = number
    return discs


@pytest.fixture
def found(truth):
    labels = truth.copy()
    labels[truth == 2] = 1  # merged with its neighbour
    labels[truth == 3] = 0  # missing
    labels[100:110, 100:110] = 9  # none
    return labels


def test_a_patient_user_ends_at_the_truth(user, truth, found):
    done = user.correct_worst(truth, found, np.zeros(truth.shape, np.uint8), 100, EVERYWHERE)
    assert done.complete
    assert (done.status == 1).all()
    assert nu.average_precision(truth, done.labels, 0.99) == 1
    assert done.drawn == 3  # the two merged ones and the missing one
    assert done.deleted == 1


def test_what_is_checked_is_true_however_little_was_corrected(user, truth, found):
    done = user.correct_worst(truth, found, np.zeros(truth.shape, np.uint8), 2, EVERYWHERE)
    assert not done.complete
    assert done.drawn + done.deleted == 2
    checked = done.status == 1
    assert checked.any()
    assert np.array_equal(done.labels[checked] > 0, truth[checked] > 0)


def test_only_the_view_is_corrected(user, truth, found):
    view = (slice(80, 120), slice(80, 120))
    done = user.correct_worst(truth, found, np.zeros(truth.shape, np.uint8), 100, view)
    assert (done.drawn, done.deleted) == (0, 1)
    outside = np.ones(truth.shape, bool)
    outside[view] = False
    assert np.array_equal(done.labels[outside], found[outside])
    assert not done.status[outside].any()


def test_strokes_stay_inside_their_class(user, truth):
    classes = (truth > 0).astype(np.uint8) * 3
    status = user.scribbles(classes, 5, 40, 5, np.random.default_rng(0))
    assert {0, 3} <= set(classes[status == 1])
    assert status.mean() < 0.5


def test_the_width_of_a_long_object_is_its_width(user):
    rod = np.zeros((60, 200), int)
    rod[20:40, 10:190] = 1
    assert user.typical_width(rod) == pytest.approx(20, abs=1)

"""Train, look at what the new model finds, and use it or not; the labels are the user's meanwhile."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from superqt import QCollapsible
from tifffile import imwrite

from napari_unet import load_model, save_model
from napari_unet.errors import ModelFileError
from napari_unet.gui import learning
from napari_unet.gui.session import JobState
from napari_unet.models import Model

LONG = 10**6
PREVIEW = "preview of the new model"


@pytest.fixture
def asked(monkeypatch):
    """Keep what each fine-tuning was asked to do."""
    calls = []
    core = learning.iter_fine_tune

    def spy(model, samples, config, **others):
        calls.append((model, list(samples), others["in_use"]))
        return core(model, samples, config, **others)

    monkeypatch.setattr(learning, "iter_fine_tune", spy)
    return calls


@pytest.fixture
def teacher(user, trainings):
    """A user who has segmented, deleted a disc, drawn an object, and marked a third of the image as complete."""
    user.segment()
    user.press("tool_delete")
    user.click((32, 28))
    user.press("tool_draw")
    user.document.editable.brush_size = 3
    user.stroke(np.linspace((24, 4), (24, 16), 4))
    user.press("tool_confirm")
    user.click((12, 12))
    user.press("tool_background")
    user.stroke(np.linspace((60, 30), (60, 40), 4))
    return user


def steps(user):
    """How many steps the live curve knows."""
    return len(user.panel.train.curve._steps)


def drawn(user):
    """How many steps the live curve shows."""
    shown, _ = user.panel.train.curve._loss.getData()
    return 0 if shown is None else len(shown)


def all_of(user):
    return user.labels, user.status, user.session.model, user.session.checked, len(user.document._journal)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_missing_is_said_in_one_line(start):
    user = start(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8))

    def refused(*words):
        user.press("train")
        assert user.idle
        assert user.session.problem
        assert all(word in user.says for word in words), user.says
        assert len(user.says) < 120
        assert not user.panel.train.curve._steps

    refused("Nothing is checked", "Draw")
    user.press("tool_draw")
    refused("Nothing is checked", "Draw")
    user.press("tool_background")
    user.stroke(np.linspace((5, 5), (5, 20), 4))
    refused("No object")
    user.press("undo")
    user.document.editable.mode = "fill"
    user.document.editable.selected_label = 1
    user.click((10, 10))
    assert (user.labels == 1).all()
    refused("No background")
    assert user.session.checked == 1


def test_a_training_ends_in_a_preview_and_keep_old_drops_it(teacher, trainings, library, asked):
    user = teacher
    before = all_of(user)
    folded = user.panel.findChild(QCollapsible, "curve")
    assert not folded.isExpanded()
    trainings.steps = 8
    user.press("train")
    assert user.button("train").text() == "Training..."
    assert not user.button("train").isEnabled()
    assert user.button("stop").isVisible()
    # pressed again: by an impatient finger, or by a program
    QTest.mouseDClick(user.button("train"), Qt.MouseButton.LeftButton)
    user.panel.workbench.learning.train()
    assert user.says.startswith("Already training")
    user.until(lambda: user.session.has_preview and user.idle)
    assert steps(user) == 8
    user.until(lambda: drawn(user) == 8)
    assert folded.isExpanded()
    assert len(asked) == 1
    preview = user.viewer.layers[PREVIEW]
    assert not preview.editable
    assert preview.data.shape == (64, 64)
    assert preview.data.any()
    np.testing.assert_array_equal(preview.scale, user.document.editable.scale)
    assert user.viewer.layers.selection.active == user.document.editable
    assert "of 2 learned objects" in user.panel.train.verdict.text()
    assert_same(all_of(user), before)
    assert list(library.iterdir()) == [library / "nuclei.safetensors"]
    # one training at a time waits for an answer
    assert not user.button("train").isEnabled()
    user.panel.workbench.learning.train()
    assert "Use new" in user.says
    assert user.idle
    user.press("compare")
    assert not preview.visible
    user.press("compare")
    assert preview.visible
    user.press("keep_old")
    assert PREVIEW not in user.viewer.layers
    assert not user.session.has_preview
    for name in ("compare", "use_new", "keep_old", "stop"):
        assert not user.button(name).isVisible()
    assert not user.panel.train.verdict.isVisible()
    assert_same(all_of(user), before)
    assert list(library.iterdir()) == [library / "nuclei.safetensors"]
    assert user.button("train").isEnabled()


def test_use_new_changes_no_checked_voxel_and_versions_count_up(teacher, library, asked):
    user = teacher
    labels, status = user.labels, user.status
    for number in (2, 3):
        user.train()
        assert_same((user.labels, user.status), (labels, status))
        user.press("use_new")
        user.until(lambda: user.idle)
        name = f"nuclei-{number}"
        assert user.session.model == user.combo("model").currentText() == name
        assert name in user.offers("model")
        model = load_model(name)
        assert model.spec.name == name
        assert model.spec.provenance["parent"] == "nuclei"
        checked = status == 1
        np.testing.assert_array_equal(user.labels[checked], labels[checked])
        np.testing.assert_array_equal(user.status, status)
        assert user.session.segmented
        assert PREVIEW not in user.viewer.layers
        assert not user.session.has_preview
        labels = user.labels
    # each started from the base again, and was compared with the model in use
    assert [(base.spec.name, used.spec.name) for base, _, used in asked] == [
        ("nuclei", "nuclei"),
        ("nuclei", "nuclei-2"),
    ]
    assert {path.stem for path in library.iterdir()} == {"nuclei", "nuclei-2", "nuclei-3"}
    # the segmentation with the new model is a step that can be taken back
    user.press("undo")
    np.testing.assert_array_equal(user.status, status)
    # and the old model with one choice
    user.choose("model", "nuclei")
    assert user.session.model == "nuclei"


@pytest.fixture
def taught_elsewhere(library, make_model):
    """Put a model in the library that was trained further, but not on this image."""
    model = make_model("taught")
    spec = model.spec.model_copy(update={"provenance": {"parent": "nuclei"}})
    save_model(Model(model.network, spec), library / "taught")


def test_a_version_of_this_image_starts_from_its_base_again_and_any_other_model_from_itself(
    taught_elsewhere, teacher, asked
):
    user = teacher
    user.choose("model", "taught")
    for name in ("taught-2", "taught-3"):
        user.train()
        user.press("use_new")
        user.until(lambda: user.idle)
        assert user.session.model == name
    assert [base.spec.name for base, _, _ in asked] == ["taught", "taught"], "what it was taught elsewhere is kept"


def test_what_a_version_started_from_is_known_another_day(start, discs, tmp_path, trainings, asked):
    imwrite(tmp_path / "img.tif", discs())

    def learn_with(model):
        user = start()
        user.choose("model", model)
        user.viewer.open(str(tmp_path / "img.tif"))
        user.until(lambda: user.session.image == "img")
        user.segment()
        if user.session.checked == 0:
            user.press("tool_confirm")
            user.click((12, 12))
            user.press("tool_background")
            user.stroke(np.linspace((60, 30), (60, 40), 4))
        user.train()
        user.press("use_new")
        user.until(lambda: user.idle)
        user.viewer.window.remove_dock_widget(user.panel)
        user.pause()

    learn_with("nuclei")
    learn_with("nuclei-2")
    assert [(base.spec.name, used.spec.name) for base, _, used in asked] == [
        ("nuclei", "nuclei"),
        ("nuclei", "nuclei-2"),
    ]


def test_painting_meanwhile_goes_into_the_next_training(teacher, trainings, asked):
    user = teacher
    labels, status = user.labels, user.status
    trainings.steps = LONG
    user.press("train")
    user.until(lambda: steps(user) > 2)
    user.press("tool_draw")
    user.stroke(np.linspace((40, 4), (40, 16), 4))
    drawn = user.labels.max()
    user.press("tool_delete")
    user.click((12, 44))
    painted, painted_status = user.labels, user.status
    assert drawn > labels.max()
    forecast = user.panel.train.forecast
    assert forecast.text() == "2 newer corrections wait"
    user.undo()
    assert forecast.text() == "1 newer correction waits"
    user.redo()
    was = steps(user)
    user.until(lambda: steps(user) > was)
    user.press("stop")
    user.until(lambda: user.session.has_preview and user.idle)
    assert user.panel.train.verdict.text().startswith("Stopped early.")
    ((_, (sample,), _),) = asked
    np.testing.assert_array_equal(sample.labels, labels)
    np.testing.assert_array_equal(sample.status, status)
    assert_same((user.labels, user.status), (painted, painted_status))
    user.press("use_new")
    user.until(lambda: user.idle)
    checked = painted_status == 1
    np.testing.assert_array_equal(user.labels[checked], painted[checked])
    # that it segmented again is no correction
    assert user.button("train").text() == f"Train on {user.session.checked} checked (2 newer)"
    trainings.steps = 1
    user.train()
    assert user.session.newer == 0
    np.testing.assert_array_equal(asked[1][1][0].status, painted_status)


def test_a_prediction_pauses_the_training(teacher, trainings, discs, many_tiles):
    user = teacher
    trainings.steps = LONG
    user.press("train")
    user.until(lambda: steps(user) > 2)
    user.viewer.add_image(discs(40), name="stack")
    user.choose("image", "stack")
    user.press("segment")
    user.until(lambda: user.session.progress > 0 and "tiles" in user.says)
    was = steps(user)
    progress = user.session.progress
    user.until(lambda: user.session.progress > progress + 10 / 2560)
    assert steps(user) <= was + 1
    assert user.session.training is JobState.RUNNING
    assert "tiles" in user.says, "the status line is about what the user waits for"
    user.press("cancel")
    user.until(lambda: user.session.prediction is JobState.IDLE, 5)
    user.until(lambda: steps(user) > was + 3)
    user.until(lambda: user.says.startswith("Training"))
    # stopped while it is paused: it ends when it may go on
    user.press("segment")
    user.until(lambda: "tiles" in user.says)
    user.press("stop")
    user.press("cancel")
    user.until(lambda: user.session.has_preview and user.idle)


def test_curve_and_verdict_are_shown_for_what_they_belong_to(teacher, discs, make_model, library):
    user = teacher
    save_model(make_model("others"), library / "others")
    user.panel.source.show_models()
    curve = user.panel.findChild(QCollapsible, "curve")
    verdict = user.panel.train.verdict
    user.train()
    mine = verdict.text()
    preview = user.viewer.layers[PREVIEW]
    assert "learned objects" in mine
    user.viewer.add_image(discs(), name="another")
    for choose, back in ((("image", "another"), ("image", "img")), (("model", "others"), ("model", "nuclei"))):
        user.choose(*choose)
        assert not curve.isVisible()
        assert verdict.text() == "The new model was trained on img, from 'nuclei'."
        assert preview.visible == (choose[0] == "model")
        user.choose(*back)
        assert curve.isVisible()
        assert verdict.text() == mine
        assert preview.visible
    # the model that it ended in is what it was for
    user.press("use_new")
    user.until(lambda: user.idle)
    assert curve.isVisible()
    user.choose("image", "another")
    assert not curve.isVisible()
    user.choose("image", "img")
    user.viewer.layers.remove("img")
    user.until(lambda: user.session.image == "another")
    assert not curve.isVisible()


def test_a_preview_goes_with_its_image(teacher):
    user = teacher
    user.train()
    user.viewer.layers.remove("img")
    user.until(lambda: not user.viewer.layers)
    assert user.session.has_preview, "what was learned is not lost"


def test_use_new_waits_for_the_preview(teacher, many_tiles):
    """Pressed as soon as it appears, it still segments with the new model."""
    user = teacher
    user.press("train")
    user.until(lambda: user.session.has_preview)
    assert user.session.prediction is JobState.RUNNING
    assert not user.button("use_new").isEnabled()
    user.until(lambda: user.button("use_new").isEnabled())
    assert user.idle
    user.press("use_new")
    assert user.session.prediction is JobState.RUNNING
    user.until(lambda: user.idle)
    assert user.session.model == "nuclei-2"


def test_a_preview_that_the_user_removes(teacher):
    user = teacher
    user.train()
    user.viewer.layers.remove(PREVIEW)
    user.press("compare")
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.session.model == "nuclei-2"


def test_layers_that_go_away_while_it_trains(teacher, trainings):
    user = teacher
    trainings.steps = LONG
    user.press("train")
    user.until(lambda: steps(user) > 2)
    for name in ("img labels", "img"):
        user.viewer.layers.remove(name)
        was = steps(user)
        user.until(lambda was=was: steps(user) > was)  # what was learned is not lost
    user.panel.workbench.learning.stop()
    user.until(lambda: user.session.has_preview and user.idle)
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.session.model == "nuclei-2"


def test_a_new_model_learns_from_nothing(user, trainings, library):
    user.choose("model", "New model...")
    user.write("new_name", "yeast")
    user.press("create")
    user.document.editable.brush_size = 9
    user.click((12, 12))
    user.click((12, 44))
    user.press("tool_background")
    user.stroke(np.linspace((24, 4), (24, 40), 4))
    user.train()
    assert not (library / "yeast.safetensors").exists()
    checked, labels = user.status == 1, user.labels
    user.press("use_new")
    user.until(lambda: user.idle)
    assert user.session.model == user.combo("model").currentText() == "yeast"
    model = load_model("yeast")
    assert model.spec.classes[0].name == "yeast"
    np.testing.assert_array_equal(user.labels[checked], labels[checked])


def test_a_model_that_cannot_be_saved_is_used_all_the_same(teacher, monkeypatch):
    def full(*_):
        raise ModelFileError("The model cannot be saved (disk full). Choose another folder.")

    monkeypatch.setattr(learning, "save_model", full)
    user = teacher
    user.train()
    user.press("use_new")
    assert "disk full" in user.says
    user.until(lambda: user.idle)
    assert user.session.model == user.combo("model").currentText() == "nuclei-2"

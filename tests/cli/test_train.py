"""Training from the command line: recipes that are repeated, runs that go on, classes, labels beside their images."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile

from napari_unet import Annotated, ModelSpec, TrainConfig, save_model
from napari_unet.errors import ConfigError
from napari_unet.events import Notice
from napari_unet.images import read_image, write_labels
from napari_unet.models import load_model_file
from napari_unet.training.run import Run as TrainingRun
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet import Model

Run = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("small_networks")

CPU = ("--device", "cpu", "--threads", 1)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return settings that are quick, and that nobody would have by default."""
    path = tmp_path / "quick.toml"
    path.write_text(
        "steps = 3\nbatch = 2\npatch = 32\nseed = 5\nvalidation = 0.1\ntune_thresholds = false\n# mine\n"
        'precision = "float32"\n'
    )
    return path


def weights(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.numpy() for name, tensor in load_model_file(path).network.state_dict().items()}


def assert_same_weights(one: Path, two: Path, *, same: bool = True) -> None:
    a, b = weights(one), weights(two)
    assert all(np.array_equal(a[name], b[name]) for name in a) is same


def capture(monkeypatch: pytest.MonkeyPatch, name: str) -> dict[str, Any]:
    """Return a place where what a training is called with is kept; it does not run."""
    found: dict[str, Any] = {}

    def take(*arguments: Any, **others: Any) -> Any:
        found.update(others, arguments=arguments)
        raise ConfigError("far enough")

    monkeypatch.setattr(f"napari_unet.training.{name}", take)
    return found


# recipes


def test_recipe_beside_a_model_trains_the_same_weights_again(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path
) -> None:
    first = run("train", *folders, "-o", tmp_path / "a", "--config", recipe, *CPU)
    assert first.code == 0, first.err
    assert str(tmp_path / "a.toml") in first.out
    assert "gives the same weights" in first.out
    written = TrainConfig.from_toml(tmp_path / "a.toml")
    assert (written.seed, written.steps, written.validation, written.threads) == (5, 3, 0.1, 1)
    assert run("train", *folders, "-o", tmp_path / "b", "--config", tmp_path / "a.toml").code == 0
    assert_same_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert run("train", *folders, "-o", tmp_path / "c", "--config", tmp_path / "a.toml", "--seed", 6).code == 0
    assert_same_weights(tmp_path / "a.safetensors", tmp_path / "c.safetensors", same=False)
    assert TrainConfig.from_toml(tmp_path / "c.toml").seed == 6


def test_options_win_over_the_recipe_and_leave_the_rest_of_it(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = capture(monkeypatch, "iter_fine_tune")
    command = ("fine-tune", *folders, "-o", tmp_path / "m", "--config", recipe)
    run(*command, "--minutes", 2, "--validation", 0, "--device", "cpu")
    _, _, config = found["arguments"]
    assert (config.minutes, config.steps, config.validation, config.seed) == (2, None, 0, 5)
    assert (config.device, config.batch) == ("cpu", 2)
    run(*command)
    assert found["arguments"][2] == TrainConfig.from_toml(recipe)
    run("fine-tune", *folders, "-o", tmp_path / "m")
    assert found["arguments"][2] == TrainConfig()
    recipe.write_text("stepps = 3")
    assert "quick.toml: stepps" in run(*command).error
    assert "cannot be read" in run(*command[:-1], tmp_path / "no.toml").error


def test_recipe_that_a_person_wrote_is_not_written_over(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path
) -> None:
    command = ("train", *folders, "-o", tmp_path / "quick", "--config", recipe, *CPU)
    before = recipe.read_text()
    assert run(*command, "--json").json["recipe"] == str(tmp_path / "quick.used.toml")
    assert recipe.read_text() == before
    used = (tmp_path / "quick.used.toml").read_text()
    recipe.write_text(f"{used}# mine\n")
    assert run(*command, "--json").json["recipe"] == str(recipe), "it says all already"
    assert recipe.read_text().endswith("# mine\n")


def test_recipe_of_the_paper_has_its_network(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = capture(monkeypatch, "iter_train")
    command = ("train", *folders, "-o", tmp_path / "paper", "--recipe", "ronneberger2015")
    run(*command, "--steps", 7, "--classes", "cell")
    _, config = found["arguments"]
    assert config == TrainConfig.ronneberger2015(steps=7)
    expected = ModelSpec.ronneberger2015("paper")
    assert found["spec"].network == expected.network
    assert found["spec"].decoder.kind == "components"
    assert [one.name for one in found["spec"].classes] == ["cell"]
    assert "finds objects in planes" in run(*command, "--dims", 3).error
    assert "finds objects in planes" in run(*command, "--task", "semantic").error


def test_training_starts_from_the_weights_of_another_model(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path
) -> None:
    command = ("train", *folders, "--config", recipe, *CPU)
    assert run(*command, "-o", tmp_path / "first", "--steps", 6).code == 0
    # hardly a step is made: what is there is what it started from
    tiny = tmp_path / "tiny.toml"
    tiny.write_text(f"{recipe.read_text()}\nlearning_rate = 1e-12\nweight_decay = 0.0\n")
    tiny_command = ("train", *folders, "--config", tiny, "--steps", 1, *CPU)
    assert run(*tiny_command, "-o", tmp_path / "on", "--start", tmp_path / "first.safetensors").code == 0
    assert run(*tiny_command, "-o", tmp_path / "fresh").code == 0
    first, on, fresh = (weights(tmp_path / f"{name}.safetensors") for name in ("first", "on", "fresh"))
    kernel = "contracting.0.0.weight"
    np.testing.assert_allclose(on[kernel], first[kernel], atol=1e-6)
    assert not np.allclose(fresh[kernel], first[kernel], atol=1e-4)
    assert "no model 'nothing'" in run(*command, "-o", tmp_path / "m", "--start", "nothing").error


# going on


def break_off(monkeypatch: pytest.MonkeyPatch, after: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a training; checkpoints are written after each step."""
    real, count = Trainer.step, iter(range(1000))

    def step(self: Trainer, budget: Any) -> Any:
        if next(count) == after:
            act()
        return real(self, budget)

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr("napari_unet.training.run.CHECKPOINT_SECONDS", 0)


def fail() -> None:
    raise KeyboardInterrupt


def test_training_that_was_killed_goes_on_with_the_same_command(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("train", *folders, "--config", recipe, "--steps", 5, *CPU)
    assert run(*command, "-o", tmp_path / "whole").code == 0
    with monkeypatch.context() as patch:
        break_off(patch, 3, fail)
        assert run(*command, "-o", tmp_path / "broken").code != 0
    assert (tmp_path / "broken.checkpoint").exists()
    assert not (tmp_path / "broken.safetensors").exists()
    assert "is of another training" in run(*command, "-o", tmp_path / "broken", "--seed", 8).error
    answer = run(*command, "-o", tmp_path / "broken")
    assert answer.code == 0, answer.err
    assert "Going on from step 3" in answer.out
    assert_same_weights(tmp_path / "whole.safetensors", tmp_path / "broken.safetensors")
    assert not (tmp_path / "broken.checkpoint").exists()


def test_interrupt_keeps_the_best_and_the_same_command_goes_on(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "kept" / "here"
    command = ("train", *folders, "-o", tmp_path / "m", "--config", recipe, "--checkpoint", checkpoint, *CPU)
    with monkeypatch.context() as patch:
        break_off(patch, 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        answer = run(*command)
    assert answer.code == 0, answer.err
    assert f"delete {checkpoint} to begin anew" in answer.out
    assert load_model_file(tmp_path / "m.safetensors").spec.provenance["steps"] == 2
    document = run(*command, "--json").json
    assert (document["steps"], document["stopped"], document["checkpoint"]) == (3, False, None)
    assert document["notices"] == ["Going on from step 2, where the training was broken off."]
    assert not checkpoint.exists()


def test_notices_are_printed(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TrainingRun.events

    def with_notice(self: TrainingRun) -> Any:
        yield Notice("cuda has too little memory.", "out_of_memory")
        yield from real(self)

    monkeypatch.setattr(TrainingRun, "events", with_notice)
    assert "cuda has too little memory." in run("train", *folders, "-o", tmp_path / "m", "--config", recipe, *CPU).out


# what is told of the result


def test_fine_tuning_is_compared_with_the_model_before(
    run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path, recipe: Path
) -> None:
    command = ("fine-tune", *folders, "-m", discs_file, "-o", tmp_path / "m", "--config", recipe, *CPU)
    answer = run(*command)
    assert answer.code == 0, answer.err
    (line,) = (line for line in answer.out.splitlines() if line.startswith("Compared with tiny:"))
    assert "objects it has learned from" in line
    assert line.endswith("look at both.")
    paired = run(*command, "--json").json["paired"]
    assert paired["advice"] == "unsure"
    assert paired["total"] == 16
    assert not paired["held_out"]


# classes


@pytest.fixture
def classes_folders(folders: tuple[Path, Path]) -> tuple[Path, Path]:
    """Return images with labels of three classes."""
    images, labels = folders
    for path in labels.iterdir():
        truth = read_image(path).data
        write_labels(path, np.where(truth > 0, truth % 3 + 1, 0), "YX")
    return images, labels


@pytest.fixture
def two_classes(tiny_model: Callable[..., Model], tmp_path: Path) -> Path:
    classes = ({"name": "cell", "color": "#112233"}, {"name": "nucleus"})
    return save_model(tiny_model(task="semantic", classes=classes), tmp_path / "two")


def test_classes_are_added_to_a_model(
    run: Run, classes_folders: tuple[Path, Path], two_classes: Path, tmp_path: Path, recipe: Path
) -> None:
    command = ("fine-tune", *classes_folders, "-m", two_classes, "-o", tmp_path / "m", "--config", recipe, *CPU)
    error = run(*command).error
    assert "holds class 3, and the classes are 1 cell, 2 nucleus. Name each new one with --add-class." in error
    answer = run(*command, "--add-class", "debris")
    assert answer.code == 0, answer.err
    assert "mean IoU" not in answer.out
    assert "areas of a class it has learned from" in answer.out
    spec = load_model_file(tmp_path / "m.safetensors").spec
    assert [one.name for one in spec.classes] == ["cell", "nucleus", "debris"]
    assert len({one.color for one in spec.classes}) == 3
    assert spec.classes[0].color == "#112233"
    assert "has a class 'cell' already" in run(*command, "--add-class", "cell").error
    assert "has a class 'x' already" in run(*command, "--add-class", "x", "--add-class", "x").error


def test_classes_need_names_that_fit(
    run: Run, classes_folders: tuple[Path, Path], discs_file: Path, tmp_path: Path, recipe: Path
) -> None:
    command = ("train", *classes_folders, "-o", tmp_path / "m", "--task", "semantic", "--config", recipe, *CPU)
    assert "the classes are 1 a, 2 b. Name them all with --classes" in run(*command, "--classes", "a, b").error
    assert "names a class twice" in run(*command, "--classes", "a,b,a").error
    assert "one has no name" in run(*command, "--classes", "a,,b").error
    assert run(*command, "--classes", "a, b, c").code == 0
    assert len({one.color for one in load_model_file(tmp_path / "m.safetensors").spec.classes}) == 3
    objects = ("fine-tune", *classes_folders, "-m", discs_file, "-o", tmp_path / "m", "--add-class", "b")
    assert "finds one kind of object" in run(*objects).error


# labels beside their images


@pytest.mark.parametrize(
    ("image", "labels"),
    [("{}.tif", "{}_masks.tif"), ("{}.tif", "{}_cp_masks.png"), ("{}_img.png", "{}_masks.png"),
     ("{}_img.png", "{}_img_cp_masks.png"), ("{}.tif", "{}_label.tif"), ("{}.ome.tif", "{}-labels.ome.tif")],
)  # fmt: skip
@pytest.mark.parametrize("given", [0, 1])
def test_labels_beside_their_images(
    run: Run, tmp_path: Path, discs: Any, monkeypatch: pytest.MonkeyPatch, image: str, labels: str, given: int
) -> None:
    found = capture(monkeypatch, "iter_train")
    folder = tmp_path / "both"
    folder.mkdir()
    for number, name in enumerate(("a", "b")):
        pixels, truth = discs((32, 32), 5, count=3, seed=number)
        for pattern, array in ((image, pixels), (labels, truth.astype(np.uint16))):
            write = imageio.imwrite if pattern.endswith("png") else tifffile.imwrite
            write(folder / pattern.format(name), array)
    if "-labels" not in labels:
        write_labels(folder / "a-labels.ome.tif", np.ones((32, 32), np.int32), "YX")  # a prediction: no truth
    run("train", folder, *[folder] * given, "-o", tmp_path / "m")
    samples: list[Annotated] = found["arguments"][0]
    assert [one.name for one in samples] == [image.format(name) for name in "ab"]
    for number, one in enumerate(samples):
        np.testing.assert_array_equal(one.labels, discs((32, 32), 5, count=3, seed=number)[1])


def test_labels_that_cannot_be_told_are_refused(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, _ = folders
    command = ("train", images, "-o", tmp_path / "m")
    assert "There are no labels in" in run(*command).error
    (images / "a.tif").rename(images / "b_masks.tif")
    write_labels(images / "b_labels.tif", np.ones((64, 64), np.int32), "YX")
    assert "b.tif has several label images: b_labels" in run(*command).error
    for path in (images / "b.tif", *images.glob("b_labels*")):
        path.unlink()
    assert "There are no images in" in run(*command).error

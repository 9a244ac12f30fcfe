"""The command line as a person or a script uses it: files in, files out, one clear line where something is wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_unet import Model, NetworkSpec, save_model
from napari_unet.cli.app import stop_on_interrupt
from napari_unet.images import read_image, write_labels
from napari_unet.models import library_folder, load_model_file

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., Any]

COMMANDS = ["predict", "fine-tune", "train", "evaluate", "export-rois", "models", "info", "doctor", "demo"]


QUICK = ("--steps", 1, "--device", "cpu", "--threads", 1)

# help


def test_without_a_command_it_tells_which_there_are(run: Run) -> None:
    answer = run()
    lines = (answer.out + answer.err).partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS
    assert not any(line.endswith("...") for line in lines), "each is told in full"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, run: Run) -> None:
    answer = run(command, "--help")
    assert answer.code == 0
    assert f"napari-unet {command}" in " ".join(answer.out.split())
    assert len(answer.out.splitlines()) > 5


@pytest.mark.parametrize("arguments", [("segment",), ("predict",), ("train", "--stepps", "3"), ("train", "a", "b")])
def test_wrong_usage_is_2(arguments: tuple[str, ...], run: Run) -> None:
    answer = run(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err


# train


def test_train_writes_a_model_that_loads(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    answer = run("train", *folders, "-o", tmp_path / "out" / "mine", "--classes", "nucleus", *QUICK)
    assert answer.code == 0, answer.err
    model = load_model_file(tmp_path / "out" / "mine.safetensors")
    assert model.spec.name == "mine"
    assert [c.name for c in model.spec.classes] == ["nucleus"]
    assert model.spec.network == NetworkSpec()
    assert model.spec.object_diameter_px == pytest.approx(10, rel=0.15)
    assert "mine.safetensors (too few objects to hold any out" in answer.out


@pytest.mark.usefixtures("small_networks")
def test_train_answers_machines_in_json_and_is_repeatable(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    documents = [run("train", *folders, "-o", tmp_path / name, "--json", "--seed", 3, *QUICK).json for name in "xy"]
    assert documents[0] == {
        "model": str(tmp_path / "x.safetensors"), "recipe": str(tmp_path / "x.toml"), "steps": 1, "score": None,
        "paired": None, "notices": [], "stopped": False, "checkpoint": None,
    }  # fmt: skip
    one, two = (load_model_file(document["model"]).network.state_dict() for document in documents)
    assert all(bool((tensor == two[name]).all()) for name, tensor in one.items())


@pytest.mark.usefixtures("small_networks")
def test_train_classes(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = folders
    for path in labels.iterdir():
        write_labels(path, read_image(path).data % 3, "YX")
    answer = run("train", images, labels, "-o", tmp_path / "m", "--task", "semantic", *QUICK)
    assert answer.code == 0, answer.err
    spec = load_model_file(tmp_path / "m.safetensors").spec
    assert [m.name for m in spec.maps] == ["background", "class 1", "class 2"]
    named = run("train", *folders, "-o", tmp_path / "n", "--task", "semantic", "--classes", "cell, debris", *QUICK)
    assert named.code == 0, named.err
    assert [c.name for c in load_model_file(tmp_path / "n.safetensors").spec.classes] == ["cell", "debris"]


@pytest.mark.usefixtures("small_networks")
def test_train_volumes_of_several_channels(run: Run, tmp_path: Path, rng: np.random.Generator) -> None:
    labels = np.zeros((6, 40, 40), np.int32)
    labels[2:4, 10:20, 10:20] = 1
    image = rng.integers(0, 255, (6, 2, 40, 40), np.uint8)
    (tmp_path / "i").mkdir()
    tifffile.imwrite(tmp_path / "i" / "a.tif", image, imagej=True, metadata={"axes": "ZCYX"})
    write_labels(tmp_path / "l" / "a.tif", labels, "ZYX")
    answer = run("train", tmp_path / "i", tmp_path / "l", "-o", tmp_path / "m", "--dims", 3, *QUICK)
    assert answer.code == 0, answer.err
    spec = load_model_file(tmp_path / "m.safetensors").spec
    assert spec.spatial_dims == 3
    assert spec.channels == ("channel 0", "channel 1")


def test_train_refuses_what_cannot_work(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = folders
    out = ("-o", tmp_path / "m")
    assert "is not a folder" in run("train", tmp_path / "no", labels, *out, *QUICK).error
    assert "give minutes or steps, not both" in run("train", images, labels, *out, "--minutes", 1, *QUICK).error
    assert "validation" in run("train", images, labels, *out, "--validation", 0.9, *QUICK).error
    assert "one kind of object" in run("train", images, labels, *out, "--classes", "a,b", *QUICK).error
    assert "'tpu' cannot be used" in run("train", images, labels, *out, "--steps", 1, "--device", "tpu").error
    assert "axes are given as 'ZYX'" in run("train", images, labels, *out, "--axes", "ZYX", *QUICK).error
    for path in labels.iterdir():
        write_labels(path, np.zeros((64, 64), np.int32), "YX")
    assert "No object is checked" in run("train", images, labels, *out, *QUICK).error
    assert "classes are numbered from 1" in run("train", images, labels, *out, "--task", "semantic", *QUICK).error
    (labels / "b.tif").unlink()
    assert "1 of 2 images have no labels of the same name" in run("train", images, labels, *out, *QUICK).error
    (images / "a.tif").write_text("hello")
    (images / "b.tif").unlink()
    assert "a.tif cannot be read" in run("train", images, labels, *out, *QUICK).error
    assert not (tmp_path / "m.safetensors").exists()


def test_object_labels_are_not_mistaken_for_classes(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    images, labels = folders
    write_labels(labels / "a.tif", np.arange(64 * 64, dtype=np.int32).reshape(64, 64), "YX")
    answer = run("train", images, labels, "-o", tmp_path / "m", "--task", "semantic", *QUICK)
    assert "--task instances" in answer.error


def test_place_that_cannot_be_written_is_found_before_training(
    run: Run, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_unet.training.iter_train", lambda *_, **__: iter(["a step, already"]))
    (tmp_path / "file").touch()
    answer = run("train", *folders, "-o", tmp_path / "file" / "m.safetensors", *QUICK)
    assert "Choose another --output" in answer.error


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_groups_come_from_a_table(mark: str, run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "index.csv"
    command = ("train", *folders, "-o", tmp_path / "m", "--groups", table, "--group-column", "well", *QUICK)
    assert "cannot be read" in run(*command).error
    table.write_text(f"{mark}file,plate\na.tif,1\nb.tif,1\n", encoding="utf-8")
    assert "needs the columns 'file' and 'well'" in run(*command).error
    table.write_text(f"{mark}file,well\na.tif,1\n", encoding="utf-8")
    assert "no row for b.tif" in run(*command).error
    table.write_text(f"{mark}file,well\na.tif,1\nb.png,1\n\n", encoding="utf-8")
    assert run(*command).code == 0


def test_first_interrupt_stops_in_order_and_the_second_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


# fine-tune


def test_fine_tune_goes_on_from_a_model(run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path) -> None:
    before = discs_file.read_bytes()
    answer = run("fine-tune", *folders, "-m", discs_file, "-o", tmp_path / "tuned", *QUICK)
    assert answer.code == 0, answer.err
    assert discs_file.read_bytes() == before
    tuned = load_model_file(tmp_path / "tuned.safetensors")
    assert tuned.spec.provenance["parent"] == "tiny"
    assert tuned.spec.network.features == (8, 12, 16)


def test_fine_tune_on_objects_that_are_dark_instead_of_bright(
    run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path
) -> None:
    images, labels = folders
    for path in images.iterdir():
        pixels = tifffile.imread(path)
        tifffile.imwrite(path, pixels.max() - pixels)
    before = load_model_file(discs_file).spec
    answer = run("fine-tune", images, labels, "-m", discs_file, "-o", tmp_path / "dark", "--dark", *QUICK)
    assert answer.code == 0, answer.err
    tuned = tmp_path / "dark.safetensors"
    assert load_model_file(tuned).spec.percentiles == before.percentiles[::-1]
    assert run("predict", images / "a.tif", "-m", tuned, "-o", tmp_path / "out", "--json").json["files"][0]["objects"]


def test_fine_tune_needs_a_model_that_is_there(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    answer = run("fine-tune", *folders, "-m", "nothing", "-o", tmp_path / "m", *QUICK)
    assert "no model 'nothing'" in answer.error


# evaluate, models, info


def test_evaluate_refuses_labels_of_other_images(run: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, labels = folders
    write_labels(tmp_path / "other" / "a.tif", np.zeros((64, 64), np.int32), "YX")
    assert "1 of 2 images have no labels" in run("evaluate", labels, tmp_path / "other").error
    write_labels(tmp_path / "other" / "b.tif", np.zeros((5, 5), np.int32), "YX")
    told = run("evaluate", labels, tmp_path / "other").error
    assert "Compare labels of one image" in told
    assert str(labels / "b.tif") in told, "which of them it is"


def test_models_lists_those_that_can_be_named(run: Run, tiny_model: Callable[..., Model]) -> None:
    own = save_model(tiny_model(), library_folder() / "mine")
    (library_folder() / "broken.safetensors").write_text("hello")
    answer = run("models")
    assert answer.code == 0, "one damaged file does not hide the others"
    lines = {line.split()[0]: line for line in answer.out.splitlines()}
    assert "2-D instances: object" in lines["mine"]
    assert str(own) in lines["mine"]
    assert "not a model file" in lines["broken"]
    assert run("models", "--json").json["mine"] == str(own)


def test_info_tells_what_a_model_is(run: Run, discs_file: Path, tmp_path: Path) -> None:
    document = run("info", discs_file, "--json").json
    assert document["path"] == str(discs_file)
    assert document["task"] == "instances"
    assert len(document["sha256"]) == 64
    assert document["provenance"]["steps"] == 120
    text = run("info", discs_file)
    assert text.code == 0
    for word in ("instances: object", "10 px", "(8, 12, 16)", "boundary_distance", "steps 120"):
        assert word in text.out
    assert "no model 'nothing'" in run("info", "nothing").error
    (tmp_path / "a.safetensors").write_text("hello")
    assert "not a model file" in run("info", tmp_path / "a.safetensors").error

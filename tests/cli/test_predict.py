"""Segmenting files from the command line: what is read, what is written, what is skipped and what is told."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_unet import Model, average_precision, save_model
from napari_unet.images import open_image, read_image, read_provenance, write_labels

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., Any]


def test_predict_a_folder_and_evaluate_it(
    run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path
) -> None:
    images, labels = folders
    out = tmp_path / "out"
    answer = run("predict", images, "-m", discs_file, "-o", out, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "b.tif"]
    for name in ("a.tif", "b.tif"):
        found, truth = read_image(out / name), read_image(labels / name)
        assert found.axes == "YX"
        assert average_precision(truth.data, found.data) > 0.6
        assert f"{name}: {found.data.max()} objects -> {out / name}" in answer.out

    scores = run("evaluate", labels, out, "--json").json
    assert [row["file"] for row in scores["files"]] == ["a.tif", "b.tif"]
    assert set(scores["mean"]) == {"AP50", "AP75", "AP90", "foreground_iou"}
    assert scores["mean"]["AP50"] == pytest.approx(np.mean([row["AP50"] for row in scores["files"]]))
    assert scores["mean"]["AP50"] > 0.6
    text = run("evaluate", labels, out).out
    assert f"AP50 {scores['mean']['AP50']:.3f}" in text
    assert "mean of 2" in text
    perfect = run("evaluate", labels, labels, "--json").json["mean"]
    assert set(perfect.values()) == {1.0}


def test_predict_finds_the_size_of_the_objects_in_each_image(
    run: Run, discs: Any, discs_file: Path, tmp_path: Path
) -> None:
    truth = {}
    for name, radius, side in (("large", 20, 256), ("small", 5, 64)):
        image, truth[name] = discs((side, side), radius, count=8)
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    command = ("predict", *(tmp_path / f"{name}.tif" for name in truth), "-m", discs_file, "--device", "cpu")
    files = run(*command, "-o", tmp_path / "found", "--json").json["files"]
    assert [one["object_diameter_px"] for one in files] == [pytest.approx(40, rel=0.15), None]
    assert "large.tif: the objects are about" in files[0]["notes"][-1]
    for name, labels in truth.items():
        assert average_precision(labels, read_image(tmp_path / "found" / f"{name}.tif").data) > 0.6
    assert len(run(*command, "-o", tmp_path / "found", "--json").json["skipped"]) == 2
    files = run(*command, "-o", tmp_path / "found", "--object-size", "none", "--json").json["files"]
    assert [one["scale"] for one in files] == [1, 1]
    (told,) = run(*command, "-o", tmp_path / "given", "--object-size", 30).out.split("large.tif: ")[1:]
    assert "px wide" not in told
    assert "is no number" in run(*command, "--object-size", "big").error
    assert "greater than or equal to 2" in run(*command, "--object-size", 1).error


def test_predict_tells_the_bad_files_and_does_the_others(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path
) -> None:
    images, _ = folders
    (images / "broken.tif").write_bytes((images / "a.tif").read_bytes()[:3000])
    tifffile.imwrite(
        images / "three.tif", np.zeros((3, 20, 20), np.uint8), photometric="minisblack", metadata={"axes": "CYX"}
    )
    command = ("predict", images, images / "missing.tif", "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    answer = run(*command)
    assert answer.code == 1
    assert answer.out.count(" -> ") == 2
    told = {line.split(":")[0].rpartition("/")[2]: line for line in answer.err.splitlines()}
    assert set(told) == {"broken.tif", "three.tif", "missing.tif"}
    assert "broken.tif was cut off" in told["broken.tif"]
    assert "3 channels" in told["three.tif"]
    assert "no image" in told["missing.tif"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]

    machine = run(*command, "--json")
    assert machine.code == 1
    document = json.loads(machine.out)
    assert [len(document[key]) for key in ("files", "skipped", "failed")] == [0, 2, 3]
    assert document["skipped"][0]["image"] == str(images / "a.tif")


def test_predict_says_how_it_was_done(run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path) -> None:
    path = folders[0] / "a.tif"
    document = run("predict", path, "-m", tiny_file, "-o", tmp_path, "--device", "cpu", "--json").json
    (entry,) = document["files"]
    assert document["model"] == "tiny"
    assert entry["labels"] == str(tmp_path / "a.tif")
    assert entry["objects"] == read_image(tmp_path / "a.tif").data.max()
    assert entry["device"] == "cpu"


def test_predict_counts_classes_as_classes(
    run: Run, folders: tuple[Path, Path], tiny_model: Callable[..., Model], tmp_path: Path
) -> None:
    model = save_model(tiny_model(task="semantic"), tmp_path / "semantic")
    document = run("predict", folders[0] / "a.tif", "-m", model, "-o", tmp_path, "--device", "cpu", "--json").json
    assert "objects" not in document["files"][0]
    assert document["files"][0]["classes"] <= 1


def test_predict_a_stack_needs_its_axes_and_keeps_them(
    run: Run, tiny_file: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as file:
        for plane in rng.integers(0, 255, (4, 24, 24), np.uint8):
            file.write(plane, contiguous=False, metadata=None, photometric="minisblack")
    command = ("predict", path, "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    assert "Give them with --axes" in run(*command).err
    assert run(*command, "--axes", "tyx").code == 0
    assert read_image(tmp_path / "out" / "stack.tif").axes == "TYX"


def test_predict_says_once_that_volumes_are_blended_unless_told_to_be_exact(
    run: Run, tiny_model: Callable[..., Model], tmp_path: Path, rng: np.random.Generator
) -> None:
    images = tmp_path / "volumes"
    images.mkdir()
    for name in "ab":
        tifffile.imwrite(images / f"{name}.tif", rng.integers(0, 99, (9, 20, 24), np.uint8), metadata={"axes": "ZYX"})
    model = tiny_model(network={"spatial_dims": 3, "features": (2, 2, 2, 2)})
    save_model(model, tmp_path / "deep.safetensors")
    command = ("predict", images, "-m", tmp_path / "deep.safetensors", "-o", tmp_path / "out", "--device", "cpu")
    answer = run(*command, "--axes", "ZYX")
    assert answer.code == 0, answer.err
    assert (answer.out + answer.err).count("blended") == 1
    assert read_provenance(tmp_path / "out" / "a.tif")["halo"] == "blended"
    answer = run(*command, "--axes", "ZYX", "--halo", "exact", "--overwrite")
    assert "blended" not in answer.out + answer.err
    assert read_provenance(tmp_path / "out" / "a.tif")["halo"] == "exact"


def test_predict_chooses_channels(run: Run, tiny_file: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    imageio.imwrite(tmp_path / "c.png", rng.integers(0, 255, (24, 24, 3), np.uint8))
    command = ("predict", tmp_path / "c.png", "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    assert run(*command).code == 0, "the brightness"
    assert run(*command, "--channel", 1).code == 0
    tifffile.imwrite(
        tmp_path / "c.tif",
        rng.integers(0, 255, (3, 24, 24), np.uint8),
        photometric="minisblack",
        metadata={"axes": "CYX"},
    )
    command = ("predict", tmp_path / "c.tif", "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu", "--overwrite")
    assert run(*command).code == 2
    assert run(*command, "--channel", 1).code == 0


def test_predict_never_overwrites_an_image(run: Run, folders: tuple[Path, Path], tiny_file: Path) -> None:
    images, _ = folders
    before = (images / "a.tif").read_bytes()
    answer = run("predict", images, "-m", tiny_file, "-o", images, "--device", "cpu")
    assert "would overwrite the image" in answer.error
    assert (images / "a.tif").read_bytes() == before


def test_predict_never_writes_two_images_to_one_file(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path
) -> None:
    images, _ = folders
    imageio.imwrite(images / "a.png", np.zeros((20, 20), np.uint8))
    assert run("predict", images, "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-png.tif", "a-tif.tif", "b.tif"]
    for name in ("a-png.tif", "a-tif.tif"):
        assert read_image(tmp_path / "out" / name).shape == ((20, 20) if "png" in name else (64, 64))


def test_predict_tells_what_is_wrong_before_it_starts(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path
) -> None:
    images, _ = folders
    (tmp_path / "empty").mkdir()
    assert "No images in" in run("predict", tmp_path / "empty", "-m", tiny_file, "-o", tmp_path).error
    assert "no model 'nothing'" in run("predict", images, "-m", "nothing", "-o", tmp_path / "out").error
    assert "not a model file" in run("predict", images, "-m", images / "a.tif", "-o", tmp_path / "out").error
    command = ("predict", images, "-m", tiny_file, "-o", tmp_path / "out")
    assert "Error: --object-size: Input should be" in run(*command, "--object-size", 1).error
    assert "Error: --tile: Input should be" in run(*command, "--tile", "64,x").error
    assert "is a folder. Give a model file" in run("predict", images, "-m", images).error
    answer = run("predict", images, "-m", tiny_file, "-o", tiny_file / "out", "--device", "cpu")
    assert answer.code == 2
    assert "Choose another folder" in answer.err


# what is written


def test_labels_lie_beside_their_images_and_are_not_taken_for_images(
    run: Run, folders: tuple[Path, Path], tiny_file: Path
) -> None:
    images, _ = folders
    command = ("predict", images, "-m", tiny_file, "--device", "cpu")
    assert run(*command).code == 0
    names = ["a-labels.ome.tif", "a.tif", "b-labels.ome.tif", "b.tif"]
    assert sorted(path.name for path in images.iterdir()) == names
    assert len(run(*command, "--json").json["skipped"]) == 2
    assert sorted(path.name for path in images.iterdir()) == names


@pytest.mark.parametrize("kind", ["ome-tiff", "ome-zarr"])
def test_labels_have_axes_scale_and_provenance(
    run: Run, tiny_file: Path, tmp_path: Path, rng: np.random.Generator, kind: str
) -> None:
    image = rng.integers(0, 255, (3, 2, 24, 24), np.uint8)
    metadata = {
        "axes": "ZCYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 1.5,
        "Channel": {"Name": ["DAPI", "actin"]},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "s.ome.tif", image, ome=True, compression="zlib", metadata=metadata)
    command = ("predict", tmp_path / "s.ome.tif", "-m", tiny_file, "--format", kind, "--device", "cpu")
    assert (
        "has no channel 'GFP' of its own. It tells these names: DAPI, actin" in run(*command, "--channels", "GFP").err
    )
    answer = run(*command, "--channels", "actin", "--min-size", 0, "--json").json
    suffix = ".ome.tif" if kind == "ome-tiff" else ".ome.zarr"
    assert answer["files"][0]["labels"] == str(tmp_path / f"s-labels{suffix}")
    labels = open_image(tmp_path / f"s-labels{suffix}")
    assert (labels.axes, labels.shape) == ("ZYX", (3, 24, 24))
    assert labels.pixel_size_um == {"Z": 1.5, "Y": 0.25, "X": 0.25}
    made = read_provenance(labels.path)
    assert made is not None
    assert (made["model"], made["image"], made["decoder"]["min_size"]) == ("tiny", "s.ome.tif", 0)
    assert made["recipe"]["settings"]["channels"] == [1]


def test_images_of_many_kinds_at_once(run: Run, tiny_file: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    imageio.imwrite(folder / "a.png", rng.integers(0, 255, (24, 30), np.uint8))
    tifffile.imwrite(folder / "b.tif", rng.integers(0, 255, (24, 30), np.uint16).astype(">u2"), byteorder=">")
    zarr.create_array(folder / "c.zarr", data=rng.random((24, 30)), dimension_names=["y", "x"])
    answer = run("predict", folder / "*", "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert {path.name: read_image(path).shape for path in (tmp_path / "out").iterdir()} == dict.fromkeys(
        ["a.tif", "b.tif", "c.tif"], (24, 30)
    )


def pyramid(path: Path, image: Any) -> Path:
    group = zarr.open_group(path, mode="w")
    datasets = []
    for level in range(3):
        group.create_array(str(level), data=image[:: 2**level, :: 2**level])
        scale = {"type": "scale", "scale": [0.5 * 2**level] * 2}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path


def test_pyramid_is_read_at_the_level_that_suits_the_model(
    run: Run, tmp_path: Path, tiny_model: Callable[..., Model], rng: np.random.Generator
) -> None:
    model = save_model(tiny_model(object_diameter_px=10.0), tmp_path / "ten")
    path = pyramid(tmp_path / "a.ome.zarr", rng.integers(0, 255, (64, 64), np.uint8))
    command = ("predict", path, "-m", model, "-o", tmp_path / "out", "--device", "cpu", "--overwrite")
    out = tmp_path / "out" / "a.tif"
    for given, shape, um in [
        ((), (64, 64), 0.5),
        (("--object-size", 40), (16, 16), 2.0),
        (("--object-size", 22), (32, 32), 1.0),
        (("--level", 1), (32, 32), 1.0),
    ]:
        assert run(*command, *given).code == 0
        labels = open_image(out)
        assert (labels.shape, labels.pixel_size_um["X"]) == (shape, um)
    run(*command, "--object-size", 40, "--level", 1)
    made = read_provenance(out)
    assert made is not None
    assert made["recipe"]["settings"]["object_diameter_px"] == 20, "in pixels of the level"
    assert made["scale"] == 0.5
    assert "has 3 levels" in run(*command, "--level", 7).err


# what is skipped


def test_only_what_changed_is_done_again(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tiny_model: Callable[..., Model], tmp_path: Path
) -> None:
    images, _ = folders
    out = tmp_path / "out"

    def done(*arguments: object, model: Path = tiny_file) -> list[str]:
        answer = run("predict", images, "-m", model, "-o", out, "--device", "cpu", "--json", *arguments).json
        assert len(answer["files"]) + len(answer["skipped"]) == 2
        return [entry["image"][-5:] for entry in answer["files"]]

    assert done() == ["a.tif", "b.tif"]
    before = (out / "a.tif").stat().st_mtime_ns
    assert done() == []
    assert done("--batch", 1) == [], "how fast it goes makes no other labels"
    assert (out / "a.tif").stat().st_mtime_ns == before
    assert done("--overwrite") == ["a.tif", "b.tif"]
    assert done("--min-size", 3) == ["a.tif", "b.tif"]
    assert done("--min-size", 3) == []
    assert done("--min-size", 3, "--no-fill-holes") == ["a.tif", "b.tif"]
    assert done("--min-size", 3) == ["a.tif", "b.tif"]
    tifffile.imwrite(images / "b.tif", np.ones((64, 64), np.uint8))
    assert done("--min-size", 3) == ["b.tif"]
    (out / "a.tif").unlink()
    assert done("--min-size", 3) == ["a.tif"]
    other = tiny_model()
    with torch.no_grad():
        other.network.head.bias += 1
    assert done("--min-size", 3, model=save_model(other, tmp_path / "tiny")) == ["a.tif", "b.tif"]


def test_labels_of_other_making_are_not_written_over(run: Run, folders: tuple[Path, Path], tiny_file: Path) -> None:
    images, truth = folders
    before = {path: path.read_bytes() for path in truth.iterdir()}
    command = ("predict", images, "-m", tiny_file, "-o", truth, "--device", "cpu")
    answer = run(*command)
    assert answer.code == 2
    assert answer.err.count("is there already, and was not made by segmenting: it may be work of yours") == 2
    assert {path: path.read_bytes() for path in truth.iterdir()} == before
    assert run(*command, "--overwrite").code == 0
    assert read_provenance(truth / "a.tif") is not None


def test_files_of_microscopes_that_are_passed_over_are_named(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path
) -> None:
    (folders[0] / "c.nd2").write_text("hello")
    answer = run("predict", folders[0], "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    assert answer.code == 0
    assert "c.nd2 cannot be read here. Open it in Fiji" in answer.err


@pytest.mark.parametrize("out", [None, "labels"])
def test_labels_of_an_earlier_run_are_no_images(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, out: str | None
) -> None:
    images, _ = folders
    into = () if out is None else ("-o", images / out)
    command = ("-m", tiny_file, *into, "--device", "cpu")
    assert run("predict", images, *command).code == 0
    for given in ([images / "**" / "*.tif"], sorted(images.rglob("*.tif"))):
        answer = run("predict", *given, *command, "--json").json
        assert answer["files"] == []
        assert {entry["why"] for entry in answer["skipped"] if not entry["labels"]} <= {
            "labels that this program wrote"
        }
        assert len([entry for entry in answer["skipped"] if entry["labels"]]) == 2
    assert len(list(images.rglob("*.tif"))) == 4


def test_measurements_never_take_the_place_of_something_else(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path
) -> None:
    images, _ = folders
    before = (images / "a.tif").read_bytes()
    (images / "folder.csv").mkdir()
    command = ("predict", images, "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu", "--measure")
    assert "is not the name of a CSV file" in run(*command, images).error
    assert "is not the name of a CSV file" in run(*command, images / "a.tif").error
    assert "a folder of that name is there" in run(*command, images / "folder.csv").error
    assert "is a file, not a folder" in run(*command, images / "a.tif" / "t.csv").error
    assert (images / "a.tif").read_bytes() == before
    assert not (tmp_path / "out").exists(), "it is told before the work"


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="file names are text there")
def test_names_that_are_no_text(run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.tif")
    folders[0].joinpath("a.tif").rename(folders[0] / name)
    command = ("predict", folders[0], "-m", tiny_file, "-o", tmp_path / "out", "--rois", "--device", "cpu")
    answer = run(*command, "--min-size", 0, "--measure", tmp_path / "t.csv", "--json")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / name).exists()
    assert r"caf\udce9.tif,0,0,1," in (tmp_path / "t.csv").read_text(encoding="utf-8")


def test_images_of_a_plate_have_names_of_their_own(
    run: Run, tiny_file: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"version": "0.4", "wells": [{"path": "B/3"}]}
    plate.create_group("B/3").attrs["well"] = {"images": [{"path": "0"}]}
    pyramid(tmp_path / "plate.zarr" / "B" / "3" / "0", rng.integers(0, 255, (24, 24), np.uint8))
    command = ("-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    told = run("predict", tmp_path / "plate.zarr", *command).err
    assert f"for example {tmp_path / 'plate.zarr' / 'B' / '3' / '0'}, or the pattern" in told
    pattern = told.rpartition("pattern '")[2].partition("'")[0]
    assert run("predict", pattern, *command).code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["plate-B-3-0.tif"]


def test_an_interrupt_keeps_what_is_done(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_unet.prediction import image_job

    real = image_job.write_labels

    def write_and_interrupt(*arguments: Any, **others: Any) -> Path:
        path = real(*arguments, **others)
        os.kill(os.getpid(), signal.SIGINT)
        return path

    monkeypatch.setattr(image_job, "write_labels", write_and_interrupt)
    command = ("predict", folders[0], "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    answer = run(*command)
    assert answer.code == 1
    assert "Stopped. What is written stays" in answer.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.tif"]
    monkeypatch.undo()


def test_measurements_of_all_images_are_one_table(
    run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path
) -> None:
    images, _ = folders
    (images / "broken.tif").write_text("hello")
    table = tmp_path / "new" / "objects.csv"
    command = ("predict", images, "-m", discs_file, "-o", tmp_path / "out", "--measure", table, "--device", "cpu")
    for skipped in (0, 2):
        answer = run(*command, "--json")
        assert answer.code == 1
        assert len(json.loads(answer.out)["skipped"]) == skipped
        assert json.loads(answer.out)["measurements"] == str(table)
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for name in ("a.tif", "b.tif"):
            labels = read_image(tmp_path / "out" / name).data
            own = [row for row in rows if row["file"] == str(images / name)]
            assert [int(row["id"]) for row in own] == list(np.unique(labels)[1:])
            assert [int(row["area_px"]) for row in own] == list(np.bincount(labels.ravel())[1:])
        table.unlink()


def test_outlines_are_written_for_fiji(run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path) -> None:
    from napari_unet.images import read_rois, rois_to_labels

    images, _ = folders
    out = tmp_path / "out"
    assert run("predict", images, "-m", discs_file, "-o", out, "--rois", "--device", "cpu").code == 0
    labels = read_image(out / "a.tif").data
    np.testing.assert_array_equal(rois_to_labels(read_rois(out / "a-rois.zip"), labels.shape, "YX"), labels)
    first = (out / "a-rois.zip").read_bytes()
    (out / "a-rois.zip").unlink()
    answer = run("export-rois", out / "a.tif")
    assert answer.code == 0
    assert f"a.tif: {labels.max()} outlines -> {out / 'a-rois.zip'}" in answer.out
    assert len((out / "a-rois.zip").read_bytes()) == len(first)


def test_outlines_of_many_label_files(run: Run, tmp_path: Path) -> None:
    labels = np.zeros((3, 8, 9), np.int32)
    labels[:, 2:5, 3:6] = 4
    for folder in ("one", "two"):
        write_labels(tmp_path / folder / "a.tif", labels[0], "YX")
    with tifffile.TiffWriter(tmp_path / "stack.tif") as file:
        for plane in labels.astype(np.uint16):
            file.write(plane, contiguous=False, metadata=None, photometric="minisblack")
    imageio.imwrite(tmp_path / "rgb.png", np.zeros((8, 8, 3), np.uint8))
    out = tmp_path / "out"
    answer = run(
        "export-rois", tmp_path / "rgb.png", tmp_path / "one", tmp_path / "two", tmp_path / "stack.tif", "-o", out
    )
    assert answer.code == 1
    told = {line.partition(": ")[0]: line for line in answer.err.splitlines()}
    assert "It is no label image (axes YXS, type uint8)" in told[str(tmp_path / "rgb.png")]
    assert "Give them with --axes" in told[str(tmp_path / "stack.tif")]
    assert sorted(path.name for path in out.iterdir()) == ["one-a-rois.zip", "two-a-rois.zip"]
    answer = run("export-rois", tmp_path / "stack.tif", "--axes", "ZYX", "-o", out)
    assert answer.code == 0
    assert "stack.tif: 3 outlines" in answer.out


# what was corrected


def correct(path: Path, *, kind: str = "object") -> tuple[Any, Any]:
    """Leave corrections beside an image, as the panel does: checked, corrected and ignored areas."""
    from napari_unet.correction import Edit, identify, open_store

    image = read_image(path)
    store = open_store(identify(image.data, "YX", path=path), kind=kind)
    labels, status = store.load()
    whole = tuple(slice(0, n) for n in labels.shape)
    after, known = labels.copy(), status.copy()
    after[2:10, 2:10], known[2:10, 2:10] = 71, 1
    after[20:30, 40:50], known[18:32, 38:52] = 72, 1
    after[40:50, 5:15], known[40:50, 5:15] = 73, 2
    store.journal.record(Edit(whole, labels, after, status, known, "stroke", frozenset({72})))
    assert store.close()
    return after, known


def test_what_was_checked_in_the_panel_wins(
    run: Run, folders: tuple[Path, Path], discs_file: Path, tmp_path: Path
) -> None:
    images, _ = folders
    labels, status = correct(images / "a.tif")
    before = {path: path.read_bytes() for path in (images / "napari-unet").rglob("*") if path.is_file()}
    out, table = tmp_path / "out", tmp_path / "t.csv"
    command = ("predict", images, "-m", discs_file, "-o", out, "--measure", table, "--device", "cpu")
    answer = run(*command)
    assert answer.code == 0, answer.err
    assert answer.out.count("what was checked in napari is in it") == 1
    written = read_image(out / "a.tif").data
    np.testing.assert_array_equal(written[status == 1], labels[status == 1])
    assert not written[status == 2].any()
    assert len(np.unique(written)) > 4, "the rest is predicted"
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].endswith("a.tif")]
    states = {int(row["id"]): row["state"] for row in rows}
    assert (states[71], states[72]) == ("checked", "corrected")
    assert 73 not in states
    assert set(states.values()) == {"checked", "corrected", "predicted"}
    made, other = (read_provenance(out / f"{name}.tif") for name in "ab")
    assert made is not None
    assert other is not None
    assert made["corrections"] == {
        "checked_voxels": int((status == 1).sum()), "ignored_voxels": 100, "corrected_objects": 1,
    }  # fmt: skip
    assert other["corrections"] is None
    assert {path: path.read_bytes() for path in (images / "napari-unet").rglob("*") if path.is_file()} == before

    assert len(run(*command, "--json").json["skipped"]) == 2
    done = run(*command, "--ignore-corrections", "--json").json
    assert [entry["image"][-5:] for entry in done["files"]] == ["a.tif"]
    assert done["files"][0]["corrections"] is None
    assert not np.isin(read_image(out / "a.tif").data, [71, 72]).any()


def test_classes_that_were_painted_win(
    run: Run, folders: tuple[Path, Path], tiny_model: Callable[..., Model], tmp_path: Path
) -> None:
    path = folders[0] / "a.tif"
    labels, status = correct(path, kind="background, cell, debris")
    model = save_model(tiny_model(task="semantic", classes=[{"name": "cell"}, {"name": "debris"}]), tmp_path / "m")
    command = ("predict", path, "-m", model, "-o", tmp_path / "out", "--device", "cpu")
    assert run(*command, "--ignore-corrections").code == 0
    predicted = read_image(tmp_path / "out" / "a.tif").data
    assert run(*command).code == 0
    found = read_image(tmp_path / "out" / "a.tif").data
    np.testing.assert_array_equal(found, np.select([status == 1, status == 2], [labels, 0], predicted))


def test_corrections_that_do_not_fit_are_told(
    run: Run, folders: tuple[Path, Path], tiny_file: Path, tmp_path: Path
) -> None:
    path = folders[0] / "a.tif"
    correct(path)
    tifffile.imwrite(path, np.zeros((64, 64), np.uint16))
    command = ("predict", path, "-m", tiny_file, "-o", tmp_path / "out", "--device", "cpu")
    answer = run(*command)
    assert answer.code == 2
    assert "a.tif has other pixels than when it was corrected" in answer.err
    assert "--ignore-corrections" in answer.err
    assert run(*command, "--ignore-corrections").code == 0

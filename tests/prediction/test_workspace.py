"""Large images: zarr in, zarr out, nothing read or kept whole; what was killed goes on where it was."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from scipy import ndimage as ndi

from napari_unet import Model, PredictConfig, iter_predict, predict, save_model
from napari_unet.errors import PredictionError
from napari_unet.images import measure_normalization

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

workspace = importlib.import_module("napari_unet.prediction.workspace")
Make = Callable[..., Model]
CONFIG = PredictConfig(device="cpu", precision="float32", tile=(32, 32), batch=1, min_size=0)


@pytest.fixture
def tiny_model(tiny_model: Make) -> Make:
    """Models that see 8 pixels far, so that small tiles do."""
    return lambda **changes: tiny_model(**{"network": {"features": (4, 6)}, **changes})


@pytest.fixture
def plane() -> NDArray[np.float32]:
    return np.asarray(ndi.gaussian_filter(np.random.default_rng(0).random((70, 83)), 1.5), np.float32)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps go to disk, however small, and labels are made in small blocks."""
    monkeypatch.setattr(workspace, "_IN_MEMORY", 0)
    monkeypatch.setattr(workspace, "_CHUNKS", {2: (16, 24), 3: (4, 8, 8)})
    monkeypatch.setattr(workspace, "_BLOCK", 600)


class Stored:
    """An array that can be sliced and nothing else, as a stored one; notes the largest block that is read."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, key: Any) -> NDArray[Any]:
        assert all(isinstance(part, slice) for part in key)
        block = self.array[key]
        self.most = max(self.most, block.size)
        return block


@pytest.mark.parametrize("axes", ["TCZYX", "ZYXTC", "XYZCT"])
def test_stored_image_gives_what_an_array_gives(axes: str, tiny_model: Make, tmp_path: Path) -> None:
    image = np.random.default_rng(1).random((2, 3, 2, 21, 26)).astype(np.float32)
    model = tiny_model(channels=("a", "b"))
    config = CONFIG.model_copy(update={"channels": (2, 0)})
    expected = predict(image, model, axes="TCZYX", config=config).labels
    stored = zarr.create_array(tmp_path / "image", data=image.transpose(["TCZYX".index(a) for a in axes]))
    result = predict(stored, model, axes=axes, config=config, out=tmp_path / "labels.zarr")
    own = [letter for letter in axes if letter != "C"]
    np.testing.assert_array_equal(result.labels[:], expected.transpose(["TZYX".index(letter) for letter in own]))
    assert result.labels.metadata.dimension_names == tuple(letter.lower() for letter in own)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image", "labels.zarr"], "nothing is left behind"


def test_only_tiles_of_a_stored_image_are_read(tiny_model: Make) -> None:
    image = Stored(np.random.default_rng(1).random((150, 131)).astype(np.float32))
    known = measure_normalization(image.array[None, None, None])
    labels = predict(image, tiny_model(), config=CONFIG, normalization=known).labels
    assert image.most <= 32 * 32
    assert labels.max() > 20
    np.testing.assert_array_equal(labels, predict(image.array, tiny_model(), config=CONFIG).labels)


@pytest.mark.parametrize("diameter", [None, 14.0])
@pytest.mark.usefixtures("on_disk")
def test_labels_on_disk_are_those_in_memory(
    diameter: float | None, plane: NDArray[Any], tiny_model: Make, tmp_path: Path
) -> None:
    model = tiny_model(object_diameter_px=10.0)
    config = CONFIG.model_copy(update={"object_diameter_px": diameter})
    region = {"Y": slice(5, 66), "X": slice(7, 80)}
    expected = predict(plane, model, config=config, region=region).labels
    result = predict(plane, model, config=config, region=region, out=tmp_path / "labels.zarr")
    assert expected.max() > 3
    np.testing.assert_array_equal(result.labels[:], expected)


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("flat_levels", [0, 1])
def test_volumes_on_disk_are_those_in_memory(flat_levels: int, tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model(
        network={"spatial_dims": 3, "features": (3, 4, 4)[: 2 + flat_levels], "flat_levels": flat_levels}
    )
    image = ndi.gaussian_filter(np.random.default_rng(0).random((2, 9, 17, 20)), (0, 1, 1, 1))
    config = PredictConfig(device="cpu", precision="float32", min_size=0)
    expected = predict(image, model, axes="TZYX", config=config).labels
    out = zarr.create_array(tmp_path / "mine", shape=image.shape, chunks=(1, 5, 7, 9), dtype=np.int32)
    result = predict(image, model, axes="TZYX", config=config, out=out)
    assert result.labels is out
    assert expected.max() > 3
    np.testing.assert_array_equal(out[:], expected)


def test_empty_chunks_take_no_space(tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_CHUNKS", {2: (16, 24), 3: (4, 8, 8)})
    config = CONFIG.model_copy(update={"min_size": 10**6})
    result = predict(np.random.default_rng(0).random((70, 83)), tiny_model(), config=config, out=tmp_path / "a.zarr")
    assert not result.labels[:].any()
    assert [p.name for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()] == ["zarr.json"]


@pytest.mark.usefixtures("on_disk")
@pytest.mark.parametrize("how", ["closed", "stopped"])
def test_ended_prediction_goes_on_at_the_next_tile(
    how: str, plane: NDArray[Any], tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, model = np.stack([plane, plane[::-1], plane[:, ::-1]]), tiny_model()
    out = tmp_path / "labels.zarr"
    steps = iter_predict(stack, model, axes="ZYX", config=CONFIG, out=out)
    total = next(steps).total
    for _ in range(total * 8 // 10 - 1):
        next(steps)
    steps.close()
    assert not out.exists(), "nothing half-written under its final name"

    if how == "stopped":  # other settings: nothing of what is there can be used
        changed = CONFIG.model_copy(update={"min_prominence": 0.9})
        events = list(iter_predict(stack, model, axes="ZYX", config=changed, out=out))
        assert len(events) == total
        return
    events = list(iter_predict(stack, model, axes="ZYX", config=CONFIG, out=out))
    assert len(events) == total - total * 8 // 10
    assert events[-1].done == events[-1].total == total
    expected = predict(stack, model, axes="ZYX", config=CONFIG).labels
    assert expected.max() > 20
    np.testing.assert_array_equal(zarr.open_array(out)[:], expected)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.zarr"]


_PREDICT_AND_DIE = """
import sys, os, signal
import numpy as np
import napari_unet as nu
folder = sys.argv[1]
model = nu.load_model(folder + "/tiny.safetensors")
config = nu.PredictConfig(device="cpu", precision="float32", tile=(32, 32), batch=1, min_size=0)
image = np.load(folder + "/image.npy")
for event in nu.iter_predict(image, model, axes="ZYX", config=config, out=folder + "/labels.zarr"):
    if event.done >= 0.8 * event.total:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_prediction_goes_on(plane: NDArray[Any], tiny_model: Make, tmp_path: Path) -> None:
    stack, model = np.stack([plane, plane[::-1]]), tiny_model()
    np.save(tmp_path / "image.npy", stack)
    save_model(model, tmp_path / "tiny")
    done = subprocess.run([sys.executable, "-c", _PREDICT_AND_DIE, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    steps = iter_predict(stack, model, axes="ZYX", config=CONFIG, out=tmp_path / "labels.zarr")
    first = next(steps)
    assert first.done > 0.5 * first.total, "the first plane is done"
    list(steps)
    expected = predict(stack, model, axes="ZYX", config=CONFIG).labels
    assert expected.max() > 20
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "labels.zarr")[:], expected)


def test_changed_image_starts_anew(plane: NDArray[Any], tiny_model: Make, tmp_path: Path) -> None:
    stack, model, out = np.stack([plane, plane]), tiny_model(), tmp_path / "labels.zarr"
    known = measure_normalization(stack[None, None])
    steps = iter_predict(stack, model, axes="ZYX", config=CONFIG, out=out, normalization=known)
    total = next(steps).total
    for _ in range(total - 2):
        next(steps)
    steps.close()
    changed = stack.copy()
    changed[0, 0, 0] += 0.25
    assert len(list(iter_predict(changed, model, axes="ZYX", config=CONFIG, out=out, normalization=known))) == total


def test_labels_that_would_fill_the_memory_are_refused_with_what_to_do(
    plane: NDArray[Any], tiny_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "free_memory", lambda _: 4 * plane.size)
    with pytest.raises(PredictionError, match=r"Write them to disk: out='labels\.zarr'"):
        predict(plane, tiny_model(), config=CONFIG)


@pytest.mark.parametrize(("shape", "dtype"), [((70, 84), np.int32), ((70, 83), np.uint8)])
def test_target_that_does_not_fit_is_refused(
    shape: tuple[int, ...], dtype: Any, plane: NDArray[Any], tiny_model: Make, tmp_path: Path
) -> None:
    out = zarr.create_array(tmp_path / "a", shape=shape, dtype=dtype)
    with pytest.raises(PredictionError, match="Make one that fits"):
        predict(plane, tiny_model(), config=CONFIG, out=out)


def test_existing_labels_are_replaced_only_in_the_end(plane: NDArray[Any], tiny_model: Make, tmp_path: Path) -> None:
    out = tmp_path / "labels.zarr"
    first = predict(plane, tiny_model(), config=CONFIG, out=out).labels[:]
    steps = iter_predict(plane[::-1], tiny_model(), config=CONFIG, out=out)
    next(steps)
    np.testing.assert_array_equal(zarr.open_array(out)[:], first)
    list(steps)
    assert (zarr.open_array(out)[:] != first).any()

"""The model file: what is saved comes back, and whatever else a file may be is refused with an explanation."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from napari_unet import ClassSpec, Model, predict, save_model
from napari_unet.errors import ModelFileError
from napari_unet.models import file_hash, is_model_file, load_model_file, read_spec

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., Model]
SPECS: dict[str, dict[str, Any]] = {
    "objects": {},
    "volumes": {"network": {"spatial_dims": 3, "features": (3, 4), "flat_levels": 1}, "channels": ("a", "b")},
    "classes": {"task": "semantic", "classes": (ClassSpec(name="café", color="#010203"),), "object_diameter_px": 7.5},
    "paper": {"network": {"padding": "valid", "norm": "none", "dropout": 0.5}, "provenance": {"score": {"AP": 0.5}}},
}


@pytest.fixture
def saved(tiny_model: Make, tmp_path: Path) -> Path:
    return save_model(tiny_model(), tmp_path / "tiny.safetensors")


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the description inside a model file."""
    document = json.loads(read_spec(path).model_dump_json())
    changed = change(document)
    text = changed if isinstance(changed, str) else json.dumps(document if changed is None else changed)
    save_file(load_file(path), path, metadata={"napari-unet": text})


@pytest.mark.parametrize("name", SPECS)
def test_model_comes_back_as_it_was(name: str, tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model(**SPECS[name])
    model.network.train()
    path = save_model(model, tmp_path / "a.safetensors")
    loaded = load_model_file(path)
    assert loaded.spec == model.spec == read_spec(path)
    assert not loaded.network.training
    weights = model.network.state_dict()
    assert list(loaded.network.state_dict()) == list(weights)
    assert all(torch.equal(tensor, weights[key]) for key, tensor in loaded.network.state_dict().items())
    if name == "objects":
        image = np.random.default_rng(0).random((20, 20))
        np.testing.assert_array_equal(predict(image, loaded).labels, predict(image, model).labels)


def test_half_the_size_is_nearly_the_same_model(tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model(network={"features": (16, 24)})
    with torch.no_grad():
        model.network.head.bias[0] = 1e6  # no 16 bits hold that
    whole, half = (save_model(model, tmp_path / f"{n}.safetensors", half=bool(n)) for n in range(2))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = load_model_file(half)
    for key, tensor in model.network.state_dict().items():
        kept = loaded.network.state_dict()[key]
        assert kept.dtype == tensor.dtype
        torch.testing.assert_close(kept, tensor, rtol=5e-4, atol=1e-6)


def test_suffix_is_added_where_it_is_missing(tiny_model: Make, tmp_path: Path) -> None:
    assert save_model(tiny_model(), tmp_path / "v1.2").name == "v1.2.safetensors"
    assert save_model(tiny_model(), str(tmp_path / "new" / "b.safetensors")) == tmp_path / "new" / "b.safetensors"


def test_same_model_gives_the_same_file(tiny_model: Make, tmp_path: Path) -> None:
    hashes = {file_hash(save_model(tiny_model(), tmp_path / name)) for name in ("a", "b")}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


def test_weights_in_another_memory_layout_are_saved(tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model()
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loaded = load_model_file(save_model(model, tmp_path / "a"))
    assert torch.equal(loaded.network.head.weight, model.network.head.weight)


@given(share=st.floats(0, 0.999))
def test_file_that_was_cut_off_is_refused(share: float, tiny_model: Make, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = save_model(tiny_model(network={"features": (2, 2)}), folder / "a")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelFileError, match=r"a\.safetensors .*Copy it again"):
        load_model_file(path)
    assert not is_model_file(path)


@given(content=st.binary(max_size=200))
def test_any_other_content_is_refused(content: bytes, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("other") / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        load_model_file(path)
    assert not is_model_file(path)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_file_never_runs(save: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    path = tmp_path / "a.safetensors"
    save(Bomb(), path)
    with pytest.raises(ModelFileError):
        load_model_file(path)
    assert not is_model_file(path)
    assert not (tmp_path / "exploded").exists()


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="Check the path"):
        read_spec(tmp_path / "no.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ModelFileError, match="is a folder"):
        read_spec(tmp_path / "folder.safetensors")
    assert not is_model_file(tmp_path / "folder.safetensors")


def test_safetensors_of_another_program(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="of another program"):
        load_model_file(tmp_path / "a.safetensors")


def test_newer_format_asks_for_an_update(saved: Path) -> None:
    def newer(document: dict[str, Any]) -> None:
        document |= {"format_version": 2, "something": "unknown"}

    rewrite(saved, newer)
    with pytest.raises(ModelFileError, match=r"newer napari-unet \(format 2; this one reads up to 1\)\. Update"):
        load_model_file(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: "{",
        lambda document: "[]",
        lambda document: "null",
        lambda document: {**document, "format_version": "one"},
        lambda document: {**document, "format_version": None},
        lambda document: {**document, "unknown": 1},
        lambda document: {**document, "task": "other"},
        lambda document: {**document, "network": {**document["network"], "features": []}},
        lambda document: {**document, "network": {**document["network"], "features": [-3]}},
    ],
)
def test_damaged_description_is_refused(change: Any, saved: Path) -> None:
    rewrite(saved, change)
    with pytest.raises(ModelFileError, match="description inside"):
        load_model_file(saved)
    assert not is_model_file(saved)


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    rewrite(saved, lambda document: {**document, "network": {**document["network"], "features": [4, 4, 8]}})
    with pytest.raises(ModelFileError, match="do not fit"):
        load_model_file(saved)


def test_weights_that_are_not_numbers_are_refused(tiny_model: Make, tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.network.head.bias[0] = float("nan")
    path = save_model(model, tmp_path / "a")
    with pytest.raises(ModelFileError, match="not numbers"):
        load_model_file(path)


def test_spec_is_read_without_the_weights(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.models.spec.UNet", None)
    assert read_spec(saved).name == "tiny"
    assert is_model_file(saved)


def test_other_suffix_is_not_taken_for_a_model(saved: Path) -> None:
    assert not is_model_file(saved.rename(saved.with_suffix(".bin")))


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_failure_while_saving_leaves_the_old_file_and_nothing_else(
    call: str, saved: Path, tiny_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, fail)
    with pytest.raises(ModelFileError, match="No space left on device"):
        save_model(tiny_model(channels=("a", "b")), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_interrupted_saving_leaves_nothing(saved: Path, tiny_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(tiny_model(), saved)
    assert list(saved.parent.iterdir()) == [saved]


def test_place_that_cannot_be_written_is_told(tiny_model: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match="Choose another folder"):
        save_model(tiny_model(), tmp_path / "file" / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_told(tiny_model: Make, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ModelFileError, match="Choose another folder"):
        save_model(tiny_model(), tmp_path / "a.safetensors")
    tmp_path.chmod(0o700)

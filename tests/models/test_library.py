"""Where models are found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from napari_unet import Model, load_model, save_model
from napari_unet.errors import ModelFileError
from napari_unet.models import free_path, import_model, library_folder, list_models, model_path

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[..., Model]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands in for the shipped models."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr("napari_unet.models.library._shipped_folder", lambda: folder)
    return folder


def test_library_lies_in_the_users_folder_and_need_not_exist(user_folder: Path) -> None:
    assert library_folder() == user_folder / "models"
    assert not library_folder().exists()
    assert isinstance(list_models(), dict)


def test_own_model_wins_over_a_shipped_one_of_the_same_name(shipped: Path, tiny_model: Make) -> None:
    save_model(tiny_model(), shipped / "nuclei")
    assert list_models() == {"nuclei": shipped / "nuclei.safetensors"}
    own = save_model(tiny_model(), library_folder() / "nuclei")
    save_model(tiny_model(), library_folder() / "a.b")
    (library_folder() / "notes.txt").touch()
    assert list_models() == {"nuclei": own, "a.b": library_folder() / "a.b.safetensors"}
    assert model_path("nuclei") == own
    assert load_model("nuclei").spec.name == "nuclei", "named after its file, as the user knows it"


def test_model_is_found_by_path(tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(tiny_model(), tmp_path / "mine")
    assert model_path(path) == path
    assert load_model(str(path)).spec.name == "tiny"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_path("~/mine.safetensors") == path


def test_unknown_model_lists_the_names_there_are(shipped: Path, tiny_model: Make) -> None:
    with pytest.raises(ModelFileError, match=r"no model 'nuklei'\. Give a file\.$"):
        load_model("nuklei")
    for name in ("nuclei", "cells"):
        save_model(tiny_model(), shipped / name)
    with pytest.raises(ModelFileError, match=r"no model 'nuklei'\. Give a file, or one of: cells, nuclei\.$"):
        load_model("nuklei")


def test_imported_model_is_found_by_its_name(tiny_model: Make, tmp_path: Path) -> None:
    path = save_model(tiny_model(), tmp_path / "mine")
    assert import_model(path) == "mine"
    assert list_models()["mine"].read_bytes() == path.read_bytes()


def test_same_content_is_not_imported_twice(tiny_model: Make, tmp_path: Path) -> None:
    first = save_model(tiny_model(), tmp_path / "one" / "mine")
    other = save_model(tiny_model(network={"features": (2, 2)}), tmp_path / "two" / "mine")
    assert [import_model(path) for path in (first, other, first, other, other)] == [
        "mine", "mine-2", "mine", "mine-2", "mine-2",
    ]  # fmt: skip
    assert sorted(path.name for path in library_folder().iterdir()) == ["mine-2.safetensors", "mine.safetensors"]


def test_import_from_the_library_itself_changes_nothing(tiny_model: Make) -> None:
    path = save_model(tiny_model(), library_folder() / "mine")
    assert import_model(path) == "mine"
    assert list(library_folder().iterdir()) == [path]


def test_imported_model_can_be_named_whatever_its_suffix_was(tiny_model: Make, tmp_path: Path) -> None:
    path = save_model(tiny_model(), tmp_path / "mine").rename(tmp_path / "mine.download")
    assert load_model(import_model(path)).spec.name == "mine"


def test_other_files_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("hello")
    with pytest.raises(ModelFileError, match="not a model file"):
        import_model(tmp_path / "a.safetensors")
    assert list_models().keys() == list_models().keys() - {"a"}


def test_library_that_cannot_be_written_is_told(
    tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = save_model(tiny_model(), tmp_path / "mine")
    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(ModelFileError, match="No space left on device"):
        import_model(path)


def test_free_path_counts_up(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert free_path(path) == path
    path.touch()
    assert free_path(path).name == "a-2.safetensors"
    free_path(path).touch()
    assert free_path(path).name == "a-3.safetensors"
    assert free_path(tmp_path / "a-2.safetensors").name == "a-3.safetensors", "numbers are counted up, not appended"

"""Where models are found: those shipped with the program and the user's own."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

from platformdirs import user_data_path

from napari_unet.errors import ModelFileError
from napari_unet.models.file import SUFFIX, load_model_file, read_spec
from napari_unet.models.spec import Model

__all__ = ["free_path", "import_model", "library_folder", "list_models", "load_model", "model_path"]


def library_folder() -> Path:
    """Return the folder of the user's own models, in the user's data folder. It may not exist yet."""
    return user_data_path("napari-unet", appauthor=False) / "models"


def list_models() -> dict[str, Path]:
    """Return the models by name: the shipped ones first, then the user's own, which win at equal names."""
    found: dict[str, Path] = {}
    for folder in (_shipped_folder(), library_folder()):
        if folder.is_dir():
            found |= {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}
    return found


def model_path(name_or_path: str | Path) -> Path:
    """Return the file of a model given by name or by path.

    Raises
    ------
    ModelFileError
        If there is none; the message lists the names there are.
    """
    models = list_models()
    if str(name_or_path) in models:
        return models[str(name_or_path)]
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    raise ModelFileError(f"There is no model {str(name_or_path)!r}. Give a file, or one of: {', '.join(models)}.")


def load_model(name_or_path: str | Path) -> Model:
    """Load a model: a shipped name such as ``"nuclei"``, one of the user's own, or the path of a file.

    Raises
    ------
    ModelFileError
        If there is none, or it is damaged.

    Examples
    --------
    >>> load_model("nuclei").spec.in_channels
    1
    """
    return load_model_file(model_path(name_or_path))


def import_model(path: str | Path) -> str:
    """Copy a model file into the user's library and return its name there.

    A file of that name with other content is not overwritten: the new one gets a number.

    Raises
    ------
    ModelFileError
        If it is not a model file.
    """
    path = Path(path)
    read_spec(path)
    folder = library_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = free_path(folder / path.name)
    for existing in (folder / path.name, target):
        if existing.exists() and existing.read_bytes() == path.read_bytes():
            return existing.stem
    temporary = target.with_suffix(".tmp")
    shutil.copyfile(path, temporary)
    temporary.replace(target)
    return target.stem


def free_path(path: Path) -> Path:
    """Return `path`, or the first of ``name-2``, ``name-3``, ... that does not exist yet."""
    number, free = 2, path
    while free.exists():
        free = path.with_stem(f"{path.stem}-{number}")
        number += 1
    return free


def _shipped_folder() -> Path:
    return Path(str(resources.files("napari_unet") / "weights"))

"""Where models are found: those shipped with the program and the user's own."""

from __future__ import annotations

import filecmp
import shutil
from importlib import resources
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.errors import ModelFileError
from napari_unet.models.file import SUFFIX, load_model_file, read_spec
from napari_unet.models.spec import Model
from napari_unet.user_data import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["free_path", "import_model", "library_folder", "list_models", "load_model", "model_path"]


def library_folder() -> Path:
    """Return the folder of the user's own models, in the user's data folder. It may not exist yet."""
    return data_folder() / "models"


def list_models() -> dict[str, Path]:
    """Return the models by name: the shipped ones first, then the user's own, which win at equal names."""
    found: dict[str, Path] = {}
    for folder in (_shipped_folder(), library_folder()):
        if folder.is_dir():
            found |= {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stem)}
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
    known = f", or one of: {', '.join(models)}" if models else ""
    raise ModelFileError(f"There is no model {str(name_or_path)!r}. Give a file{known}.")


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
    model = load_model_file(model_path(name_or_path))
    if str(name_or_path) in list_models():
        # a file that was renamed in the library has that name
        model = Model(model.network, model.spec.model_copy(update={"name": str(name_or_path)}))
    return model


def import_model(path: str | Path) -> str:
    """Copy a model file into the user's library and return its name there.

    A file of that name with other content is not overwritten: the new one gets a number.

    Raises
    ------
    ModelFileError
        If it is not a model file, or the library cannot be written.
    """
    path = Path(path)
    read_spec(path)
    folder = library_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target in _numbered(folder / f"{path.stem}{SUFFIX}"):
            if not target.exists():
                temporary = target.with_suffix(".tmp")
                shutil.copyfile(path, temporary)
                temporary.replace(target)
                break
            if filecmp.cmp(path, target, shallow=False):
                break
    except OSError as error:
        raise ModelFileError(
            f"{path.name} cannot be copied to {folder} ({error.strerror or error}). Make room there, or allow writing."
        ) from error
    return target.stem


def free_path(path: Path) -> Path:
    """Return `path`, or the first that does not exist yet when its number is counted up: ``name-2``, ``name-3``, ..."""
    return next(free for free in _numbered(path) if not free.exists())


def _numbered(path: Path) -> Iterator[Path]:
    stem, _, number = path.stem.rpartition("-")
    if not stem or not number.isdigit():
        stem, number = path.stem, "1"
    yield path
    yield from (path.with_stem(f"{stem}-{n}") for n in count(int(number) + 1))


def _shipped_folder() -> Path:
    return Path(str(resources.files("napari_unet") / "weights"))

"""The model file: weights and spec in one safetensors file. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize

from napari_unet.errors import ModelFileError
from napari_unet.images import replace_file
from napari_unet.models.spec import FORMAT_VERSION, Model, ModelSpec

__all__ = ["SUFFIX", "file_hash", "is_model_file", "load_model_file", "model_hash", "read_spec", "save_model"]

SUFFIX = ".safetensors"
_KEY = "napari-unet"


def save_model(model: Model, path: str | Path, *, half: bool = False) -> Path:
    """Write a model to one file, first under a temporary name, so that no half-written file is ever left.

    Parameters
    ----------
    model : Model
    path : path
        Ends in ``.safetensors``; the suffix is added where it is missing.
    half : bool
        Keep the weights in 16 bits (float16), in a file of half the size. That changes them by at most 0.05 %; those
        of the models that come along are kept so.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ModelFileError
        If it cannot be written there.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        path = path.with_name(path.name + SUFFIX)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    if half:
        tensors = {name: _halved(tensor) for name, tensor in tensors.items()}
    content = serialize(tensors, metadata={_KEY: model.spec.model_dump_json()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise ModelFileError(
            f"The model cannot be saved as {path} ({error.strerror or error}). Choose another folder."
        ) from error
    return path


def read_spec(path: str | Path) -> ModelSpec:
    """Return the spec of a model file without reading its weights.

    Raises
    ------
    ModelFileError
        If the file is missing, cut off, of another kind, or newer than this program.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            document = (file.metadata() or {}).get(_KEY)
    except FileNotFoundError as error:
        raise ModelFileError(f"There is no model file {path}. Check the path.") from error
    except (SafetensorError, OSError) as error:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder. Give a model file, or the name of a model.") from error
        raise ModelFileError(
            f"{path.name} is not a model file, or it was cut off while it was copied ({error}). Copy it again."
        ) from error
    if document is None:
        raise ModelFileError(
            f"{path.name} is a safetensors file of another program: it does not say what its network looks "
            "like. Use a file that napari-unet saved."
        )
    return _parse_spec(document, path)


def load_model_file(path: str | Path) -> Model:
    """Read a model file.

    Raises
    ------
    ModelFileError
        As `read_spec`; also if the weights do not fit the network that the spec describes.
    """
    path = Path(path)
    spec = read_spec(path)
    network = spec.build_network()
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ModelFileError(f"{path.name} was cut off while it was copied ({error}). Copy it again.") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelFileError(
            f"The weights in {path.name} do not fit the network it describes. Export it again."
        ) from error
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values() if tensor.is_floating_point()):
        raise ModelFileError(f"{path.name} holds weights that are not numbers. Use an earlier version of the model.")
    return Model(network.eval(), spec)


def is_model_file(path: str | Path) -> bool:
    """Tell cheaply whether a file is a model of this program. Never raises."""
    try:
        return Path(path).suffix == SUFFIX and read_spec(path) is not None
    except ModelFileError:
        return False


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_hash(model: Model) -> str:
    """Return a SHA-256 of all that decides which labels a model makes: weights and spec without name and history."""
    aside = {"name", "provenance", "classes", "usual_sureness"}
    found = hashlib.sha256(model.spec.model_dump_json(exclude=aside).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers in 16 bits where all of them fit."""
    if not tensor.is_floating_point():
        return tensor
    halved = tensor.half()
    return halved if bool(torch.isfinite(halved).all()) else tensor


def _parse_spec(document: str, path: Path) -> ModelSpec:
    try:
        version = json.loads(document).get("format_version", 0)
        if version > FORMAT_VERSION:
            raise ModelFileError(
                f"{path.name} was saved by a newer napari-unet (format {version}; this one reads up to "
                f"{FORMAT_VERSION}). Update napari-unet."
            )
        return ModelSpec.model_validate_json(document)
    except (ValueError, AttributeError, TypeError) as error:
        detail = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ModelFileError(
            f"The description inside {path.name} is damaged ({detail}). Copy the file again."
        ) from error

"""What the manifest offers beside the panel: sample images, and models dropped onto the window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import SignalInstance

from napari_unet.errors import UNetError
from napari_unet.samples import load_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    LayerData = tuple[Any, ...]

__all__ = ["get_model_reader", "model_imported", "nuclei_2d", "nuclei_3d"]

model_imported = SignalInstance((str,), name="model_imported")
"""Emitted with the name of a model that was just copied into the user's library."""

_SUFFIX = ".safetensors"  # napari_unet.models.SUFFIX, without importing torch


def nuclei_2d() -> list[LayerData]:
    """Return the 2-D sample as layers: image and hidden truth."""
    return _sample_layers("nuclei_2d")


def nuclei_3d() -> list[LayerData]:
    """Return the 3-D sample as layers: image and hidden truth."""
    return _sample_layers("nuclei_3d")


def get_model_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return the function that adds model files to the library; None for files of another suffix.

    A damaged or foreign file is accepted here, so that the reader can say what is wrong with it; refused, it
    would leave the user with napari's "no plugin found".
    """
    return _read_models if all(p.suffix.lower() == _SUFFIX for p in _as_paths(path)) else None


def _sample_layers(name: str) -> list[LayerData]:
    sample = load_sample(name)
    common: dict[str, Any] = {"axis_labels": tuple(sample.axes.lower())}
    if sample.pixel_size is not None:
        common |= {"scale": sample.pixel_size, "units": ("um",) * len(sample.pixel_size)}
    return [
        (sample.image, {"name": name, **common}, "image"),
        (sample.truth, {"name": "truth", "visible": False, **common}, "labels"),
    ]


def _read_models(path: str | Sequence[str]) -> list[LayerData]:
    for file in _as_paths(path):
        _add_to_library(file)
    return [(None,)]


def _add_to_library(path: Path) -> None:
    from napari.utils.notifications import show_error, show_info

    from napari_unet.models import import_model

    try:
        name = import_model(path)
    except UNetError as error:
        show_error(str(error))
    except OSError as error:
        reason = error.strerror or error
        show_error(f"{path.name} cannot be copied into your library ({reason}). 'napari-unet doctor' tells where.")
    else:
        model_imported.emit(name)
        show_info(f"The model {name!r} is in your library: the U-Net panel lists it.")


def _as_paths(path: str | Sequence[str]) -> list[Path]:
    return [Path(path)] if isinstance(path, str) else [Path(p) for p in path]

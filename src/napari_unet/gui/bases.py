"""The model that a training starts from, which need not be the one in use, and the place of the one it ends in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.errors import UNetError
from napari_unet.models import SUFFIX, Model, free_path, library_folder, list_models, load_model, read_spec
from napari_unet.training import with_classes

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.models import ModelSpec

__all__ = ["is_base", "load_base", "start_for", "version_path"]


def is_base(name: str, spec: ModelSpec) -> bool:
    """Return whether a model of the library can be fine-tuned to do what another one does."""
    path = list_models().get(name)
    if path is None:
        return False
    try:
        return _can_become(read_spec(path), spec)
    except UNetError:
        return False


def load_base(name: str, model: Model) -> Model:
    """Load the model that fine-tuning starts from, with the classes of the model in use; that one itself if it is gone.

    Raises
    ------
    ModelFileError
        If it is damaged.
    """
    if name not in list_models():
        return model
    base = load_model(name)
    if not _can_become(base.spec, model.spec):
        return model
    return base if base.spec.maps == model.spec.maps else with_classes(base, model.spec.classes)


def _can_become(base: ModelSpec, spec: ModelSpec) -> bool:
    if base.channels != spec.channels or base.network.spatial_dims != spec.network.spatial_dims:
        return False
    if base.maps == spec.maps:
        return (base.task, base.kind) == (spec.task, spec.kind)
    known, classes = {one.name for one in base.classes}, {one.name for one in spec.classes}
    return base.task == spec.task == "semantic" and known < classes


def start_for(spec: ModelSpec) -> Model | None:
    """Return the shipped model whose weights a new model of planes starts from."""
    return load_model("nuclei") if spec.spatial_dims == 2 and "nuclei" in list_models() else None


def version_path(name: str) -> Path:
    """Return a free place for a version: the name itself where no model has it, else ``name-2``, ``name-3``, ..."""
    path = free_path(library_folder() / f"{name}{SUFFIX}")
    if path.stem in list_models():  # shipped under this name
        path = free_path(path.with_stem(f"{name}-2"))
    return path

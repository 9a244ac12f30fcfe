"""What a recipe leaves open, filled in for a model and what there is to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.network import halo, valid_input_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.models import Model
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.sampling import Field

__all__ = ["margin_of", "patch_size", "resolved", "with_distance_weight"]

_EPOCHS = 250
_SHADING = 0.25
_DISTANCE_WEIGHT, _DISTANCE_WEIGHT_OF_NEW = 2.0, 8.0


def margin_of(model: Model) -> tuple[int, ...]:
    """Return what the network cuts off each side of a patch, per axis; 0 for "same" convolutions."""
    return halo(model.network) if model.network.padding == "valid" else (0,) * model.spec.spatial_dims


def resolved(config: TrainConfig, model: Model, *, fine_tuning: bool) -> TrainConfig:
    """Return a recipe with what it leaves open filled in: batch, patch, epochs, batch norm and shading.

    For as many pixels, 60 steps of 4 patches of 128 x 128 taught a new kind of image five times better than 13 steps
    of 8 patches of 192 x 192 (docs/training.md).
    """
    edge = 64 if model.spec.spatial_dims == 3 else 128 if fine_tuning else 192
    patch = config.patch or edge + 2 * margin_of(model)[-1]
    epochs = config.epochs or (_EPOCHS if fine_tuning and config.steps is None else None)
    batch, augmentation = config.batch or (4 if fine_tuning else 8), config.augmentation
    if augmentation.shading is None:
        shading = _SHADING if model.spec.task == "instances" else 0.0
        augmentation = augmentation.model_copy(update={"shading": shading})
    batch_norm = config.batch_norm or ("keep" if fine_tuning and model.spec.task == "instances" else "learn")
    filled = {"batch": batch, "patch": patch, "epochs": epochs, "augmentation": augmentation}
    return config.model_copy(update={**filled, "batch_norm": batch_norm})


def with_distance_weight(config: TrainConfig, *, is_new_kind: bool) -> TrainConfig:
    """Return a recipe with the weight of distances: more where the model that is trained further is new to them."""
    if config.distance_weight is not None:
        return config
    return config.model_copy(update={"distance_weight": _DISTANCE_WEIGHT_OF_NEW if is_new_kind else _DISTANCE_WEIGHT})


def patch_size(model: Model, fields: Sequence[Field], config: TrainConfig) -> tuple[int, ...]:
    """Return the size of a patch per axis: as the config says, made larger until it fits the poolings."""
    margin = margin_of(model)
    edge = config.patch or (192 if model.spec.spatial_dims == 2 else 64) + 2 * margin[-1]
    wanted = [edge, edge]
    if model.spec.spatial_dims == 3:
        deepest = max((f.checked.shape[0] for f in fields), default=1)
        wanted.insert(0, min(32, deepest) + 2 * margin[0])
    return valid_input_size(model.network, tuple(wanted))

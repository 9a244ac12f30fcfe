"""Segment, correct, train: a U-Net that learns from your corrections in napari."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_unet._version import __version__ as __version__

if TYPE_CHECKING:
    from napari_unet.annotation import Annotated, Status
    from napari_unet.correction import read_corrections
    from napari_unet.errors import UNetError
    from napari_unet.images import open_image, read_rois, rois_to_labels, write_labels, write_rois
    from napari_unet.models import (
        ClassSpec,
        DecoderSpec,
        Model,
        ModelSpec,
        NetworkSpec,
        inverted,
        load_model,
        save_model,
    )
    from napari_unet.network import UNet
    from napari_unet.prediction import (
        BatchConfig,
        PredictConfig,
        Prediction,
        find_object_size,
        iter_predict,
        iter_segment_files,
        measure,
        predict,
        write_measurements,
    )
    from napari_unet.training import (
        AugmentConfig,
        TrainConfig,
        Trained,
        average_precision,
        border_weights,
        fine_tune,
        iou,
        iter_fine_tune,
        iter_train,
        train,
        with_classes,
    )

_HOMES = {
    "annotation": ["Annotated", "Status"],
    "correction": ["read_corrections"],
    "errors": ["UNetError"],
    "images": ["open_image", "read_rois", "rois_to_labels", "write_labels", "write_rois"],
    "models": ["ClassSpec", "DecoderSpec", "Model", "ModelSpec", "NetworkSpec", "inverted", "load_model", "save_model"],
    "network": ["UNet"],
    "prediction": [
        "BatchConfig",
        "PredictConfig",
        "Prediction",
        "find_object_size",
        "iter_predict",
        "iter_segment_files",
        "measure",
        "predict",
        "write_measurements",
    ],
    "training": [
        "AugmentConfig",
        "TrainConfig",
        "Trained",
        "average_precision",
        "border_weights",
        "fine_tune",
        "iou",
        "iter_fine_tune",
        "iter_train",
        "train",
        "with_classes",
    ],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Annotated",
    "AugmentConfig",
    "BatchConfig",
    "ClassSpec",
    "DecoderSpec",
    "Model",
    "ModelSpec",
    "NetworkSpec",
    "PredictConfig",
    "Prediction",
    "Status",
    "TrainConfig",
    "Trained",
    "UNet",
    "UNetError",
    "average_precision",
    "border_weights",
    "find_object_size",
    "fine_tune",
    "inverted",
    "iou",
    "iter_fine_tune",
    "iter_predict",
    "iter_segment_files",
    "iter_train",
    "load_model",
    "measure",
    "open_image",
    "predict",
    "read_corrections",
    "read_rois",
    "rois_to_labels",
    "save_model",
    "train",
    "with_classes",
    "write_labels",
    "write_measurements",
    "write_rois",
]


def __getattr__(name: str) -> Any:
    # imported on first use: importing the package costs neither torch nor Qt
    if name not in _HOME_OF:
        raise AttributeError(f"module 'napari_unet' has no attribute {name!r}")
    return getattr(import_module(f"napari_unet.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

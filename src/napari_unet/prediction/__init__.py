"""Image and model to maps and labels, in seam-exact tiles."""

from napari_unet.prediction.device import (
    available_devices,
    has_bfloat16,
    is_out_of_memory,
    pick_device,
    thread_count,
    threads,
)
from napari_unet.prediction.instances import decode
from napari_unet.prediction.predict import Prediction, activate, iter_predict, predict, select_channels
from napari_unet.prediction.runner import PredictConfig, tiled_forward

__all__ = [
    "PredictConfig",
    "Prediction",
    "activate",
    "available_devices",
    "decode",
    "has_bfloat16",
    "is_out_of_memory",
    "iter_predict",
    "pick_device",
    "predict",
    "select_channels",
    "thread_count",
    "threads",
    "tiled_forward",
]

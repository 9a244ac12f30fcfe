"""Image and model to maps and labels, in seam-exact tiles."""

from napari_unet.prediction.batch import Batch, BatchConfig, Checked, Corrections, iter_segment_files
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.device import (
    available_devices,
    has_bfloat16,
    is_out_of_memory,
    pick_device,
    thread_count,
    threads,
)
from napari_unet.prediction.instances import decode
from napari_unet.prediction.linking import link
from napari_unet.prediction.measurements import Table, measure, write_measurements
from napari_unet.prediction.outputs import label_paths, rois_path
from napari_unet.prediction.predict import Prediction, activate, iter_predict, predict
from napari_unet.prediction.runner import tiled_forward
from napari_unet.prediction.view import select_channels

__all__ = [
    "Batch",
    "BatchConfig",
    "Checked",
    "Corrections",
    "PredictConfig",
    "Prediction",
    "Table",
    "activate",
    "available_devices",
    "decode",
    "has_bfloat16",
    "is_out_of_memory",
    "iter_predict",
    "iter_segment_files",
    "label_paths",
    "link",
    "measure",
    "pick_device",
    "predict",
    "rois_path",
    "select_channels",
    "thread_count",
    "threads",
    "tiled_forward",
    "write_measurements",
]

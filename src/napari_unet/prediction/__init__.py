"""Image and model to maps and labels, in seam-exact tiles."""

from napari_unet.prediction.batch import Batch, BatchConfig, Checked, Corrections, iter_segment_files
from napari_unet.prediction.card import CardProblem, unused_card
from napari_unet.prediction.config import DECODING, PredictConfig
from napari_unet.prediction.device import (
    available_devices,
    has_bfloat16,
    is_out_of_memory,
    pick_device,
    thread_count,
    threads,
)
from napari_unet.prediction.estimate import Estimate, estimate
from napari_unet.prediction.holes import hole_sizes
from napari_unet.prediction.instances import decode
from napari_unet.prediction.interactive import Divided, check_view, outline, shrink
from napari_unet.prediction.labelling import relabel
from napari_unet.prediction.linking import link
from napari_unet.prediction.measurements import Table, measure, write_measurements
from napari_unet.prediction.object_size import (
    diameter,
    find_object_size,
    iter_find_object_size,
    iter_surest_look,
    median_diameter,
)
from napari_unet.prediction.outputs import label_paths, rois_path, rois_paths
from napari_unet.prediction.predict import Prediction, activate, iter_predict, predict
from napari_unet.prediction.resuming import InMemory, finished_part
from napari_unet.prediction.runner import tiled_forward
from napari_unet.prediction.stopping import StoppedError
from napari_unet.prediction.suiting import (
    DEFAULT_MODEL,
    Suited,
    default_model,
    is_strange,
    iter_find_model,
    models_from,
)
from napari_unet.prediction.view import select_channels
from napari_unet.prediction.workspace import free_memory_of_host

__all__ = [
    "DECODING",
    "DEFAULT_MODEL",
    "Batch",
    "BatchConfig",
    "CardProblem",
    "Checked",
    "Corrections",
    "Divided",
    "Estimate",
    "InMemory",
    "PredictConfig",
    "Prediction",
    "StoppedError",
    "Suited",
    "Table",
    "activate",
    "available_devices",
    "check_view",
    "decode",
    "default_model",
    "diameter",
    "estimate",
    "find_object_size",
    "finished_part",
    "free_memory_of_host",
    "has_bfloat16",
    "hole_sizes",
    "is_out_of_memory",
    "is_strange",
    "iter_find_model",
    "iter_find_object_size",
    "iter_predict",
    "iter_segment_files",
    "iter_surest_look",
    "label_paths",
    "link",
    "measure",
    "median_diameter",
    "models_from",
    "outline",
    "pick_device",
    "predict",
    "relabel",
    "rois_path",
    "rois_paths",
    "select_channels",
    "shrink",
    "thread_count",
    "threads",
    "tiled_forward",
    "unused_card",
    "write_measurements",
]

"""Labels and status to a better model."""

from napari_unet.training.augment import AugmentConfig
from napari_unet.training.border import border_weights
from napari_unet.training.checkpoint import Unfinished, read_unfinished
from napari_unet.training.config import TrainConfig
from napari_unet.training.loop import Trained, fine_tune, iter_fine_tune, iter_train, train
from napari_unet.training.metrics import average_precision, iou, match_objects
from napari_unet.training.timing import Estimate, estimate
from napari_unet.training.validation import MIN_HELD_OUT_OBJECTS, Paired
from napari_unet.training.weights import with_classes

__all__ = [
    "MIN_HELD_OUT_OBJECTS",
    "AugmentConfig",
    "Estimate",
    "Paired",
    "TrainConfig",
    "Trained",
    "Unfinished",
    "average_precision",
    "border_weights",
    "estimate",
    "fine_tune",
    "iou",
    "iter_fine_tune",
    "iter_train",
    "match_objects",
    "read_unfinished",
    "train",
    "with_classes",
]

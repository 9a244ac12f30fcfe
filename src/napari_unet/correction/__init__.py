"""What the user did: edits as pure functions, the undo stack, and copies for training."""

from napari_unet.correction.edits import (
    Box,
    Edit,
    complete_area,
    confirm_object,
    delete_object,
    enclosed_holes,
    object_box,
    refill,
    stroke,
)
from napari_unet.correction.journal import Journal
from napari_unet.correction.snapshot import snapshot

__all__ = [
    "Box",
    "Edit",
    "Journal",
    "complete_area",
    "confirm_object",
    "delete_object",
    "enclosed_holes",
    "object_box",
    "refill",
    "snapshot",
    "stroke",
]

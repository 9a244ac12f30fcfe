"""What an image is: axes, intensity, files."""

from napari_unet.images.axes import (
    CANONICAL,
    check_axes,
    from_canonical,
    guess_axes,
    label_axes,
    to_canonical,
)
from napari_unet.images.io import IMAGE_SUFFIXES, ImageFile, image_files, read_image, write_labels
from napari_unet.images.normalize import Normalization, measure_normalization

__all__ = [
    "CANONICAL",
    "IMAGE_SUFFIXES",
    "ImageFile",
    "Normalization",
    "check_axes",
    "from_canonical",
    "guess_axes",
    "image_files",
    "label_axes",
    "measure_normalization",
    "read_image",
    "to_canonical",
    "write_labels",
]

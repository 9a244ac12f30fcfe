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
from napari_unet.images.resample import Rescaled, covering, nearest_index, resample_plane, scaled_length

__all__ = [
    "CANONICAL",
    "IMAGE_SUFFIXES",
    "ImageFile",
    "Normalization",
    "Rescaled",
    "check_axes",
    "covering",
    "from_canonical",
    "guess_axes",
    "image_files",
    "label_axes",
    "measure_normalization",
    "nearest_index",
    "read_image",
    "resample_plane",
    "scaled_length",
    "to_canonical",
    "write_labels",
]

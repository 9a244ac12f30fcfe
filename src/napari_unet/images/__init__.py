"""What an image is: axes, intensity, files."""

from napari_unet.images.atomic import ensure_writable, replace_file, written_at_once
from napari_unet.images.axes import (
    CANONICAL,
    AxesGuess,
    check_axes,
    explain_axes,
    from_canonical,
    guess_axes,
    label_axes,
    label_planes,
    to_canonical,
)
from napari_unet.images.colours import fit_colours
from napari_unet.images.ground import has_bright_ground
from napari_unet.images.io import (
    IMAGE_SUFFIXES,
    full_stem,
    image_files,
    image_stem,
    layer_axes,
    open_image,
    read_image,
    say_passed_over,
)
from napari_unet.images.labels import read_provenance, write_labels
from napari_unet.images.naming import LABEL_ENDINGS, is_named_as_labels, label_stems, shared_stem
from napari_unet.images.normalize import Normalization, measure_normalization
from napari_unet.images.opened import Level, OpenedImage, micrometres, nearest_level
from napari_unet.images.resample import Rescaled, covering, nearest_index, resample_plane, scaled_length
from napari_unet.images.rois import iter_rois_to_labels, labels_to_rois, read_rois, rois_to_labels, write_rois

__all__ = [
    "CANONICAL",
    "IMAGE_SUFFIXES",
    "LABEL_ENDINGS",
    "AxesGuess",
    "Level",
    "Normalization",
    "OpenedImage",
    "Rescaled",
    "check_axes",
    "covering",
    "ensure_writable",
    "explain_axes",
    "fit_colours",
    "from_canonical",
    "full_stem",
    "guess_axes",
    "has_bright_ground",
    "image_files",
    "image_stem",
    "is_named_as_labels",
    "iter_rois_to_labels",
    "label_axes",
    "label_planes",
    "label_stems",
    "labels_to_rois",
    "layer_axes",
    "measure_normalization",
    "micrometres",
    "nearest_index",
    "nearest_level",
    "open_image",
    "read_image",
    "read_provenance",
    "read_rois",
    "replace_file",
    "resample_plane",
    "rois_to_labels",
    "say_passed_over",
    "scaled_length",
    "shared_stem",
    "to_canonical",
    "write_labels",
    "write_rois",
    "written_at_once",
]

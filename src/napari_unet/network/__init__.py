"""The U-Net and its arithmetic."""

from napari_unet.network.receptive_field import (
    alignment,
    halo,
    needed_regions,
    operations,
    receptive_radius,
    valid_input_size,
)
from napari_unet.network.unet import UNet

__all__ = ["UNet", "alignment", "halo", "needed_regions", "operations", "receptive_radius", "valid_input_size"]

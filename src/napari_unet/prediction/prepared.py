"""A network made ready for prediction on a device."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_unet.prediction.device import has_bfloat16
from napari_unet.prediction.parts import InParts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.network import UNet

__all__ = ["choose_precision", "prepared"]


def choose_precision(wanted: str, device: torch.device, network: UNet) -> tuple[str, torch.dtype]:
    """Return name and type of the numbers to compute with: half precision where the hardware has it, for ``"auto"``."""
    own = next(network.parameters()).dtype
    if wanted == "auto":
        wanted = str(own).removeprefix("torch.")
        if own == torch.float32 and device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 7:
            wanted = "float16"
        elif own == torch.float32 and device.type == "cpu" and has_bfloat16(device):
            wanted = "bfloat16"
    return wanted, own if wanted == "float32" and own == torch.float64 else getattr(torch, wanted)


def prepared(
    network: UNet,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fold: bool = True,
    channels_last: bool = True,
    before_layer: Callable[[], None] | None = None,
) -> UNet:
    """Return a copy for prediction: batch norm folded into the convolutions, channels last.

    Parameters
    ----------
    network : UNet
    device : torch.device
    dtype : torch.dtype
    fold : bool
        Fold the batch norms.
    channels_last : bool
        Keep the channels of a voxel together, as the kernels of half precision and of oneDNN want them.
    before_layer : callable, optional
        Called before each layer, and on a processor within long ones, so that a long pass can be left.
    """
    copied = copy.deepcopy(network).eval()
    if fold:
        _fold(copied)
    if before_layer is not None:
        for module in copied.modules():
            if not list(module.children()):
                module.register_forward_pre_hook(lambda *_: before_layer())
        if device.type == "cpu" and channels_last:
            _cut_long_layers(copied, before_layer)
    layout = torch.channels_last if network.spatial_dims == 2 else torch.channels_last_3d
    if not channels_last:
        layout = torch.contiguous_format
    moved: UNet = copied.to(device=device, dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
    return moved


def _cut_long_layers(network: UNet, before_part: Callable[[], None]) -> None:
    for block in _blocks(network):
        for place, layer in enumerate(block):
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d):
                block[place] = InParts(layer, before_part)


def _blocks(network: UNet) -> Iterator[torch.nn.Sequential]:
    for block in [*network.contracting, *network.expanding]:
        assert isinstance(block, torch.nn.Sequential)
        yield block


def _fold(network: UNet) -> None:
    for block in _blocks(network):
        for place, layer in enumerate(block):
            following = block[place + 1] if place + 1 < len(block) else None
            if isinstance(following, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
                assert isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d)
                block[place] = fuse_conv_bn_eval(layer, following)
                block[place + 1] = torch.nn.Identity()

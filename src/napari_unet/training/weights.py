"""Weights: where they start, their running average, and which of them decay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from napari_unet.network import UNet

__all__ = ["average_into", "parameter_groups", "take_weights"]


def take_weights(network: UNet, source: UNet) -> None:
    """Take over the weights of another network wherever they fit; the output layer stays fresh."""
    own = network.state_dict()
    fitting = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if name in own and own[name].shape == tensor.shape and not name.startswith("head.")
    }
    network.load_state_dict({**own, **fitting})


def parameter_groups(network: UNet, weight_decay: float) -> list[dict[str, object]]:
    """Return the parameters for an optimiser: kernels decay, biases and norms do not."""
    return [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.no_grad()
def average_into(average: UNet, network: UNet, decay: float) -> None:
    """Move a running average of the weights towards those of the network."""
    averaged, current = average.state_dict(), network.state_dict()
    for name, tensor in averaged.items():
        if tensor.is_floating_point():
            tensor.lerp_(current[name], 1 - decay)
        else:
            tensor.copy_(current[name])

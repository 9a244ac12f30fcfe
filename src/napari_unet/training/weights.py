"""Weights: where they start, their running average, and which of them decay."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_unet.errors import ConfigError
from napari_unet.models import Model, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_unet.models import ClassSpec
    from napari_unet.network import UNet
    from napari_unet.training.config import TrainConfig

__all__ = ["average_into", "make_optimizer", "mixed", "take_weights", "with_classes"]

_FAINT = 3.0
"""How far the logits of a new class start below those of the background."""


def take_weights(network: UNet, source: UNet) -> None:
    """Take over the weights of another network wherever they fit; the output layer stays fresh.

    Another number of input channels: each gets the same share of what the source's channels had together. A
    network of planes for one of volumes: it starts by treating each plane as the source does.
    """
    own = network.state_dict()
    fitting = {}
    for name, tensor in source.state_dict().items():
        if name not in own or name.startswith("head."):
            continue
        fitted = _fitted(name, tensor, own[name].shape)
        if fitted is not None:
            fitting[name] = fitted
    network.load_state_dict({**own, **fitting})


def with_classes(model: Model, classes: Sequence[ClassSpec]) -> Model:
    """Return a model of classes whose output layer has a map for each of `classes`.

    Classes of the model, told by their names, keep their weights, so that it answers for them as before. A new one
    starts as a faint copy of the background: nowhere the most likely, until it is learned by fine-tuning.

    Parameters
    ----------
    model : Model
        It is not changed.
    classes : sequence of ClassSpec
        Without the background. A class may get another colour or place; one that is left out is forgotten.

    Raises
    ------
    ConfigError
        If the model is one of objects, which knows one kind alone.

    Examples
    --------
    >>> more = with_classes(model, [*model.spec.classes, ClassSpec(name="debris")])  # doctest: +SKIP
    """
    if model.spec.task != "semantic":
        raise ConfigError(
            f"The model {model.spec.name!r} finds one kind of object. Make a second model for another kind, or a "
            "model of classes."
        )
    known = {one.name: row for row, one in enumerate(model.spec.maps)}
    values = {**model.spec.model_dump(), "classes": tuple(classes), "maps": ()}
    spec = ModelSpec.model_validate(values)
    rows = [known.get(one.name) for one in spec.maps]
    with torch.random.fork_rng():
        network = spec.build_network()
    state = copy.deepcopy(model.network.state_dict())
    for name in ("head.weight", "head.bias"):
        old = state[name]
        state[name] = torch.stack([old[0 if row is None else row] for row in rows])
    state["head.bias"] -= torch.tensor([_FAINT if row is None else 0.0 for row in rows])
    network.load_state_dict(state)
    return Model(network.eval(), spec)


@torch.no_grad()
def mixed(base: Model, tuned: Model, share: float) -> Model:
    """Return a model whose weights are, for a share, those of another; thresholds are those of `base`."""
    network = copy.deepcopy(tuned.network)
    old, state = base.network.state_dict(), network.state_dict()
    network.load_state_dict(
        {name: t.lerp(old[name].to(t), share) if t.is_floating_point() else t for name, t in state.items()}
    )
    return Model(network.eval(), tuned.spec)


def make_optimizer(network: UNet, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe: kernels decay, biases and norms do not."""
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    # one pass over all weights, where the default takes a dozen for each
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True if on_cpu else None)


@torch.no_grad()
def average_into(average: UNet, network: UNet, decay: float) -> None:
    """Move a running average of the weights towards those of the network."""
    averaged, current = average.state_dict(), network.state_dict()
    for name, tensor in averaged.items():
        if tensor.is_floating_point():
            tensor.lerp_(current[name], 1 - decay)
        else:
            tensor.copy_(current[name])


def _fitted(name: str, tensor: Tensor, shape: torch.Size) -> Tensor | None:
    if tensor.shape == shape:
        return tensor
    if tensor.ndim == 4 and len(shape) == 5:  # a kernel of planes for one of volumes
        depth = shape[2]
        if name.startswith("ups."):
            tensor = tensor[:, :, None].expand(-1, -1, depth, -1, -1)
        else:
            tensor = functional.pad(tensor[:, :, None], (0, 0, 0, 0, depth // 2, depth // 2))
    if name == "contracting.0.0.weight" and tensor.shape[1] != shape[1]:
        tensor = (tensor.sum(1, keepdim=True) / shape[1]).expand(-1, shape[1], *shape[2:])
    return tensor if tensor.shape == shape else None

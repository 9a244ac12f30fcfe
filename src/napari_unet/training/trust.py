"""Whether a device computes what the CPU computes: found out by a few real steps on both."""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.errors import TrainingError
from napari_unet.events import StepDone
from napari_unet.models import Model
from napari_unet.network import halo
from napari_unet.training.budget import Budget
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.training.config import TrainConfig
    from napari_unet.training.sampling import Field

__all__ = ["first_losses", "is_trusted"]

_STEPS = 20
_CPU_SECONDS = 10.0


def is_trusted(device: torch.device, model: Model, fields: Sequence[Field], config: TrainConfig) -> bool:
    """Tell whether the first steps on a device lower the loss as they do on the CPU.

    Some drivers compute convolutions or their gradients wrongly and say nothing. The same 20 steps of two small
    patches, from the same weights, are taken on both; it costs a second or two.
    """
    if device.type == "cpu":
        return True
    on_cpu = first_losses(torch.device("cpu"), model, fields, config)
    try:
        there = first_losses(device, model, fields, config, steps=len(on_cpu))
    except (RuntimeError, TrainingError):  # an operation that it lacks, or losses that are no numbers
        return False
    if len(there) < len(on_cpu) or not all(map(math.isfinite, there)):
        return False
    few = max(1, len(on_cpu) // 4)
    start, end, end_there = (float(np.mean(part)) for part in (on_cpu[:few], on_cpu[-few:], there[-few:]))
    # half of the way down is enough: number formats and the order of sums differ
    return end_there <= end + max(0.5 * (start - end), 0.1 * abs(end))


def first_losses(
    device: torch.device,
    model: Model,
    fields: Sequence[Field],
    config: TrainConfig,
    *,
    steps: int = _STEPS,
) -> list[float]:
    """Return the losses of the first steps of a training on a device; the model stays as it is.

    On the CPU as many of them as go into ten seconds, but three at least: a large network is slow there.
    """
    margin = max(halo(model.network)) if model.network.padding == "valid" else 0
    patch = (64 if model.spec.spatial_dims == 2 else 32) + 2 * margin
    small = config.model_copy(update={"steps": _STEPS, "minutes": None, "batch": 2, "patch": patch})
    trainer = Trainer(Model(copy.deepcopy(model.network), model.spec), fields, small, np.random.default_rng(0), device)
    budget = Budget(small)
    losses: list[float] = []
    begin = time.monotonic()
    for number in range(steps):
        if device.type == "cpu" and number >= 3 and time.monotonic() > begin + _CPU_SECONDS:
            break
        losses += [event.loss for event in trainer.step(budget) if isinstance(event, StepDone)]
    return losses

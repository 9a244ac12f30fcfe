"""How long a training takes on this machine, known before it starts."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.annotation import Annotated
from napari_unet.models import Model, library_folder
from napari_unet.prediction import pick_device, thread_count
from napari_unet.training.budget import Budget
from napari_unet.training.config import TrainConfig
from napari_unet.training.resolving import resolved
from napari_unet.training.sampling import make_fields
from napari_unet.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.models import ModelSpec

__all__ = ["Estimate", "estimate", "remember_step_time"]

_DEFAULT_MINUTES = 5.0
_TIMED = 3
"""Steps that are timed; the fastest counts, for whatever else goes on makes one slower."""


@dataclass(frozen=True)
class Estimate:
    """What a training will cost on this machine.

    Attributes
    ----------
    steps : int
        How many steps there will be.
    minutes : float
        How long they take, validations aside.
    seconds_per_step : float
    """

    steps: int
    minutes: float
    seconds_per_step: float


def estimate(
    spec: ModelSpec, config: TrainConfig | None = None, *, slices: int = 1, fine_tuning: bool = False
) -> Estimate:
    """Tell how many minutes or steps a training is on this machine.

    The first time, some steps of one patch are timed; the time is remembered, and each training that was run
    corrects it.

    Parameters
    ----------
    spec : ModelSpec
        What is trained.
    config : TrainConfig, optional
    slices : int
        Depth of the stacks that a 3-D model is trained on.
    fine_tuning : bool
        Whether a model is trained further: it takes other patches by default.

    Returns
    -------
    Estimate

    Examples
    --------
    >>> estimate(load_model("nuclei").spec, TrainConfig(minutes=5)).steps  # doctest: +SKIP
    180
    """
    with torch.device("meta"):
        shell = Model(spec.build_network(), spec)
    config = resolved(config or TrainConfig(), shell, fine_tuning=fine_tuning)
    key = _key(spec, config, slices)
    known = _remembered().get(key)
    if known is None:
        known = (config.batch or 1) * _time_step(spec, config, slices)
        _remember(key, known)
    if config.steps is not None:
        return Estimate(config.steps, config.steps * known / 60, known)
    minutes = config.minutes or _DEFAULT_MINUTES
    return Estimate(max(1, round(60 * minutes / known)), minutes, known)


def remember_step_time(spec: ModelSpec, config: TrainConfig, seconds: float, *, slices: int = 1) -> None:
    """Keep what a step of a real training has cost."""
    _remember(_key(spec, config, slices), seconds)


def _time_step(spec: ModelSpec, config: TrainConfig, slices: int) -> float:
    """Return the seconds that one patch takes: forward, backward and all that is around them."""
    shape = (*(slices,) * (spec.spatial_dims - 2), 64, 64)
    labels = np.zeros(shape, np.uint8)
    labels[..., 20:40, 20:40] = 1
    image = np.random.default_rng(0).random((spec.in_channels, *shape))
    sample = Annotated(image, labels, axes="CYX" if spec.spatial_dims == 2 else "CZYX")
    one = config.model_copy(update={"batch": 1, "steps": 1 + _TIMED, "minutes": None})
    with torch.random.fork_rng():
        model = Model(spec.build_network(), spec)
    rng = np.random.default_rng(0)
    trainer = Trainer(model, make_fields([sample], spec), one, rng, pick_device(config.device))
    budget = Budget(one)
    trainer.step(budget)  # allocates, and lets the libraries choose their kernels
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        trainer.step(budget)
        times.append(time.perf_counter() - start)
    return min(times)


def _key(spec: ModelSpec, config: TrainConfig, slices: int) -> str:
    what = [
        spec.network.model_dump(mode="json"), spec.in_channels, len(spec.maps), config.batch, config.patch,
        config.precision, str(pick_device(config.device)), config.threads or thread_count(),
        min(32, slices) if spec.spatial_dims == 3 else 1, torch.__version__,
    ]  # fmt: skip
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()


def _file() -> Path:
    return library_folder().parent / "step-times.json"


def _remembered() -> dict[str, float]:
    with suppress(OSError, ValueError):
        times = json.loads(_file().read_text())
        return {str(key): float(seconds) for key, seconds in times.items()}
    return {}


def _remember(key: str, seconds: float) -> None:
    # a time that cannot be kept is measured again: no reason to disturb anyone
    with suppress(OSError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps({**_remembered(), key: seconds}))
        temporary.replace(file)

"""The training loop: a generator that can be stopped between any two steps."""

from __future__ import annotations

import copy
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_unet._version import __version__
from napari_unet.errors import TrainingError
from napari_unet.events import Event, Score, StepDone, Validated
from napari_unet.models import Model, ModelSpec
from napari_unet.network import UNet, alignment, halo
from napari_unet.prediction import (
    PredictConfig,
    has_bfloat16,
    is_out_of_memory,
    pick_device,
    thread_count,
    threads,
)
from napari_unet.training.augment import AugmentConfig, augment, source_size
from napari_unet.training.losses import instance_loss, semantic_loss
from napari_unet.training.metrics import median_diameter
from napari_unet.training.sampling import PatchSampler, make_fields
from napari_unet.training.validation import (
    Paired,
    compare,
    field_maps,
    hold_out,
    score,
    score_maps,
    tune_decoder,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from threading import Event as StopFlag

    from napari_unet.annotation import Annotated
    from napari_unet.training.sampling import Field as LearningField

__all__ = ["TrainConfig", "Trained", "fine_tune", "iter_fine_tune", "iter_train", "train"]

_MAX_VALIDATION_FIELDS = 20


class TrainConfig(BaseModel):
    """How to train. The defaults are those of the panel and of the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    minutes: float | None = Field(default=None, gt=0)
    """How long to train. Give minutes or steps; neither: 5 minutes."""
    steps: int | None = Field(default=None, ge=1)
    """How many steps to train: with the same seed, device and threads the result is the same."""
    batch: int = Field(default=8, ge=1)
    """Patches per step."""
    patch: int | None = Field(default=None, ge=32)
    """Edge of a patch in pixels. None: 192 for planes, 64 for volumes (z: as deep as the stack, at most 32)."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak of the learning rate. None: 0.002 from scratch, 0.0007 for fine-tuning."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Decoupled weight decay of AdamW."""
    ema: float = Field(default=0.995, ge=0, lt=1)
    """Decay of the running average of the weights, which is what is kept. 0: off."""
    validation: float = Field(default=0.2, ge=0, le=0.5)
    """Share of the checked objects that is held out for the score. 0: none."""
    augmentation: AugmentConfig = AugmentConfig()
    """What is varied in the patches."""
    device: str = "auto"
    """cuda, mps or cpu. auto: the best one that works."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the convolutions. auto: bfloat16 where the device computes it in hardware."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads. None: all cores; the panel leaves one to the window."""
    seed: int = 0
    """Seed of everything random."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.minutes is not None and self.steps is not None:
            raise ValueError("give minutes or steps, not both")
        return self


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gives.

    Attributes
    ----------
    model : Model
        The best weights on the held-out areas, else the last ones.
    history : list of Event
        Every `StepDone` and `Validated`.
    score : Score or None
        On the held-out areas; None where nothing was held out.
    paired : Paired or None
        Against the model that was fine-tuned, on held-out objects, else on those it learned from.
    stopped : bool
        Whether it ended early because it was told to.
    """

    model: Model
    history: list[Event] = field(default_factory=list)
    score: Score | None = None
    paired: Paired | None = None
    stopped: bool = False


def train(
    samples: Sequence[Annotated], config: TrainConfig | None = None, *, spec: ModelSpec | None = None,
    stop: StopFlag | None = None,
) -> Trained:  # fmt: skip
    """Train a model from scratch; see `iter_train`."""
    return _drain(iter_train(samples, config, spec=spec, stop=stop))


def fine_tune(
    model: Model,
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    in_use: Model | None = None,
    stop: StopFlag | None = None,
) -> Trained:
    """Train a model further on checked voxels; see `iter_fine_tune`."""
    return _drain(iter_fine_tune(model, samples, config, in_use=in_use, stop=stop))


def iter_train(
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    spec: ModelSpec | None = None,
    start: Model | None = None,
    stop: StopFlag | None = None,
) -> Generator[Event, None, Trained]:
    """Train a model from scratch, step by step.

    Parameters
    ----------
    samples : sequence of Annotated
        Only checked voxels are learned from.
    config : TrainConfig, optional
    spec : ModelSpec, optional
        What to train. None: an instance model of planes for the channels of the samples.
    start : Model, optional
        Take over its weights wherever they fit; the output layer and what does not fit start fresh.
    stop : threading.Event, optional
        Set it from elsewhere; the training ends after the step in progress, with the best so far.

    Yields
    ------
    StepDone, Validated

    Returns
    -------
    Trained

    Raises
    ------
    TrainingError
        If no object or no background is checked, or the device has too little memory.
    """
    config = config or TrainConfig()
    spec = spec or _default_spec(samples)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = spec.build_network()
    if start is not None:
        _take_weights(network, start.network)
    rate = config.learning_rate or (2e-3 if start is None else 1e-3)
    return (yield from _iter_steps(Model(network, spec), samples, config, rate, stop=stop))


def iter_fine_tune(
    model: Model,
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    in_use: Model | None = None,
    stop: StopFlag | None = None,
) -> Generator[Event, None, Trained]:
    """Train a model further, step by step; parameters, events and errors are those of `iter_train`.

    The model itself is not changed. `in_use` is the model that the result is compared with, where that is not
    `model` itself: a fine-tuning starts from the base model again, because stacked ones drift.
    """
    config = config or TrainConfig()
    copied = Model(copy.deepcopy(model.network), model.spec)
    rate = config.learning_rate or 7e-4
    return (yield from _iter_steps(copied, samples, config, rate, parent=in_use or model, stop=stop))


def _iter_steps(
    model: Model,
    samples: Sequence[Annotated],
    config: TrainConfig,
    rate: float,
    *,
    parent: Model | None = None,
    stop: StopFlag | None,
) -> Generator[Event, None, Trained]:
    rng = np.random.default_rng(config.seed)
    fields, held_out = hold_out(make_fields(samples, model.spec), config.validation, halo(model.network), rng)
    # what the best weights are chosen on: so few that training does not wait for it; the end is scored on all
    looked_at = held_out[:: -(-len(held_out) // _MAX_VALIDATION_FIELDS)] if held_out else []
    trainer = _Trainer(model, fields, config, rate, rng)
    budget = _Budget(config)
    history: list[Event] = []
    best: tuple[float, dict[str, Any]] | None = None
    predict_config = PredictConfig(device=config.device, precision=trainer.precision)
    stopped = False
    while budget.left > 0 and not stopped:
        event: Event = trainer.step(budget)
        history.append(event)
        yield event
        stopped = stop is not None and stop.is_set()
        if held_out and budget.validation_is_due(stopped):
            with budget.validating(), threads(trainer.threads):
                candidate = trainer.result()
                current = score(candidate, looked_at, predict_config)
            # the count of matched objects alone is a noisy judge
            value = current.average_precision + current.foreground_iou
            is_best = best is None or value >= best[0]
            if is_best:
                best = (value, candidate.network.state_dict())
            event = Validated(trainer.steps_done, current, is_best)
            history.append(event)
            yield event
    result = trainer.result()
    if best is not None:
        result.network.load_state_dict(best[1])
    with threads(trainer.threads):
        trained = _finish(result, parent, fields, held_out, history=history, config=config, stopped=stopped)
    spec = trained.model.spec.model_copy(update={"object_diameter_px": _object_diameter(model.spec, samples, fields)})
    return replace(trained, model=Model(trained.model.network, spec))


class _Trainer:
    """The network with its optimiser, running average and source of patches."""

    def __init__(
        self,
        model: Model,
        fields: Sequence[LearningField],
        config: TrainConfig,
        rate: float,
        rng: np.random.Generator,
    ) -> None:
        self._spec = model.spec
        self._config = config
        self._rate = rate
        self._device = pick_device(config.device)
        self.precision = config.precision
        if config.precision == "auto":
            self.precision = "bfloat16" if has_bfloat16(self._device) else "float32"
        self._patch = _patch_size(model, fields, config)
        self._sampler = PatchSampler(fields, source_size(self._patch, config.augmentation), rng)
        self._generator = torch.Generator().manual_seed(config.seed)
        layout = torch.channels_last if self._spec.spatial_dims == 2 else torch.channels_last_3d
        self._network: UNet = model.network.to(self._device, memory_format=layout)  # type: ignore[call-overload]
        self._network.train()
        self._average = copy.deepcopy(self._network).eval().requires_grad_(False)
        decayed = [p for p in self._network.parameters() if p.ndim > 1]
        plain = [p for p in self._network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, lr=rate)
        self._loss = instance_loss if self._spec.task == "instances" else semantic_loss
        self.threads = config.threads or thread_count()
        self.steps_done = 0

    def step(self, budget: _Budget) -> StepDone:
        """Draw a batch, bend it, and take one step."""
        with threads(self.threads):
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate * _schedule(budget.fraction)
            try:
                parts = self._gradients()
            except (MemoryError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise TrainingError(
                        f"{self._config.batch} patches do not fit into the memory of {self._device}. "
                        "Choose a smaller batch, or the device 'cpu'."
                    ) from error
                raise
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
            self._optimizer.step()
            self._update_average()
        self.steps_done += 1
        budget.step_done()
        total = sum(parts.values())
        if not math.isfinite(total):
            raise TrainingError("The training lost its way (the loss is not a number). Choose a lower learning rate.")
        return StepDone(self.steps_done, budget.fraction, total, parts, budget.seconds_left)

    def result(self) -> Model:
        """Return the running average of the weights, on the CPU."""
        return Model(copy.deepcopy(self._average).cpu(), self._spec)

    def _gradients(self) -> dict[str, float]:
        patches = self._sampler.draw(self._config.batch)
        arrays = (patches.image, patches.distances, patches.masks)
        image, distances, masks = augment(
            *(torch.from_numpy(array).to(self._device, torch.float32) for array in arrays),
            patch=self._patch,
            config=self._config.augmentation,
            generator=self._generator,
        )
        self._optimizer.zero_grad(set_to_none=True)
        half = torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with half, self._own_randomness():
            logits = self._network(image)
        parts = self._loss(logits.float(), distances, masks)
        torch.stack(list(parts.values())).sum().backward()
        return {name: float(part.detach()) for name, part in parts.items()}

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Let dropout draw from the seed of this training, and leave the random state of the process alone."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self._config.seed + self.steps_done)
            yield

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._config.ema, (1 + self.steps_done) / (10 + self.steps_done))
        averaged, current = self._average.state_dict(), self._network.state_dict()
        for name, tensor in averaged.items():
            if tensor.is_floating_point():
                tensor.lerp_(current[name], 1 - decay)
            else:
                tensor.copy_(current[name])


class _Budget:
    """Minutes or steps, whichever was asked for."""

    def __init__(self, config: TrainConfig) -> None:
        self._steps = config.steps
        self._seconds = 60 * (config.minutes or 5.0)
        self._start = time.monotonic()
        self._done = 0
        self._validated = 0.0
        self._seconds_validating = self._last_validation = 0.0

    @property
    def fraction(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        used = self._done / self._steps if self._steps else (time.monotonic() - self._start) / self._seconds
        return min(1.0, used)

    @property
    def left(self) -> float:
        """Share of the budget that is left, 0 to 1."""
        return 1.0 - self.fraction

    @property
    def seconds_left(self) -> float:
        """Estimate of the time that is left."""
        if self._steps is None:
            return self._seconds * self.left
        return (time.monotonic() - self._start) / max(1, self._done) * (self._steps - self._done)

    def step_done(self) -> None:
        """Count a step."""
        self._done += 1

    def validation_is_due(self, stopped: bool) -> bool:
        """Tell whether to validate now: up to twelve times, and at the end.

        With a budget of minutes at most a tenth of them goes into it, so that its cost decides how often.
        """
        if self.left == 0 or stopped:
            return True
        if self.fraction < self._validated + 1 / 12:
            return False
        cheap = self._seconds_validating + self._last_validation <= 0.1 * (time.monotonic() - self._start)
        return self._steps is not None or cheap

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Measure what a validation costs."""
        self._validated = self.fraction
        start = time.monotonic()
        yield
        self._last_validation = time.monotonic() - start
        self._seconds_validating += self._last_validation


def _finish(
    result: Model,
    parent: Model | None,
    fields: Sequence[LearningField],
    held_out: Sequence[LearningField],
    *,
    history: list[Event],
    config: TrainConfig,
    stopped: bool,
) -> Trained:
    final = None
    exact = PredictConfig(device=config.device, precision="float32")
    if held_out:
        maps = [field_maps(result, one, exact) for one in held_out]
        decoder = tune_decoder(maps, held_out, result.spec.decoder)
        result = Model(result.network, result.spec.model_copy(update={"decoder": decoder}))
        final = score_maps(maps, held_out, decoder)
    looked_at = held_out or fields
    paired = None if parent is None else compare(parent, result, looked_at, exact, held_out=bool(held_out))
    provenance = {
        **({"parent": result.spec.name} if parent else {}),
        "date": date.today().isoformat(),
        "software": f"napari-unet {__version__}",
        "fields": len(fields),
        "held_out_fields": len(held_out),
        "steps": sum(isinstance(event, StepDone) for event in history),
        "config": config.model_dump(mode="json"),
        **({"score": vars(final)} if final else {}),
    }
    spec = result.spec.model_copy(update={"provenance": provenance})
    model = Model(result.network.eval().requires_grad_(True), spec)
    return Trained(model, history, final, paired, stopped)


def _object_diameter(spec: ModelSpec, samples: Sequence[Annotated], fields: Sequence[LearningField]) -> float | None:
    """Return the size of the objects that a model has learned from; unchanged where they were rescaled to it."""
    if spec.task != "instances" or any(sample.object_diameter_px for sample in samples):
        return spec.object_diameter_px
    diameters = [d for f in fields if (d := median_diameter(np.where(f.checked, f.targets.objects, 0))) is not None]
    return float(np.median(diameters)) if diameters else spec.object_diameter_px


def _drain(steps: Generator[Event, None, Trained]) -> Trained:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Trained = done.value
            return result


def _default_spec(samples: Sequence[Annotated]) -> ModelSpec:
    if not samples:
        raise TrainingError("There is nothing to train on. Give at least one image with labels.")
    sample = samples[0]
    letter = next((letter for letter in sample.axes if letter in "CS"), None)
    channels = sample.image.shape[sample.axes.index(letter)] if letter else 1
    return ModelSpec(channels=tuple(f"channel {n}" for n in range(channels)) if channels > 1 else ("image",))


def _take_weights(network: UNet, source: UNet) -> None:
    own = network.state_dict()
    fitting = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if name in own and own[name].shape == tensor.shape and not name.startswith("head.")
    }
    network.load_state_dict({**own, **fitting})


def _patch_size(model: Model, fields: Sequence[LearningField], config: TrainConfig) -> tuple[int, ...]:
    steps = alignment(model.network)
    if model.spec.spatial_dims == 2:
        wanted: tuple[int, ...] = (config.patch or 192,) * 2
    else:
        deepest = max((f.checked.shape[0] for f in fields), default=1)
        wanted = (min(32, deepest), *(config.patch or 64,) * 2)
    return tuple(max(step, -(-n // step) * step) for n, step in zip(wanted, steps, strict=True))


def _schedule(fraction: float) -> float:
    """Return the factor of the learning rate: a short rise, then half a cosine down to a hundredth."""
    warm_up = 0.03
    if fraction < warm_up:
        return max(0.05, fraction / warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (fraction - warm_up) / (1 - warm_up)))

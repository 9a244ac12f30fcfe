"""One training from its data to its result: steps, validations, checkpoints, the best so far."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.events import Event, Notice, Score, Validated
from napari_unet.models import Model
from napari_unet.network import halo
from napari_unet.prediction import PredictConfig, pick_device, thread_count, threads
from napari_unet.training.budget import Budget
from napari_unet.training.checkpoint import fingerprint, read_checkpoint, write_checkpoint
from napari_unet.training.counting import object_count
from napari_unet.training.mistakes import Mistakes, find_mistakes
from napari_unet.training.resolving import with_distance_weight
from napari_unet.training.sampling import BACKGROUND_SHARE, PRESUMED_SHARE, make_fields
from napari_unet.training.trainer import Trainer
from napari_unet.training.trust import is_trusted
from napari_unet.training.tuning import suit_holes
from napari_unet.training.validation import hold_out, score

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event as StopFlag

    from napari_unet.annotation import Annotated
    from napari_unet.training.config import TrainConfig

__all__ = ["Run"]

CHECKPOINT_SECONDS = 60.0
_MAX_VALIDATION_FIELDS = 20
_SECONDS_AFTER_STOP = 5.0
_NO_GAIN_AFTER = 4
"""Validations in a row without a better score after which the user is told; there are up to twelve."""


@dataclass
class _Best:
    """The best weights so far, and for how long nothing better came."""

    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    value: float = -np.inf
    without_gain: int = 0
    told: bool = False

    def consider(self, candidate: Model, current: Score) -> bool:
        # the count of matched objects alone is a noisy judge
        value = current.average_precision + current.foreground_iou
        self.without_gain = 0 if value > self.value else self.without_gain + 1
        is_best = value >= self.value
        if is_best:
            self.value, self.weights = value, candidate.network.state_dict()
        return is_best


class Run:
    """The course of one training, which can be broken off anywhere and goes on from its checkpoint.

    Parameters
    ----------
    model : Model
        Its network is trained in place.
    samples : sequence of Annotated
    config : TrainConfig
        With batch and patch filled in.
    rehearsal : sequence of Annotated
        Of what the model knew before.
    is_fine_tuning : bool
        Whether the model knows something already: more is then drawn from where it is wrong.
    stop : threading.Event, optional
    checkpoint : path, optional
        Written every minute; removed once the training has come to its end.
    keep_checkpoint : bool
        Write it at the end instead.
    """

    def __init__(
        self,
        model: Model,
        samples: Sequence[Annotated],
        config: TrainConfig,
        *,
        rehearsal: Sequence[Annotated] = (),
        is_fine_tuning: bool = False,
        stop: StopFlag | None = None,
        checkpoint: str | Path | None = None,
        keep_checkpoint: bool = False,
    ) -> None:
        self._is_fine_tuning = is_fine_tuning
        self._config, self._stop = config, stop
        self._rng = np.random.default_rng(config.seed)
        border = (config.border_weight, config.border_sigma_px)
        fields = make_fields(samples, model.spec, border=border)
        if config.tune_thresholds:
            # at once: the best weights are chosen by what is decoded; and before areas are held out, which cuts objects
            decoder = suit_holes(model.spec.decoder, fields)
            model = Model(model.network, model.spec.model_copy(update={"decoder": decoder}))
        self._model, self.spec = model, model.spec
        self.fields, self.held_out = hold_out(fields, config.validation, halo(model.network), self._rng)
        self._drawn = sum(object_count([field]) for field in self.fields)  # each object in each of its planes
        # what the best weights are chosen on: so few that training does not wait for it; the end is scored on all
        every = max(1, -(-len(self.held_out) // _MAX_VALIDATION_FIELDS))
        self._looked_at = self.held_out[::every]
        self._path = None if checkpoint is None else Path(checkpoint)
        self._keeps = keep_checkpoint
        self._rehearsal = make_fields(rehearsal, model.spec, border=border)
        everything = [*self.fields, *self.held_out, *self._rehearsal]
        self._of = "" if checkpoint is None else fingerprint(config, model, everything)
        self._best = _Best()
        self.history: list[Event] = []
        self.stopped = False
        self.is_known = False  # whether a model is trained further that knows such objects
        self._stopped_at = math.inf
        self._step_times: list[float] = []

    @property
    def seconds_per_step(self) -> float | None:
        """What a step has cost; None where too few were taken to tell."""
        return float(np.median(self._step_times)) if len(self._step_times) >= 10 else None

    def give_up(self) -> bool:
        """Whether to leave what is not needed: soon after Stop."""
        return self._hears_stop() and time.monotonic() - self._stopped_at > _SECONDS_AFTER_STOP

    @property
    def threads(self) -> int:
        """CPU threads of the steps."""
        return self._trainer.threads

    @property
    def chosen(self) -> dict[str, Any]:
        """What was chosen for the settings that were left open."""
        trainer = self._trainer
        weight = self._weighted.distance_weight
        return {
            "device": str(trainer.device),
            "precision": trainer.precision,
            "threads": trainer.threads,
            "distance_weight": weight,
        }

    @property
    def _weighted(self) -> TrainConfig:
        return with_distance_weight(self._config, is_new_kind=self._is_fine_tuning and not self.is_known)

    def events(self) -> Iterator[Event]:
        """Train; yields what happens."""
        budget = Budget(self._config, self._most_steps())
        yield from self._prepare(budget)
        try:
            yield from self._steps(budget)
            if self._keeps and not self.stopped:
                yield from self._save(budget, is_finished=True)
        except GeneratorExit:
            # whoever drains it goes away, a window that is closed for example: it can go on from here
            list(self._save(budget))
            raise

    def _most_steps(self) -> int | None:
        """Return the steps in which each object is drawn as often as it may be."""
        config = self._config
        if config.epochs is None or not self._drawn:
            return None
        presumed = config.background_prior and any(field.targets.presumed.any() for field in self.fields)
        known = 1 - PRESUMED_SHARE if presumed else 1.0
        per_step = (config.batch or 1) * known * (1 - BACKGROUND_SHARE)
        return max(1, round(config.epochs * self._drawn / per_step))

    def result(self) -> Model:
        """Return the best weights on the held-out areas, else the last ones."""
        result = self._trainer.result()
        if self._best.weights:
            result.network.load_state_dict(self._best.weights)
        return result

    def forget_checkpoint(self) -> None:
        """Remove the checkpoint of a training that has come to its end, unless it is to be kept.

        One that was stopped can go on.
        """
        if self._path is not None and not self.stopped and not self._keeps:
            self._path.unlink(missing_ok=True)

    def _prepare(self, budget: Budget) -> Iterator[Event]:
        saved = None if self._path is None else read_checkpoint(self._path, self._of)
        device = pick_device(self._config.device if saved is None else saved[1]["trainer"]["device"])
        if saved is None and not is_trusted(device, self._model, self.fields, self._config):
            yield from self._note(
                Notice(
                    f"{device} is not used: its first steps do not lower the loss as those of the CPU do, so what it "
                    "computes cannot be trusted. Training goes on with the CPU. A newer driver may help.",
                    "device",
                )
            )
            device = torch.device("cpu")
        mistakes = Mistakes([], is_known=False)
        looking = PredictConfig(device=str(device), precision="float32")
        with threads(self._config.threads or thread_count()):
            if self._is_fine_tuning:
                mistakes = find_mistakes(self._model, self.fields, looking, give_up=self._hears_stop)
        self.is_known = mistakes.is_known if saved is None else saved[1].get("is_known", self._is_fine_tuning)
        self._trainer = Trainer(
            self._model,
            self.fields,
            self._weighted,
            self._rng,
            device,
            mistakes=mistakes.where,
            rehearsal=self._rehearsal,
        )
        budget.begin()
        if saved is not None:
            tensors, state, self.history = saved
            weights = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}
            self._best = _Best(weights=weights, **state["best"])
            budget.restore(state["budget"])
            own = {name: tensor for name, tensor in tensors.items() if not name.startswith("best.")}
            self._trainer.restore(state["trainer"], own)
            yield Notice(
                f"Going on from step {self._trainer.steps_done}, where the training was broken off.", "resumed"
            )

    def _steps(self, budget: Budget) -> Iterator[Event]:
        saved_at, ended = time.monotonic(), self._has_lost_patience()
        if self.held_out and self.history and budget.validation_is_due(False):
            yield from self._validate(budget)  # it was broken off before it came to that
        while budget.left > 0 and not ended:
            started = time.perf_counter()
            happened = self._trainer.step(budget)
            self._step_times.append(time.perf_counter() - started)
            yield from self._note(*happened)
            self.stopped = self._hears_stop()
            if self.stopped:
                yield from self._save(budget)
            if self.held_out and budget.validation_is_due(self.stopped):
                yield from self._validate(budget)
                self.stopped = self._hears_stop()
            ended = self.stopped or self._has_lost_patience()
            if not ended and time.monotonic() >= saved_at + CHECKPOINT_SECONDS:
                yield from self._save(budget)
                saved_at = time.monotonic()
        if budget.is_at_most and not ended:
            objects = object_count(self.fields)
            where = " in each of its slices" if objects < self._drawn else ""
            yield from self._note(
                Notice(
                    f"Ended early: each of {objects} checked objects was seen {self._config.epochs} times{where}, more "
                    "would teach them by heart. Check others, and paint some background, to teach it more.",
                    "epochs",
                )
            )

    def _has_lost_patience(self) -> bool:
        patience = self._config.patience
        return patience is not None and self._best.without_gain >= patience

    def _note(self, *events: Event) -> Iterator[Event]:
        for event in events:
            self.history.append(event)
            yield event

    def _hears_stop(self) -> bool:
        is_set = self._stop is not None and self._stop.is_set()
        if is_set:
            self._stopped_at = min(self._stopped_at, time.monotonic())
        return is_set

    def _validate(self, budget: Budget) -> Iterator[Event]:
        config = PredictConfig(device=str(self._trainer.device), precision=self._trainer.precision)
        in_time = self.give_up if self.stopped else self._hears_stop
        with budget.validating(), threads(self.threads):
            candidate = self._trainer.result()
            current = score(candidate, self._looked_at, config, give_up=in_time)
        if current is None:
            return
        is_best = self._best.consider(candidate, current)
        yield from self._note(Validated(self._trainer.steps_done, current, is_best))
        if self._best.without_gain >= _NO_GAIN_AFTER and not self._best.told:
            self._best.told = True
            yield from self._note(
                Notice("No longer improving on the held-out areas: you can stop. The best is kept.", "no_gain")
            )

    def _save(self, budget: Budget, *, is_finished: bool = False) -> Iterator[Event]:
        if self._path is None:
            return
        best = self._best
        tensors = self._trainer.tensors() | {f"best.{name}": tensor for name, tensor in best.weights.items()}
        state: dict[str, Any] = {
            "trainer": self._trainer.state(),
            "budget": budget.state(),
            "best": {"value": best.value, "without_gain": best.without_gain, "told": best.told},
            "model": self.spec.name,
            "is_finished": is_finished,
            "config": self._config.model_dump(mode="json"),
            "is_known": self.is_known,
        }
        try:
            write_checkpoint(self._path, self._of, tensors, state, self.history)
        except OSError as error:
            reason = error.strerror or error
            path, self._path = self._path, None
            yield from self._note(
                Notice(
                    f"The checkpoint {path} cannot be written ({reason}). Training goes on; a crash would lose it.",
                    "checkpoint",
                )
            )

"""Training as others call it: a generator that can be stopped between any two steps."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet._version import __version__
from napari_unet.errors import TrainingError
from napari_unet.events import Event, Finishing, Score, StepDone
from napari_unet.generators import drained
from napari_unet.models import DecoderSpec, Model, ModelSpec
from napari_unet.prediction import PredictConfig, StoppedError, median_diameter, threads
from napari_unet.training.config import TrainConfig
from napari_unet.training.giving_back import give_back
from napari_unet.training.resolving import resolved
from napari_unet.training.run import Run
from napari_unet.training.timing import remember_step_time
from napari_unet.training.tuning import MAX_TUNED_VOXELS, tune_decoder
from napari_unet.training.validation import MIN_HELD_OUT_OBJECTS, Paired, compare, field_maps, score_maps
from napari_unet.training.weights import take_weights

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path
    from threading import Event as StopFlag

    from napari_unet.annotation import Annotated
    from napari_unet.training.sampling import Field

__all__ = ["Trained", "fine_tune", "iter_fine_tune", "iter_train", "train"]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gives.

    Attributes
    ----------
    model : Model
        The best weights on the held-out areas, else the last ones.
    history : list of Event
        Every `StepDone`, `Validated` and `Notice`.
    score : Score or None
        On the held-out areas; None where nothing was held out.
    paired : Paired or None
        Against the model that was fine-tuned, on held-out objects, else on those it learned from.
    stopped : bool
        Whether it ended early because it was told to.
    recipe : TrainConfig
        The settings with what was chosen for them: device, number format, threads. Keep it beside the model
        (`TrainConfig.to_toml`): where steps are counted, training with it again gives the same weights.
    """

    model: Model
    history: list[Event] = field(default_factory=list)
    score: Score | None = None
    paired: Paired | None = None
    stopped: bool = False
    recipe: TrainConfig = field(default_factory=TrainConfig)


def train(
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    spec: ModelSpec | None = None,
    start: Model | None = None,
    stop: StopFlag | None = None,
    checkpoint: str | Path | None = None,
) -> Trained:
    """Train a model from scratch; see `iter_train`."""
    return drained(iter_train(samples, config, spec=spec, start=start, stop=stop, checkpoint=checkpoint))


def fine_tune(
    model: Model,
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    in_use: Model | None = None,
    rehearsal: Sequence[Annotated] = (),
    stop: StopFlag | None = None,
    checkpoint: str | Path | None = None,
) -> Trained:
    """Train a model further on checked voxels; see `iter_fine_tune`."""
    steps = iter_fine_tune(model, samples, config, in_use=in_use, rehearsal=rehearsal, stop=stop, checkpoint=checkpoint)
    return drained(steps)


def iter_train(
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    spec: ModelSpec | None = None,
    start: Model | None = None,
    stop: StopFlag | None = None,
    checkpoint: str | Path | None = None,
    keep_checkpoint: bool = False,
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
    checkpoint : path, optional
        Where to keep the state of the training, every minute and at a stop. If the file is there already, the
        training goes on from it and ends as if it had never been broken off; a training that comes to its end
        removes it.
    keep_checkpoint : bool
        Leave it there at the end too, for whoever has yet to save the result or to decide on it. Taken up again, the
        training gives that result without another step.

    Yields
    ------
    StepDone, Validated, Notice, Finishing

    Returns
    -------
    Trained

    Raises
    ------
    TrainingError
        If no object or no background is checked, or the device has too little memory for a single patch.
    CheckpointError
        If `checkpoint` is a file of another training, or damaged.
    """
    config = config or TrainConfig()
    spec = spec or _default_spec(samples)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = spec.build_network()
    if start is not None:
        take_weights(network, start.network)
    model = Model(network, spec)
    config = resolved(config, model, fine_tuning=False)
    run = Run(model, samples, config, stop=stop, checkpoint=checkpoint, keep_checkpoint=keep_checkpoint)
    return (yield from _iter_run(run, samples, config))


def iter_fine_tune(
    model: Model,
    samples: Sequence[Annotated],
    config: TrainConfig | None = None,
    *,
    in_use: Model | None = None,
    rehearsal: Sequence[Annotated] = (),
    stop: StopFlag | None = None,
    checkpoint: str | Path | None = None,
    keep_checkpoint: bool = False,
) -> Generator[Event, None, Trained]:
    """Train a model further, step by step; what is not named here is as in `iter_train`.

    Parameters
    ----------
    model : Model
        It is not changed.
    samples : sequence of Annotated
    config : TrainConfig, optional
    in_use : Model, optional
        What the result is compared with, where that is not `model` itself: a fine-tuning starts from the base model
        again, because stacked ones drift.
    rehearsal : sequence of Annotated
        Samples of what the model knew before, against forgetting: `TrainConfig.rehearsal` of the patches come from
        them. None of them is held out or scored.
    stop : threading.Event, optional
    checkpoint : path, optional
    keep_checkpoint : bool

    Yields
    ------
    StepDone, Validated, Notice, Finishing

    Returns
    -------
    Trained
    """
    config = resolved(config or TrainConfig(), model, fine_tuning=True)
    copied = Model(copy.deepcopy(model.network), model.spec)
    run = Run(
        copied, samples, config, rehearsal=rehearsal, is_fine_tuning=True, stop=stop, checkpoint=checkpoint,
        keep_checkpoint=keep_checkpoint,
    )  # fmt: skip
    return (yield from _iter_run(run, samples, config, base=model, in_use=in_use or model))


def _iter_run(
    run: Run,
    samples: Sequence[Annotated],
    config: TrainConfig,
    *,
    base: Model | None = None,
    in_use: Model | None = None,
) -> Generator[Event, None, Trained]:
    yield from run.events()
    if run.seconds_per_step is not None:
        slices = max(one.checked.shape[0] for one in run.fields)
        remember_step_time(run.spec, config, run.seconds_per_step, slices=slices)
    # after Stop too: whoever has gone away by then leaves the checkpoint
    yield Finishing()
    with threads(run.threads):
        exact = PredictConfig(device=config.device, precision="float32")
        seen = [*run.held_out, *run.fields]
        some = _first(seen, run)
        result = _tuned(run.result(), some, run, exact) if config.tune_thresholds else run.result()
        share = 0.0
        # nothing of a model that does not know such objects is needed to find them
        if base is not None and (run.is_known or config.base_share != "auto"):
            result, share = give_back(base, result, seen, config.base_share, exact, give_up=run.give_up)
        final = _scored(result, run, exact)
        # shown where nothing was held out: what it learned from is at least before and after
        fields = run.held_out or run.fields
        paired = None
        if in_use is not None:
            paired = compare(in_use, result, fields, exact, held_out=bool(run.held_out), give_up=run.give_up)
    recipe = config.model_copy(update=run.chosen)
    provenance = {
        **({"parent": result.spec.name, "base_share": share} if base else {}),
        "date": date.today().isoformat(),
        "software": f"napari-unet {__version__}",
        "fields": len(run.fields),
        "held_out_fields": len(run.held_out),
        "steps": sum(isinstance(event, StepDone) for event in run.history),
        "config": recipe.model_dump(mode="json"),
        **({"score": vars(final)} if final else {}),
    }
    diameter = _object_diameter(result.spec, samples, run.fields)
    now = {"provenance": provenance, "object_diameter_px": diameter, "usual_sureness": None}
    spec = result.spec.model_copy(update=now)
    run.forget_checkpoint()
    model = Model(result.network.eval().requires_grad_(True), spec)
    return Trained(model, run.history, final, paired, run.stopped, recipe)


def _first(fields: Sequence[Field], run: Run) -> list[Field]:
    """Return as many of the fields as can be looked at soon: one at least, if there is one."""
    left = MAX_TUNED_VOXELS // 5 if run.stopped else MAX_TUNED_VOXELS
    sizes = np.cumsum([one.checked.size for one in fields])
    return list(fields[: max(1, int(np.searchsorted(sizes, left, "right")))])


def _tuned(result: Model, fields: Sequence[Field], run: Run, exact: PredictConfig) -> Model:
    """Return the model with the thresholds that suit what is checked, the held-out areas first.

    Between those that do as well, they stay as they are where the base model knows such objects. Where it does not, its
    thresholds say nothing about them, and the foreground starts from the middle: what the network has learned from it
    is surer of than of any other image, so a high threshold would cost there.
    """
    maps = []
    for one in fields:
        try:
            maps.append(field_maps(result, one, exact, run.give_up))
        except StoppedError:
            break
    decoder = result.spec.decoder
    if not run.is_known:
        decoder = decoder.model_copy(update={"foreground_threshold": DecoderSpec().foreground_threshold})
    decoder = tune_decoder(maps, fields[: len(maps)], decoder, is_known=run.is_known, give_up=run.give_up)
    return Model(result.network, result.spec.model_copy(update={"decoder": decoder}))


def _scored(result: Model, run: Run, exact: PredictConfig) -> Score | None:
    """Return the score on the held-out areas; after Stop on as many as can be looked at at once."""
    maps = []
    for one in run.held_out:
        try:
            maps.append(field_maps(result, one, exact, run.give_up))
        except StoppedError:
            break
    final = score_maps(maps, run.held_out[: len(maps)], result.spec.decoder) if maps else None
    return final if final is not None and final.objects >= MIN_HELD_OUT_OBJECTS else None


def _object_diameter(spec: ModelSpec, samples: Sequence[Annotated], fields: Sequence[Field]) -> float | None:
    """Return the size of the objects that a model has learned from; unchanged where they were rescaled to it."""
    if spec.task != "instances" or any(sample.object_diameter_px for sample in samples):
        return spec.object_diameter_px
    diameters = [d for f in fields if (d := median_diameter(np.where(f.checked, f.targets.objects, 0))) is not None]
    return float(np.median(diameters)) if diameters else spec.object_diameter_px


def _default_spec(samples: Sequence[Annotated]) -> ModelSpec:
    if not samples:
        raise TrainingError("There is nothing to train on. Give at least one image with labels.")
    return ModelSpec(channels=samples[0].channel_names)

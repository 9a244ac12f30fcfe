"""The course of a training on the command line: its bar, its files, and what is said of its result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

import typer

from napari_unet.cli.app import stop_on_interrupt
from napari_unet.errors import ConfigError
from napari_unet.generators import Steps

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path
    from threading import Event as StopFlag

    from napari_unet.events import Event, Score
    from napari_unet.training import Paired, TrainConfig, Trained

__all__ = ["Files", "Training", "run_training"]

_ADVICE = {
    "use": "The new model is better.",
    "keep": "The old model is better: keep it.",
    "unsure": "That does not tell which is better: look at both.",
}


class Training(Protocol):
    """A training that is ready to begin."""

    def __call__(self, *, stop: StopFlag, checkpoint: Path, keep_checkpoint: bool) -> Generator[Event, None, Trained]:
        """Begin, or go on from the checkpoint."""


@dataclass(frozen=True)
class Files:
    """Files of a training.

    Attributes
    ----------
    model : Path
        Where the model goes; its recipe goes beside it.
    checkpoint : Path
    recipe : Path or None
        The recipe that was given.
    """

    model: Path
    checkpoint: Path
    recipe: Path | None

    @classmethod
    def of(cls, output: Path, checkpoint: Path | None, recipe: Path | None) -> Files:
        """Return the files for an output: its suffix is added, the checkpoint lies beside it."""
        from napari_unet.models import SUFFIX

        model = output if output.suffix == SUFFIX else output.with_name(output.name + SUFFIX)
        return cls(model, checkpoint or model.with_suffix(".checkpoint"), recipe)

    def write_recipe(self, recipe: TrainConfig) -> Path:
        """Write a recipe beside the model, but never over the one that a person wrote."""
        path = self.model.with_suffix(".toml")
        if self.recipe is not None and path.exists() and path.samefile(self.recipe):
            if type(recipe).from_toml(path) == recipe:
                return path
            path = self.model.with_suffix(".used.toml")
        recipe.to_toml(path)
        return path


@dataclass
class _Told:
    """What was said while it went on, for those who want it in one document."""

    notices: list[str] = field(default_factory=list)
    steps: int = 0


def run_training(
    training: Training, files: Files, *, name: str, task: str, parent: str | None = None, as_json: bool = False
) -> None:
    """Run a training behind a progress bar, save its model and recipe, and tell how it went.

    Parameters
    ----------
    training : Training
    files : Files
    name : str
        Of the new model.
    task : str
        Of the new model.
    parent : str, optional
        Of the model that it is compared with.
    as_json : bool
        Print one document instead of text.
    """
    from napari_unet.models import Model, save_model

    _check_writable(files.model.parent)
    with stop_on_interrupt() as stop:
        steps = training(stop=stop, checkpoint=files.checkpoint, keep_checkpoint=True)
        result, told = _drain(steps, task, quiet=as_json)
    spec = result.model.spec.model_copy(update={"name": name})
    path = save_model(Model(result.model.network, spec), files.model)
    recipe = files.write_recipe(result.recipe)
    if not result.stopped:
        files.checkpoint.unlink(missing_ok=True)
    checkpoint = files.checkpoint if result.stopped and files.checkpoint.exists() else None
    if as_json:
        paired = result.paired and {**vars(result.paired), "advice": result.paired.advice}
        document = {
            "model": str(path),
            "recipe": str(recipe),
            "steps": told.steps,
            "score": result.score and vars(result.score),
            "paired": paired,
            "notices": told.notices,
            "stopped": result.stopped,
            "checkpoint": checkpoint and str(checkpoint),
        }
        typer.echo(json.dumps(document, indent=2))
        return
    held_out = "too few objects to hold any out: no score"
    if result.score is not None:
        held_out = f"{_score(result.score, task)} on {result.score.objects} held-out objects"
    typer.echo(f"{path} ({held_out})")
    if result.paired is not None and result.paired.total:
        typer.echo(_comparison(result.paired, parent or "the model before", task))
    again = "gives the same weights" if result.recipe.steps else "trains as long"
    typer.echo(f"{recipe} (its settings: the same command with --config {recipe} {again})")
    if checkpoint is not None:
        typer.echo(f"Stopped early. The same command goes on from there; delete {checkpoint} to begin anew.")


def _drain(work: Generator[Event, None, Trained], task: str, *, quiet: bool) -> tuple[Trained, _Told]:
    from tqdm import tqdm

    from napari_unet.events import Notice, StepDone, Validated

    told, steps = _Told(), Steps(work)
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}", disable=quiet or None) as bar:
        for event in steps:
            if isinstance(event, StepDone):
                told.steps = event.step
                bar.update(100 * event.fraction - bar.n)
                left = f"{event.seconds_left / 60:.1f} min left"
                bar.set_postfix_str(f"step {event.step}, loss {event.loss:.3f}, {left}", refresh=False)
            elif isinstance(event, Notice):
                told.notices.append(event.message)
                _say(bar, event.message, quiet)
            elif isinstance(event, Validated):
                on = f"on {event.score.objects} held-out objects{' (best)' if event.is_best else ''}"
                _say(bar, f"step {event.step}: {_score(event.score, task)} {on}", quiet)
    return steps.result, told


def _say(bar: Any, line: str, quiet: bool) -> None:
    if not quiet:
        bar.write(line)


def _score(score: Score, task: str) -> str:
    first = "AP50" if task == "instances" else "mean IoU of the classes"
    return f"{first} {score.average_precision:.3f}, foreground IoU {score.foreground_iou:.3f}"


def _comparison(paired: Paired, parent: str, task: str) -> str:
    what = "objects" if task == "instances" else "areas of a class"
    seen = f"held-out {what}" if paired.held_out else f"{what} it has learned from"
    false = f"; false ones {paired.false_before} before, {paired.false_after} now" if task == "instances" else ""
    return (
        f"Compared with {parent}: {paired.gained} gained, {paired.lost} lost of {paired.total} {seen}{false}. "
        f"{_ADVICE[paired.advice]}"
    )


def _check_writable(folder: Path) -> None:
    """Find out before a long training, not after it, that its model cannot be saved."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"Nothing can be written to {folder} ({error.strerror or error}). Choose another --output."
        ) from error

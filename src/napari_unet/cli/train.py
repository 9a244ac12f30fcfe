"""Commands that make models: train and fine-tune."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.cli.app import Axes, Device, Json, ModelName, ObjectSize, app, stop_on_interrupt
from napari_unet.cli.pairs import pairs, read_labels
from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_unet import annotation
    from napari_unet.training import Trained

Minutes = Annotated[float | None, typer.Option(help="How long to train. Default: 5.")]
Steps = Annotated[int | None, typer.Option(help="Train so many steps instead: repeatable with the same seed.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Validation = Annotated[float, typer.Option(help="Share of the objects held out for the score, 0 to 0.5.")]
Groups = Annotated[
    Path | None,
    typer.Option(help="CSV with a column 'file' and a column of groups: images of one group are never split."),
]
GroupColumn = Annotated[str, typer.Option(help="The column of groups in that CSV.")]
Images = Annotated[Path, typer.Argument(help="Folder of images.")]
Labels = Annotated[Path, typer.Argument(help="Folder of label images with the same names.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The model file to write, .safetensors.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads. Default: all cores.")]


@app.command()
def train(
    images: Images,
    labels: Labels,
    output: Output,
    task: Annotated[
        Literal["instances", "semantic"],
        typer.Option(help="instances: labels number the objects; semantic: they number the classes."),
    ] = "instances",
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: that of the file.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes or of the object, separated by commas.")
    ] = None,
    dims: Annotated[int, typer.Option(help="2: a model of planes, 3: of volumes.", min=2, max=3)] = 2,
    axes: Axes = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Seed = 0,
    validation: Validation = 0.2,
    groups: Groups = None,
    group_column: GroupColumn = "group",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a model from scratch on a folder of images and one of labels."""
    from napari_unet.models import ClassSpec, ModelSpec, NetworkSpec
    from napari_unet.training import TrainConfig, iter_train

    samples = _samples(images, labels, axes, groups, group_column)
    class_names = classes.split(",") if classes else _class_names(samples, task)
    spec = ModelSpec(
        name=name or output.stem,
        task=task,
        classes=tuple(ClassSpec(name=n.strip()) for n in class_names),
        channels=_channel_names(samples[0]),
        network=NetworkSpec.model_validate({"spatial_dims": dims}),
    )
    config = TrainConfig(minutes=minutes, steps=steps, seed=seed, validation=validation, device=device, threads=threads)
    with stop_on_interrupt() as stop:
        _run_training(iter_train(samples, config, spec=spec, stop=stop), output, spec.name, as_json)


@app.command("fine-tune")
def fine_tune(
    images: Images,
    labels: Labels,
    output: Output,
    model: ModelName = "nuclei",
    axes: Axes = None,
    object_size: ObjectSize = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Seed = 0,
    validation: Validation = 0.2,
    groups: Groups = None,
    group_column: GroupColumn = "group",
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a model further on a folder of images and one of labels."""
    from napari_unet.models import load_model
    from napari_unet.training import TrainConfig, iter_fine_tune

    samples = _samples(images, labels, axes, groups, group_column, object_size)
    config = TrainConfig(minutes=minutes, steps=steps, seed=seed, validation=validation, device=device, threads=threads)
    with stop_on_interrupt() as stop:
        _run_training(iter_fine_tune(load_model(model), samples, config, stop=stop), output, output.stem, as_json)


def _run_training(steps: Generator[Any, None, Trained], output: Path, name: str, as_json: bool) -> None:
    from tqdm import tqdm

    from napari_unet.events import StepDone, Validated
    from napari_unet.models import Model, save_model

    _check_writable(output.parent)
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}", disable=as_json or None) as bar:
        while True:
            try:
                event = next(steps)
            except StopIteration as done:
                result: Trained = done.value
                break
            if isinstance(event, StepDone):
                bar.update(100 * event.fraction - bar.n)
                left = f"{event.seconds_left / 60:.1f} min left"
                bar.set_postfix_str(f"step {event.step}, loss {event.loss:.3f}, {left}", refresh=False)
            elif isinstance(event, Validated) and not as_json:
                score = event.score
                bar.write(
                    f"step {event.step}: AP50 {score.average_precision:.3f}, foreground IoU {score.foreground_iou:.3f} "
                    f"on {score.objects} held-out objects{' (best)' if event.is_best else ''}"
                )
    spec = result.model.spec.model_copy(update={"name": name})
    path = save_model(Model(result.model.network, spec), output)
    final = result.score
    if as_json:
        document = {"model": str(path), "score": None if final is None else vars(final), "stopped": result.stopped}
        typer.echo(json.dumps(document, indent=2))
    else:
        told = "too few objects to hold any out: no score"
        if final is not None:
            told = f"AP50 {final.average_precision:.3f}, foreground IoU {final.foreground_iou:.3f} on held-out objects"
        typer.echo(f"{path} ({told})")


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


def _samples(
    images: Path,
    labels: Path,
    axes: str | None,
    groups: Path | None,
    column: str,
    object_size: float | None = None,
) -> list[annotation.Annotated]:
    from napari_unet.annotation import Annotated as Sample
    from napari_unet.errors import ImageError
    from napari_unet.images import read_image

    group_of = _read_groups(groups, column) if groups else {}
    samples = []
    for image_path, label_path in pairs(images, labels):
        image = read_image(image_path)
        known = axes or image.axes
        if known is None:
            raise ImageError(
                f"{image_path.name} does not tell its axes (shape {image.data.shape}). Give them with --axes."
            )
        if groups and image_path.stem not in group_of:
            raise ConfigError(f"{groups.name} has no row for {image_path.name}. Add it, or leave --groups out.")
        samples.append(
            Sample(
                image.data,
                read_labels(label_path),
                axes=known,
                group=group_of.get(image_path.stem),
                name=image_path.name,
                object_diameter_px=object_size,
            )
        )
    return samples


def _read_groups(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel puts a mark in front
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a CSV ({error}). Check the file.") from error
    if not rows or not {"file", column} <= set(rows[0]):
        raise ConfigError(f"{path.name} needs the columns 'file' and {column!r}. Name another one with --group-column.")
    return {Path(row["file"]).stem: row[column] for row in rows if row["file"] and row[column]}


def _class_names(samples: list[annotation.Annotated], task: str) -> list[str]:
    if task == "instances":
        return ["object"]
    highest = max(int(sample.labels.max(initial=0)) for sample in samples)
    if not 1 <= highest <= 255:
        raise ConfigError(
            f"The highest number in the labels is {highest}, but classes are numbered from 1 to 255 at most. "
            "Labels that number objects are trained with --task instances."
        )
    return [f"class {n}" for n in range(1, highest + 1)]


def _channel_names(sample: annotation.Annotated) -> tuple[str, ...]:
    letter = next((letter for letter in sample.axes if letter in "CS"), None)
    count = sample.image.shape[sample.axes.index(letter)] if letter else 1
    return ("image",) if count == 1 else tuple(f"channel {n}" for n in range(count))

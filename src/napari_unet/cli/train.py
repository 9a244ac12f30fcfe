"""Commands that make models: train and fine-tune."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from napari_unet.cli.app import Axes, Json, ModelName, ObjectSize, app
from napari_unet.cli.course import Files, run_training
from napari_unet.cli.samples import check_classes, class_names, read_samples
from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.models import Model, ModelSpec
    from napari_unet.training import TrainConfig

Images = Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of images.")]
Labels = Annotated[
    Path | None,
    typer.Argument(
        metavar="LABELS",
        help="Folder of label images with the same names. "
        "Left out: they lie beside their images and end in _masks, _cp_masks, _labels or -labels.",
    ),
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", help="The model file to write, .safetensors. Its settings go beside it, as .toml."),
]
Config = Annotated[
    Path | None,
    typer.Option(help="Settings in a file, such as the .toml beside a model. The other options win over it."),
]
Minutes = Annotated[float | None, typer.Option(help="How long to train. Default: 5.")]
Steps = Annotated[int | None, typer.Option(help="Train so many steps instead: repeatable with the same seed.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random. Default: 0.")]
Validation = Annotated[
    float | None, typer.Option(help="Share of the objects held out for the score, 0 to 0.5. Default: 0.2.")
]
Groups = Annotated[
    Path | None,
    typer.Option(help="CSV with a column 'file' and a column of groups: images of one group are never split."),
]
GroupColumn = Annotated[str, typer.Option(help="The column of groups in that CSV.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="Where the state of the training is kept, every minute: the same command goes on from there after a "
        "crash or Control-C. Default: beside the model, as .checkpoint."
    ),
]
Device = Annotated[str | None, typer.Option(help="cuda, mps, cpu, or auto for the best that works. Default: auto.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads. Default: all cores.")]


@app.command(epilog="Example: napari-unet train images/ labels/ -o mine.safetensors --minutes 60")
def train(
    images: Images,
    output: Output,
    labels: Labels = None,
    task: Annotated[
        Literal["instances", "semantic"] | None,
        typer.Option(help="instances (default): labels number the objects; semantic: they number the classes."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model. Default: that of the file.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Names of the classes 1, 2, ..., or of the object, separated by commas.")
    ] = None,
    dims: Annotated[
        int | None, typer.Option(help="2 (default): a model of planes, 3: of volumes.", min=2, max=3, metavar="2|3")
    ] = None,
    recipe: Annotated[
        Literal["ronneberger2015"] | None,
        typer.Option(help="Network and settings of the U-Net paper. Large: it wants a graphics card."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="A model whose weights to start from, wherever they fit; by its name or its file."),
    ] = None,
    config: Config = None,
    axes: Axes = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Seed = None,
    validation: Validation = None,
    groups: Groups = None,
    group_column: GroupColumn = "group",
    checkpoint: Checkpoint = None,
    device: Device = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a new model on images and their labels.

    Everything in the labels counts as right, empty places too. The model is scored on objects that are held out.
    """
    from napari_unet.models import load_model
    from napari_unet.training import TrainConfig, iter_train

    own = TrainConfig.ronneberger2015() if recipe else TrainConfig()
    settings = _settings(config, own, minutes=minutes, steps=steps, seed=seed, validation=validation, device=device,
                         threads=threads)  # fmt: skip
    source = load_model(start) if start is not None else None
    samples = read_samples(images, labels, axes=axes, groups=groups, column=group_column)
    names = class_names(samples, task or "instances", classes)
    channels = samples[0].channel_names
    files = Files.of(output, checkpoint, config)
    if recipe is not None:
        if task == "semantic" or dims == 3:
            raise ConfigError(
                "The network of the paper finds objects in planes. Leave out --task and --dims, or --recipe."
            )
        spec = _paper_spec(name or files.model.stem, names, channels)
    else:
        spec = _spec(name or files.model.stem, task or "instances", names, channels, dims or 2)
    check_classes(samples, spec, "Name them all with --classes.")
    training = partial(iter_train, samples, settings, spec=spec, start=source)
    run_training(training, files, name=spec.name, task=spec.task, as_json=as_json)


@app.command(
    "fine-tune", epilog="Example: napari-unet fine-tune images/ labels/ -m nuclei -o mine.safetensors --minutes 5"
)
def fine_tune(
    images: Images,
    output: Output,
    labels: Labels = None,
    model: ModelName = "nuclei",
    add_class: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A class that the model is to learn besides its own: the next number in the labels. "
            "Give it once for each.",
        ),
    ] = None,
    dark: Annotated[
        bool,
        typer.Option(
            "--dark",
            help="Your objects are darker than the ground, those that the model knows brighter, or vice versa.",
        ),
    ] = False,
    config: Config = None,
    axes: Axes = None,
    object_size: ObjectSize = None,
    minutes: Minutes = None,
    steps: Steps = None,
    seed: Seed = None,
    validation: Validation = None,
    groups: Groups = None,
    group_column: GroupColumn = "group",
    checkpoint: Checkpoint = None,
    device: Device = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a model further on your own labels.

    It needs few images, and minutes.

    The model itself is not changed. In the end both are compared on objects that were held out.
    """
    from napari_unet.models import inverted, load_model
    from napari_unet.training import TrainConfig, iter_fine_tune

    settings = _settings(config, TrainConfig(), minutes=minutes, steps=steps, seed=seed, validation=validation,
                         device=device, threads=threads)  # fmt: skip
    loaded = _with_more(load_model(model), add_class or [])
    if dark:
        loaded = inverted(loaded)
    samples = read_samples(images, labels, axes=axes, groups=groups, column=group_column, object_size=object_size)
    check_classes(samples, loaded.spec, "Name each new one with --add-class.")
    files = Files.of(output, checkpoint, config)
    run_training(
        partial(iter_fine_tune, loaded, samples, settings),
        files,
        name=files.model.stem,
        task=loaded.spec.task,
        parent=loaded.spec.name,
        as_json=as_json,
    )


def _settings(file: Path | None, otherwise: TrainConfig, **given: float | str | None) -> TrainConfig:
    """Return the settings of a file, or others, with those that were given as options."""
    return (otherwise if file is None else type(otherwise).from_toml(file)).changed(**given)


def _spec(name: str, task: str, classes: Sequence[str], channels: tuple[str, ...], dims: int) -> ModelSpec:
    from napari_unet.models import ModelSpec, NetworkSpec, named_classes

    network = NetworkSpec.model_validate({"spatial_dims": dims})
    values = {"name": name, "task": task, "classes": named_classes(classes), "channels": channels, "network": network}
    return ModelSpec.model_validate(values)


def _paper_spec(name: str, classes: Sequence[str], channels: tuple[str, ...]) -> ModelSpec:
    from napari_unet.models import ModelSpec, named_classes

    values = ModelSpec.ronneberger2015(name, channels).model_dump()
    return ModelSpec.model_validate({**values, "classes": named_classes(classes)})


def _with_more(model: Model, names: Sequence[str]) -> Model:
    """Return the model with classes added."""
    from napari_unet.models import named_classes
    from napari_unet.training import with_classes

    if not names:
        return model
    known = [one.name for one in model.spec.classes]
    twice = [name for n, name in enumerate(names) if name in (*known, "background", *names[:n])]
    if twice:
        raise ConfigError(f"The model {model.spec.name!r} has a class {twice[0]!r} already. Name a new one.")
    return with_classes(model, [*model.spec.classes, *named_classes(names, after=len(known))])

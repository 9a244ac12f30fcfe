"""The command line: the same engine as the panel, over files and folders."""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event as StopFlag
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.errors import ConfigError, UNetError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_unet import annotation
    from napari_unet.models import Model
    from napari_unet.training import Trained

app = typer.Typer(
    help="Segment images with a U-Net, and train it on your own labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines instead of text.")]
ModelName = Annotated[str, typer.Option("-m", "--model", help="A model's name (see 'models') or its file.")]
Axes = Annotated[
    str | None,
    typer.Option(help="Axes of the images, letters of TCZYXS, for example ZYX. Default: as the file tells."),
]
Device = Annotated[str, typer.Option(help="cuda, mps, cpu, or auto for the best that works.")]
ObjectSize = Annotated[
    float | None,
    typer.Option(help="Typical diameter of the objects in pixels: the image is rescaled to what the model knows."),
]
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
    with _stop_on_interrupt() as stop:
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
    with _stop_on_interrupt() as stop:
        _run_training(iter_fine_tune(load_model(model), samples, config, stop=stop), output, output.stem, as_json)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the label images.")],
    model: ModelName = "nuclei",
    axes: Axes = None,
    channel: Annotated[
        list[int] | None, typer.Option(help="Channel that the model reads, from 0. Repeat it for several.")
    ] = None,
    object_size: ObjectSize = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Segment images and write one label image for each."""
    from napari_unet.images import image_files
    from napari_unet.models import load_model
    from napari_unet.prediction import PredictConfig

    loaded = load_model(model)
    config = PredictConfig(device=device, channels=tuple(channel) if channel else None, object_diameter_px=object_size)
    report: dict[str, Any] = {"model": loaded.spec.name, "files": [], "failed": []}
    files = image_files(images)
    for path, target in zip(files, _label_files(files, output), strict=True):
        try:
            entry = _predict_file(path, target, loaded, axes, config, quiet=as_json)
            report["files"].append(entry)
            found = f"{entry['objects']} objects" if "objects" in entry else f"{entry['classes']} classes"
            _say(f"{path.name}: {found} -> {entry['labels']}", as_json)
        except UNetError as error:
            report["failed"].append({"image": str(path), "error": str(error)})
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    for failure in report["failed"]:
        typer.echo(f"{failure['image']}: {failure['error']}", err=True)
    if report["failed"]:
        raise typer.Exit(2)


@app.command()
def evaluate(
    truth: Annotated[Path, typer.Argument(help="Folder of true label images.")],
    labels: Annotated[Path, typer.Argument(help="Folder of label images with the same names.")],
    as_json: Json = False,
) -> None:
    """Score label images against the truth: AP at three IoU thresholds, and foreground IoU."""
    import numpy as np

    from napari_unet.training import average_precision, iou

    rows: list[dict[str, Any]] = []
    for true_path, path in _pairs(truth, labels):
        a, b = _read_labels(true_path), _read_labels(path)
        row = {f"AP{round(100 * t)}": average_precision(a, b, t) for t in (0.5, 0.75, 0.9)}
        rows.append({"file": true_path.name, **row, "foreground_iou": iou(a, b)})
    names = [name for name in rows[0] if name != "file"]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    if as_json:
        typer.echo(json.dumps({"mean": mean, "files": rows}, indent=2))
        return
    for row in [*rows, {"file": f"mean of {len(rows)}", **mean}]:
        typer.echo(f"{row['file']:<40}" + "  ".join(f"{name} {row[name]:.3f}" for name in names))


@app.command()
def models(as_json: Json = False) -> None:
    """List the models that can be named: those shipped and your own."""
    from napari_unet.models import list_models, read_spec

    found = list_models()
    if as_json:
        typer.echo(json.dumps({name: str(path) for name, path in found.items()}, indent=2))
        return
    for name, path in found.items():
        try:
            spec = read_spec(path)
        except UNetError as error:  # one damaged file does not hide the others
            typer.echo(f"{name:<20}{error}")
            continue
        kinds = ", ".join(c.name for c in spec.classes)
        typer.echo(f"{name:<20}{spec.spatial_dims}-D {spec.task}: {kinds:<24}{path}")


@app.command()
def info(model: Annotated[str, typer.Argument(help="A model's name or its file.")], as_json: Json = False) -> None:
    """Tell what a model is: its inputs, maps, scores and history."""
    from napari_unet.models import file_hash, model_path, read_spec

    path = model_path(model)
    spec = read_spec(path)
    if as_json:
        typer.echo(json.dumps({"path": str(path), "sha256": file_hash(path), **spec.model_dump(mode="json")}, indent=2))
        return
    lines = {
        "name": spec.name,
        "file": f"{path} ({path.stat().st_size / 1e6:.1f} MB)",
        "finds": f"{spec.task}: {', '.join(c.name for c in spec.classes)}",
        "reads": f"{spec.spatial_dims}-D images, channels: {', '.join(spec.channels)}",
        "object size": f"{spec.object_diameter_px:.0f} px" if spec.object_diameter_px else "unknown",
        "network": f"U-Net, features {spec.network.features}, maps: {', '.join(m.name for m in spec.maps)}",
        "trained": ", ".join(f"{k} {v}" for k, v in spec.provenance.items() if k not in ("config", "score")),
        "score": ", ".join(
            f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in spec.provenance.get("score", {}).items()
        ),
    }
    for key, value in lines.items():
        typer.echo(f"{key:<13}{value}")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check this machine: versions, Qt, OpenGL, devices, memory; and what to do about each problem."""
    from napari_unet.gui.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{'ok ' if finding.ok else 'BAD'} {finding.what:<16}{finding.found}")
            if finding.advice:
                typer.echo(f"    {'':<16}-> {finding.advice}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Act by itself and leave screenshots and labels here."),
    ] = None,
) -> None:
    """Open napari with an image of nuclei and the panel; with --output a scripted user goes through the loop."""
    from napari_unet.gui.demo import act, show

    raise typer.Exit(act(output) if output is not None else show())


def main() -> None:
    """Run the command line: exit 0 on success, 2 with one clear line on bad input."""
    from pydantic import ValidationError

    try:
        app()
    except UNetError as error:
        _fail(str(error))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        _fail(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}")
    except BrokenPipeError:
        sys.exit(0)


def _fail(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    sys.exit(2)


def _say(message: str, as_json: bool) -> None:
    if not as_json:
        typer.echo(message)


def _predict_file(
    path: Path, target: Path, model: Model, axes: str | None, config: Any, *, quiet: bool
) -> dict[str, Any]:
    import numpy as np
    from tqdm import tqdm

    from napari_unet.errors import ImageError
    from napari_unet.events import TileDone
    from napari_unet.images import label_axes, read_image, write_labels
    from napari_unet.prediction import iter_predict

    image = read_image(path)
    known = axes or image.axes
    if known is None:
        raise ImageError(
            f"The file does not tell its axes (shape {image.data.shape}). Give them with --axes, e.g. ZYX."
        )
    steps = iter_predict(image.data, model, axes=known, config=config)
    with tqdm(desc=path.name, unit="tile", leave=False, disable=quiet or None) as bar:
        while True:
            try:
                event = next(steps)
            except StopIteration as done:
                result = done.value
                break
            if isinstance(event, TileDone):
                bar.total = event.total
                bar.update(event.done - bar.n)
    write_labels(target, result.labels, label_axes(known.upper()))
    counted = "objects" if model.spec.task == "instances" else "classes"
    return {
        "image": str(path),
        "labels": str(target),
        counted: int(np.count_nonzero(np.unique(result.labels))),
        **result.provenance,
    }


def _label_files(files: list[Path], folder: Path) -> list[Path]:
    """Return the file for the labels of each image; no image and no other labels may be overwritten by it."""
    targets = [folder / f"{path.stem}.tif" for path in files]
    images = {path.resolve() for path in files}
    lost = [target for target in targets if target.resolve() in images]
    if lost:
        raise ConfigError(f"The labels would overwrite the image {lost[0]}. Choose another folder with --output.")
    name, count = Counter(target.stem for target in targets).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{count} images are called {name!r}. Segment them into different folders.")
    return targets


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


@contextmanager
def _stop_on_interrupt() -> Iterator[StopFlag]:
    """Let the first Ctrl-C end the training in order, keeping the best so far; the second one breaks it off."""
    flag = StopFlag()

    def stop(number: int, frame: Any) -> None:
        del number, frame
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


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
    for image_path, label_path in _pairs(images, labels):
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
                _read_labels(label_path),
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


def _pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    from napari_unet.images import image_files

    for folder in (images, labels):
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder. Give a folder of images and one of labels.")
    by_stem = {path.stem: path for path in image_files([labels])}
    files = image_files([images])
    missing = [path.name for path in files if path.stem not in by_stem]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(files)} images have no labels of the same name in {labels} (first: {missing[0]}). "
            "Rename the labels, or move those images away."
        )
    return [(path, by_stem[path.stem]) for path in files]


def _read_labels(path: Path) -> Any:
    from napari_unet.images import read_image

    return read_image(path).data


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

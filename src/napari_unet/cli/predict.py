"""Command that segments images."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_unet.cli.app import Axes, Device, Json, app, stop_on_interrupt
from napari_unet.cli.options import PredictCommand, chosen
from napari_unet.generators import Steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_unet.events import Event
    from napari_unet.models import ModelSpec
    from napari_unet.prediction import Batch


@app.command(
    cls=PredictCommand, epilog="Example: napari-unet predict images/ -m nuclei -o labels/ --measure objects.csv"
)
def predict(
    ctx: typer.Context,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGES", help="Images (TIFF, OME-TIFF, OME-Zarr, PNG), folders of them, or patterns ('*.tif')."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the label images. Default: beside each image, as name-labels."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            metavar="MODEL|auto",
            help="A model's name (see 'models') or its file. auto: of those that come along, the one that knows the "
            "first image, for all of them.",
        ),
    ] = "auto",
    format_: Annotated[
        Literal["ome-tiff", "ome-zarr"], typer.Option("--format", help="Format of the label images.")
    ] = "ome-tiff",
    axes: Axes = None,
    channels: Annotated[
        str | None,
        typer.Option(
            "--channels",
            "--channel",
            help="Channels that the model reads, in its order: names or numbers from 0, separated by commas.",
        ),
    ] = None,
    object_size: Annotated[
        str,
        typer.Option(
            metavar="PIXELS|auto|none",
            help="Typical diameter of the objects in pixels: the image is rescaled to what the model knows. "
            "auto: found in each image, by looking at it at several scales. none: every image stays as it is.",
        ),
    ] = "auto",
    level: Annotated[
        int | None,
        typer.Option(
            help="Resolution of a pyramid to segment, 0 is the full one. "
            "Default: the one where objects of --object-size are nearest to what the model knows."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Segment again what was done with the same model and settings.")
    ] = False,
    ignore_corrections: Annotated[
        bool,
        typer.Option(
            "--ignore-corrections",
            help="Predict everything, also what was checked in napari. Default: what was checked stays as it is.",
        ),
    ] = False,
    measure: Annotated[Path | None, typer.Option(help="Measure all objects of all images into this CSV.")] = None,
    rois: Annotated[bool, typer.Option("--rois", help="Also write the outlines for Fiji: name-rois.zip.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Segment images and write one label image for each.

    What was segmented before with the same model and settings is skipped. A file that cannot be segmented is told at
    the end and does not stop the others; the exit code is 1 then, or 2 if no file could be segmented.
    """
    from napari_unet.cli.suiting import suiting_model
    from napari_unet.correction import corrections_for
    from napari_unet.images import image_files, say_passed_over
    from napari_unet.models import list_models, load_model
    from napari_unet.prediction import BatchConfig, PredictConfig, iter_segment_files, write_measurements

    if measure is not None:
        _check_table(measure)
    config = PredictConfig(**{**chosen(ctx), "device": device, "object_diameter_px": _pixels(object_size)})
    batch = BatchConfig(
        output=output,
        format=format_,
        axes=axes,
        channels=tuple(word.strip() for word in channels.split(",")) if channels else None,
        level=level,
        find_size=object_size == "auto",
        overwrite=overwrite,
        measure=measure is not None,
        rois=rois,
    )
    files = image_files(images)
    with stop_on_interrupt() as stop:
        is_open = model == "auto" and model not in list_models()
        found = suiting_model(files, config, batch, corrections=not ignore_corrections, stop=stop) if is_open else None
        loaded = load_model(model) if found is None else found
        if found is not None and not as_json:
            typer.echo(f"{found.spec.name!r} is taken for all images. To choose another model: -m")
        corrections = None if ignore_corrections else corrections_for(loaded.spec, batch.channels or ())
        steps = iter_segment_files(files, loaded, config=config, batch=batch, corrections=corrections, stop=stop)
        result = _show(steps, loaded.spec.task, quiet=as_json)
    if measure is not None and result.tables:
        write_measurements(measure, result.tables)
    _tell(result, loaded.spec, measure if result.tables else None, as_json)
    if passed_over := say_passed_over(images):
        typer.echo(passed_over, err=True)
    if result.failed or result.stopped:
        raise typer.Exit(1 if result.done or result.skipped or result.stopped else 2)


def _pixels(object_size: str) -> float | None:
    """Return the object size that was given as a number."""
    from napari_unet.errors import ConfigError

    if object_size in {"auto", "none"}:
        return None
    try:
        return float(object_size)
    except ValueError:
        raise ConfigError(
            f"--object-size {object_size} is no number. Give pixels, for example --object-size 30, or auto, or none."
        ) from None


def _check_table(path: Path) -> None:
    """Say before the work if the measurements cannot be written, or would overwrite something else."""
    from napari_unet.errors import ConfigError
    from napari_unet.images import ensure_writable

    if path.suffix.lower() != ".csv":
        raise ConfigError(
            f"--measure {path} is not the name of a CSV file. Give one, for example --measure objects.csv."
        )
    ensure_writable(path, "The measurements")


def _show(work: Generator[Event, None, Batch], task: str, *, quiet: bool) -> Batch:
    """Drain a batch behind one progress bar over all files, with the time left."""
    from tqdm import tqdm

    from napari_unet.events import FileDone, FileSkipped, FileStarted, Notice, TileDone

    layout = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    before, told, steps = 0, set[str](), Steps(work)
    with tqdm(total=1, bar_format=layout, leave=False, disable=quiet or None) as bar:
        for event in steps:
            if isinstance(event, FileStarted):
                before, bar.total = event.number - 1, event.total
                bar.set_description_str(f"{event.path.name} ({event.number} of {event.total})")
                bar.update(before - bar.n)
            elif isinstance(event, TileDone):
                bar.update(before + event.done / event.total - bar.n)
            elif quiet:
                continue
            elif isinstance(event, FileDone):
                found = f"{event.found} {'objects' if task == 'instances' else 'classes'}"
                _write(bar, f"{event.path.name}: {found} -> {event.labels}", *event.notes)
            elif isinstance(event, FileSkipped):
                _write(bar, f"{event.path.name}: skipped, {event.why}{f' -> {event.labels}' if event.labels else ''}")
            elif isinstance(event, Notice) and event.message not in told:
                told.add(event.message)
                _write(bar, event.message)
    return steps.result


def _write(bar: Any, *lines: str) -> None:
    for line in lines:
        bar.write(line)


def _tell(result: Batch, spec: ModelSpec, measured: Path | None, as_json: bool) -> None:
    if as_json:
        counted = "objects" if spec.task == "instances" else "classes"
        report: dict[str, Any] = {
            "model": spec.name,
            "files": [
                {
                    "image": str(one.path),
                    "labels": str(one.labels),
                    counted: one.found,
                    "notes": list(one.notes),
                    **one.provenance,
                }
                for one in result.done
            ],
            "skipped": [
                {"image": str(one.path), "labels": one.labels and str(one.labels), "why": one.why}
                for one in result.skipped
            ],
            "failed": [{"image": str(one.path), "error": one.message} for one in result.failed],
            "measurements": measured and str(measured),
            "stopped": result.stopped,
        }
        typer.echo(json.dumps(report, indent=2))
    for failure in result.failed:
        typer.echo(f"{failure.path}: {failure.message}", err=True)
    if result.stopped:
        typer.echo("Stopped. What is written stays, and is skipped the next time.", err=True)

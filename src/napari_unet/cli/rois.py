"""Commands between label files and ImageJ's outlines."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from napari_unet.cli.app import Axes, app


@app.command("export-rois", short_help="Write the outlines in label images for Fiji.")
def export_rois(
    labels: Annotated[list[Path], typer.Argument(metavar="LABELS", help="Label images, folders of them, or patterns.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the files. Default: beside each label image.")
    ] = None,
    axes: Axes = None,
) -> None:
    """Write the outlines in label images for Fiji's ROI Manager: one name-rois.zip for each.

    A file that is no label image is told at the end and does not stop the others; the exit code is 1 then, or 2 if
    there was no other.
    """
    from napari_unet.errors import UNetError
    from napari_unet.images import image_files
    from napari_unet.prediction import rois_paths

    files = image_files(labels, own_labels=True)  # labels that lie beside their images are what is asked for here
    failed: list[str] = []
    for path, target in zip(files, rois_paths(files, output), strict=True):
        try:
            typer.echo(f"{path.name}: {_export(path, target, axes)} outlines -> {target}")
        except UNetError as error:
            failed.append(f"{path}: {error}")
    for line in failed:
        typer.echo(line, err=True)
    if failed:
        raise typer.Exit(1 if len(failed) < len(files) else 2)


def _export(path: Path, target: Path, told: str | None) -> int:
    from napari_unet.errors import ImageError
    from napari_unet.images import check_axes, open_image, write_rois

    opened = open_image(path)
    axes = told or opened.axes or ("YX" if len(opened.shape) == 2 else None)
    if axes is None:
        raise ImageError(
            f"The file does not tell its axes (shape {opened.shape}). Give them with --axes, for example --axes ZYX."
        )
    axes = check_axes(axes, len(opened.shape))
    if set(axes) & set("CS") or opened.data.dtype.kind not in "bui":
        raise ImageError(
            f"It is no label image (axes {axes}, type {opened.data.dtype}). Labels are whole numbers, without channels "
            "and colours."
        )
    return write_rois(target, opened.data, axes)

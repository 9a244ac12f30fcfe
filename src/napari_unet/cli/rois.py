"""Commands between label files and ImageJ's outlines."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from napari_unet.cli.app import app


@app.command("export-rois", short_help="Write the outlines in label images for Fiji.")
def export_rois(
    labels: Annotated[list[Path], typer.Argument(metavar="LABELS", help="Label images, folders of them, or patterns.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the files. Default: beside each label image.")
    ] = None,
) -> None:
    """Write the outlines in label images for Fiji's ROI Manager: one name-rois.zip for each."""
    from napari_unet.errors import ImageError
    from napari_unet.images import image_files, open_image, write_rois
    from napari_unet.prediction import rois_path

    # labels that lie beside their images are what is asked for here
    for path in image_files(labels, own_labels=True):
        opened = open_image(path)
        axes = opened.axes or ("YX" if len(opened.shape) == 2 else None)
        if axes is None or set(axes) & set("CS") or opened.data.dtype.kind not in "bui":
            raise ImageError(f"{path.name} is no label image (axes {axes}, type {opened.data.dtype}).")
        target = rois_path(path if output is None else output / path.name)
        count = write_rois(target, opened.data, axes)
        typer.echo(f"{path.name}: {count} outlines -> {target}")

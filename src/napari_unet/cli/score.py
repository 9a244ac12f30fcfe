"""Command that scores labels."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated, Any

import typer

from napari_unet.cli.app import Json, app
from napari_unet.cli.pairs import pairs, read_labels
from napari_unet.errors import ImageError


@app.command(epilog="Example: napari-unet evaluate truth/ labels/")
def evaluate(
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Folder of true label images.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Folder of label images with the same names.")],
    as_json: Json = False,
) -> None:
    """Score label images against the truth.

    For each image and for their mean: AP at IoU 0.5, 0.75 and 0.9 (the share of objects that are found, false ones
    counting against it), and the IoU of the foregrounds. 1 is perfect.
    """
    import numpy as np

    from napari_unet.training import average_precision, iou

    rows: list[dict[str, Any]] = []
    for true_path, path in pairs(truth, labels):
        a, b = read_labels(true_path), read_labels(path)
        if a.shape != b.shape:
            raise ImageError(
                f"{true_path} has the shape {a.shape} but {path} has {b.shape}. Compare labels of one image."
            )
        row = {f"AP{round(100 * t)}": average_precision(a, b, t) for t in (0.5, 0.75, 0.9)}
        rows.append({"file": true_path.name, **row, "foreground_iou": iou(a, b)})
    names = [name for name in rows[0] if name != "file"]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    if as_json:
        typer.echo(json.dumps({"mean": mean, "files": rows}, indent=2))
        return
    for row in [*rows, {"file": f"mean of {len(rows)}", **mean}]:
        typer.echo(f"{row['file']:<40}" + "  ".join(f"{name} {row[name]:.3f}" for name in names))

"""Commands about models: which there are, and what one is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from napari_unet.cli.app import Json, app
from napari_unet.errors import UNetError


@app.command(short_help="List the models there are: those shipped and your own.")
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


@app.command(epilog="Example: napari-unet info nuclei")
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or its file.")], as_json: Json = False
) -> None:
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

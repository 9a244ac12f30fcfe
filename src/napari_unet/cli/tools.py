"""Commands that look at this machine, and show what the program does."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from napari_unet.cli.app import Json, app


@app.command(short_help="Check this machine, and say what to do about each problem.")
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


@app.command(short_help="Open napari with an image of nuclei and the panel.")
def demo(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Act by itself and leave screenshots and labels here."),
    ] = None,
) -> None:
    """Open napari with an image of nuclei and the panel; with --output a scripted user goes through the loop."""
    from napari_unet.gui.demo import act, show

    raise typer.Exit(act(output) if output is not None else show())

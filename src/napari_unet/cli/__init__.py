"""The command line: the same engine as the panel, over files and folders."""

from __future__ import annotations

import sys

import typer

from napari_unet.cli import models, predict, rois, score, tools, train  # noqa: F401 - each adds its commands
from napari_unet.cli.app import app
from napari_unet.errors import UNetError

__all__ = ["app", "main"]


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

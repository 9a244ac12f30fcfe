"""The command line: the same engine as the panel, over files and folders."""

from __future__ import annotations

import io
import logging
import sys

import typer

from napari_unet.cli import models, predict, rois, score, tools, train  # noqa: F401 - each adds its commands
from napari_unet.cli.app import app
from napari_unet.errors import UNetError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line: exit 0 on success, 2 with one clear line on bad input."""
    from pydantic import ValidationError

    _speak_plainly()
    try:
        app()
    except UNetError as error:
        _fail(str(error))
    except ValidationError as error:
        first = error.errors()[0]
        where = _option(".".join(map(str, first["loc"])))
        _fail(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}")
    except BrokenPipeError:
        sys.exit(0)


def _speak_plainly() -> None:
    """Let nothing but our own words reach the user, and any name of a file, whatever the terminal can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it has to say is in our messages


def _option(field: str) -> str:
    """Return the option that was given for a field of the settings, or the field where it came from elsewhere."""
    name = field.partition(".")[0]
    words = [f"--{name.replace('_', '-')}", *["--object-size"] * (name == "object_diameter_px")]
    return next((word for word in words if any(one.partition("=")[0] == word for one in sys.argv)), field)


def _fail(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)
    sys.exit(2)

"""The application that all commands belong to, and the options that several of them share."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from threading import Event as StopFlag
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

_ORDER = ("predict", "fine-tune", "train", "evaluate", "export-rois", "models", "info", "doctor", "demo")


class _Commands(TyperGroup):
    """The commands in the order of their use."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names as the help lists them."""
        names = super().list_commands(ctx)
        return [name for name in _ORDER if name in names] + [name for name in names if name not in _ORDER]


app = typer.Typer(
    cls=_Commands,
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
    typer.Option(
        metavar="PIXELS",
        help="Typical diameter of the objects in pixels: the image is rescaled to what the model knows.",
    ),
]


@contextmanager
def stop_on_interrupt() -> Iterator[StopFlag]:
    """Let the first Ctrl-C end the work in order, keeping what is done; the second one breaks it off."""
    flag = StopFlag()

    def stop(number: int, frame: Any) -> None:
        del number, frame
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()
        os.write(2, b"\nStopping. Control-C again breaks it off.\n")  # print may be what was interrupted

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)

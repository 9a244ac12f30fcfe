"""Copies what is checked for a training: at once where it is little, in the background where it takes long to find."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import prod
from typing import TYPE_CHECKING, Any

from napari_unet.annotation import Annotated
from napari_unet.correction import copy_part, look_for_checked
from napari_unet.errors import TrainingError
from napari_unet.generators import Steps
from napari_unet.gui.jobs import MainThread, Progress

if TYPE_CHECKING:
    from threading import Event as StopFlag

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Copying", "at_once", "copied_part", "in_background", "looked_through"]

Copying = Generator["float | Callable[[], None]", None, tuple[list[Annotated], int]]
"""Yields how far it is, and what is to be done in the main thread before it goes on; returns the copies, and how many
slices are left out."""


def at_once(work: Copying) -> tuple[list[Annotated], int]:
    """Do it all here and now."""
    steps = Steps(work)
    for step in steps:
        if not isinstance(step, float):
            step()
    return steps.result


def in_background(work: Copying, stop: StopFlag) -> Generator[Any, None, tuple[list[Annotated], int]]:
    """Return it as the work of a job."""
    steps = Steps(work)
    for step in steps:
        if isinstance(step, float):
            yield Progress(step, f"Looking for what is checked: {step:.0%}. You can go on correcting.")
        else:
            act = MainThread(step)
            yield act
            act.wait(stop)
        if stop.is_set():
            raise TrainingError("It was stopped before it began.")
    return steps.result


def looked_through(
    status: NDArray[np.uint8], axes: str, spatial_dims: int
) -> Generator[float, None, list[tuple[int, ...]]]:
    """Find the planes or volumes in which something is checked; yields how far it is, a hundred times at most."""
    total = prod(status.shape[: max(0, status.ndim - spatial_dims)])
    parts, told = [], 0
    for count, (where, is_checked) in enumerate(look_for_checked(status, axes, spatial_dims), start=1):
        if is_checked:
            parts.append(where)
        if 100 * count // total > told:
            told = 100 * count // total
            yield count / total
    return parts


def copied_part(
    labels: NDArray[Any], status: NDArray[np.uint8], axes: str, where: tuple[int, ...]
) -> Generator[Callable[[], None], None, tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Copy a part between two strokes: where one is written meanwhile, labels and status would not be of one time."""
    copies: list[Any] = []
    yield lambda: copies.extend(copy_part(labels, status, axes, where))
    return copies[0], copies[1]

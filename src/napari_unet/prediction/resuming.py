"""How far a prediction has come, so that one that was ended goes on there; and what of it is finished."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.images import from_canonical, label_axes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.prediction.maps import MapStore

__all__ = ["InMemory", "State", "finished_part", "partial_folder"]


@dataclass
class State:
    """How far a prediction has come.

    Attributes
    ----------
    frame, batch : int
        Frames that are done, and batches of the next one.
    highest : int
        Highest id so far.
    core : list of int
        Core of the tiles; empty before it is planned.
    margin, overlap : list of int
        Their context and where they are blended.
    exact : bool
        Whether the context is exact.
    tiles : int
        Tiles in a batch.
    in_windows : int
        Components so far that were too large to be split whole.
    """

    frame: int = 0
    batch: int = 0
    highest: int = 0
    core: tuple[int, ...] = ()
    margin: tuple[int, ...] = ()
    overlap: tuple[int, ...] = ()
    exact: bool = True
    tiles: int = 0
    in_windows: int = 0


class InMemory:
    """Holds a prediction in memory: hand it to `iter_predict` as ``out``, and once more to go on after a stop.

    A prediction of another image, or with another model or settings, begins anew in it.

    Attributes
    ----------
    key : str
        What the prediction depends on; empty where nothing was begun.
    state : State
    labels : ndarray or None
        ``TZYX``.
    maps : ndarray or None
        ``TC(Z)YX``, of all frames; where they were asked for.
    store : MapStore or None
        Maps of the frame in progress.
    """

    def __init__(self) -> None:
        self.begin("", None)

    def begin(self, key: str, labels: NDArray[np.int32] | None) -> None:
        """Let go of what is there, and begin something else."""
        self.key, self.state, self.labels = key, State(), labels
        self.maps: NDArray[np.float32] | None = None
        self.store: MapStore | None = None


def finished_part(out: InMemory | Path, axes: str, dims: int) -> tuple[dict[str, slice], NDArray[np.int32]] | None:
    """Return what a prediction that was ended has finished: whole frames, else slices of the first one.

    Parameters
    ----------
    out : InMemory or Path
        As it was given to the prediction.
    axes : str
        Of the image.
    dims : int
        Axes that the model sees at once.

    Returns
    -------
    tuple of dict and ndarray, or None
        Where it lies along T and Z in what was to be predicted, and its labels in the axes of the image without C and
        S; None where nothing is finished.
    """
    letters = label_axes(axes)
    if isinstance(out, InMemory):
        if out.labels is None:
            return None
        place = _finished(out.labels.shape[:2], out.state.frame, dims)
        return None if place is None else (place, from_canonical(out.labels[place["T"], place["Z"]], axes))
    import zarr

    try:
        found = json.loads((partial_folder(out) / "state.json").read_text())
        labels = zarr.open_array(partial_folder(out) / "labels", mode="r")
        sizes = dict(zip(letters, labels.shape, strict=True))
        place = _finished((sizes.get("T", 1), sizes.get("Z", 1)), int(found["frame"]), dims)
    except (OSError, ValueError, KeyError):
        return None
    if place is None:
        return None
    return place, np.asarray(labels[tuple(place.get(letter, slice(None)) for letter in letters)])


def partial_folder(final: Path) -> Path:
    """Return where a prediction is until it is finished."""
    return final.with_name(f".{final.name}.partial")


def _finished(sizes: tuple[int, ...], frames: int, dims: int) -> dict[str, slice] | None:
    """Return what so many frames are of a movie of stacks."""
    slices = 1 if dims == 3 else sizes[1]
    if frames >= slices:
        return {"T": slice(0, frames // slices), "Z": slice(0, sizes[1])}
    return {"T": slice(0, 1), "Z": slice(0, frames)} if frames else None

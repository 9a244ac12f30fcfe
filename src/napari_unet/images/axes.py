"""Axes of an image: what each dimension means, and one canonical order for all computation."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_unet.errors import ImageError

__all__ = ["CANONICAL", "check_axes", "from_canonical", "guess_axes", "label_axes", "to_canonical"]

CANONICAL = "TCZYX"
"""The order in which everything is computed."""

_EXAMPLES = "for example YX, ZYX, TYX, CYX, YXS, TCZYX"


def check_axes(axes: str, ndim: int) -> str:
    """Return `axes` in capitals, or say what is wrong with it.

    Raises
    ------
    ImageError
        If a letter is unknown or repeated, X or Y is missing, or the number of letters is not `ndim`.
    """
    axes = axes.strip().upper()
    unknown = sorted(set(axes) - set("TCZYXS"))
    if unknown:
        raise ImageError(f"Axes {axes!r} hold {', '.join(unknown)}: use the letters TCZYXS, {_EXAMPLES}.")
    if len(set(axes)) != len(axes):
        raise ImageError(f"Axes {axes!r} name a letter twice: each dimension has its own letter, {_EXAMPLES}.")
    if not {"X", "Y"} <= set(axes):
        raise ImageError(f"Axes {axes!r} lack X or Y: an image needs both, {_EXAMPLES}.")
    if {"C", "S"} <= set(axes):
        raise ImageError(f"Axes {axes!r} hold both C and S: split the colours into channels first.")
    if len(axes) != ndim:
        raise ImageError(
            f"Axes {axes!r} name {len(axes)} dimensions but the image has {ndim}. "
            f"Name one letter for each, {_EXAMPLES}."
        )
    return axes


def guess_axes(shape: tuple[int, ...], *, rgb: bool = False) -> str | None:
    """Return the axes that `shape` surely has, None where a person has to say.

    A bare 2-D array is YX, an RGB one YXS; a bare 3-D one could be ZYX, TYX or CYX.
    """
    if rgb and len(shape) == 3:
        return "YXS"
    return "YX" if len(shape) == 2 else None


def label_axes(axes: str) -> str:
    """Return the axes of the labels of an image: its own without channels and colours."""
    return "".join(letter for letter in axes if letter not in "CS")


def to_canonical(image: Any, axes: str) -> Any:
    """Return `image` as a ``TCZYX`` view: missing axes of length 1, colours (S) as channels.

    Parameters
    ----------
    image : array
        Anything with `transpose` and `reshape`: NumPy or dask.
    axes : str
        Its axes.
    """
    axes = check_axes(axes, np.ndim(image)).replace("S", "C")
    ordered = image.transpose([axes.index(letter) for letter in CANONICAL if letter in axes])
    shape = iter(ordered.shape)
    return ordered.reshape([next(shape) if letter in axes else 1 for letter in CANONICAL])


def from_canonical(array: Any, axes: str) -> Any:
    """Return a canonical array (``TZYX`` labels or ``TCZYX`` maps) in the order and number of `axes`.

    Axes that `axes` does not name must have length 1; C is kept, in front, where the array has it.
    """
    letters = CANONICAL if array.ndim == len(CANONICAL) else CANONICAL.replace("C", "")
    keep = [letter for letter in letters if letter in axes or letter == "C"]
    squeezed = array.reshape([n for letter, n in zip(letters, array.shape, strict=True) if letter in keep])
    if "C" in keep:
        return squeezed
    return squeezed.transpose([keep.index(letter) for letter in label_axes(axes)])

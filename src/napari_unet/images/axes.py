"""Axes of an image: what each dimension means, and one canonical order for all computation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError
from napari_unet.images.lazy import lazy_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "CANONICAL",
    "AxesGuess",
    "check_axes",
    "explain_axes",
    "from_canonical",
    "guess_axes",
    "label_axes",
    "label_planes",
    "to_canonical",
]

CANONICAL = "TCZYX"
"""The order in which everything is computed."""

_FEW = 4
"""An axis so short is more likely channels than slices or frames."""

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


@dataclass(frozen=True)
class AxesGuess:
    """Axes guessed from a shape.

    Attributes
    ----------
    axes : str
    why : str
        The reason, in a sentence that a user can check.
    sure : bool
        Whether it could not well be anything else.
    """

    axes: str
    why: str
    sure: bool


def explain_axes(shape: tuple[int, ...], *, rgb: bool = False) -> AxesGuess:
    """Guess the axes of an array that comes without a word, and say why.

    What a file tells wins over this.

    Parameters
    ----------
    shape : tuple of int
    rgb : bool
        The last dimension is known to be colours.

    Raises
    ------
    ImageError
        If it has fewer than two dimensions or more than an image can have.

    Examples
    --------
    >>> explain_axes((60, 256, 256)).why
    '60 planes: taken as Z. If they are frames of a movie, say TYX.'
    """
    colours = (rgb and len(shape) > 2) or (
        3 <= len(shape) <= 4 and shape[-1] in (3, 4) and min(shape[-3:-1]) > _FEW and not rgb
    )
    ndim = len(shape) - colours
    if not 2 <= ndim <= (4 if colours else 5):
        many = f"{len(shape)} dimension{'s' * (len(shape) != 1)}"
        raise ImageError(f"An array of {many} is no image. Give one with 2 to 5, {_EXAMPLES}.")
    if not colours:
        return _explain(shape)
    axes = "TZYX"[-ndim:]
    why = "The last dimension is colours." if rgb else f"The last dimension of {shape[-1]} is taken as colours."
    before = {2: "", 3: " The one before the rows is taken as Z.", 4: " The first two are taken as T and Z."}[ndim]
    return AxesGuess(f"{axes}S", why + before, rgb and ndim == 2)


def _explain(shape: tuple[int, ...]) -> AxesGuess:
    ndim, (first, second) = len(shape), shape[:2]
    if ndim == 2:
        return AxesGuess("YX", "Two dimensions: Y and X.", True)
    if ndim == 3 and 1 < first <= _FEW:
        why = f"{first} planes, too few for a stack: taken as channels. If they are slices, say ZYX, if frames, TYX."
        return AxesGuess("CYX", why, False)
    if ndim == 3:
        many = "One plane" if first == 1 else f"{first} planes"
        return AxesGuess("ZYX", f"{many}: taken as Z. If they are frames of a movie, say TYX.", False)
    if ndim == 5:
        order = "TZCYX" if shape[2] <= _FEW < second else "TCZYX"
        return AxesGuess(order, f"Five dimensions: taken as {order}, the order of OME and ImageJ.", False)
    if min(first, second) > _FEW:
        why = f"{first} and {second} planes, too many for channels: taken as T and Z."
        return AxesGuess("TZYX", why, False)
    order = "CZYX" if first <= second else "ZCYX"
    why = f"{min(first, second)} of {first} x {second} planes are few: taken as channels, the others as Z."
    return AxesGuess(order, f"{why} If those are frames, say {order.replace('Z', 'T')}.", False)


def guess_axes(shape: tuple[int, ...], *, rgb: bool = False) -> str | None:
    """Return the axes that `shape` surely has, None where a person has to say.

    A bare 2-D array is YX, an RGB one YXS; a bare 3-D one could be ZYX, TYX or CYX.
    """
    if not 2 <= len(shape) <= 5:
        return None
    guess = explain_axes(shape, rgb=rgb)
    return guess.axes if guess.sure else None


def label_axes(axes: str) -> str:
    """Return the axes of the labels of an image: its own without channels and colours."""
    return "".join(letter for letter in axes if letter not in "CS")


def label_planes(labels: Any, axes: str) -> Iterator[tuple[tuple[int, int], NDArray[Any]]]:
    """Yield the planes of labels one by one, in the order TZ: where each lies, (t, z), and its pixels (YX).

    Parameters
    ----------
    labels : array
        Anything that can be sliced: NumPy, dask or zarr. Only one plane at a time is read.
    axes : str
        Its axes, letters of ``TZYX``.
    """
    length = dict(zip(axes, labels.shape, strict=True))
    for t, z in product(range(length.get("T", 1)), range(length.get("Z", 1))):
        place = {"T": t, "Z": z}
        plane = np.asarray(labels[tuple(place.get(letter, slice(None)) for letter in axes)])
        yield (t, z), plane if axes.index("Y") < axes.index("X") else plane.T


def to_canonical(image: Any, axes: str) -> Any:
    """Return `image` as a ``TCZYX`` view: missing axes of length 1, colours (S) as channels.

    Parameters
    ----------
    image : array
        NumPy, dask or zarr; the last two stay lazy.
    axes : str
        Its axes.
    """
    axes = check_axes(axes, len(image.shape)).replace("S", "C")
    if not hasattr(image, "transpose"):
        image = lazy_array(image, image.chunks)
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

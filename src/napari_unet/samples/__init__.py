"""Two small images with their true labels, shipped for the demo, the tests and the first steps."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import tifffile

from napari_unet.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sample", "load_sample", "sample_names"]

_AXES = {"nuclei_2d": "YX", "nuclei_3d": "ZYX"}
_PIXEL_SIZE = {"nuclei_3d": (0.58, 0.52, 0.52)}


@dataclass(frozen=True, eq=False)
class Sample:
    """An image that comes with the program.

    Attributes
    ----------
    image : ndarray
    truth : ndarray
        True labels (instances), shape of `image`.
    axes : str
        Axes of both.
    pixel_size : tuple of float or None
        In micrometres, one number per axis; None where it is unknown.
    """

    image: NDArray[Any]
    truth: NDArray[Any]
    axes: str
    pixel_size: tuple[float, ...] | None


def sample_names() -> list[str]:
    """Return the names that `load_sample` knows."""
    return list(_AXES)


def load_sample(name: str) -> Sample:
    """Read a shipped image with its true labels.

    Parameters
    ----------
    name : str
        ``"nuclei_2d"`` (288 x 288, 45 nuclei) or ``"nuclei_3d"`` (24 x 128 x 128, 20 nuclei).

    Raises
    ------
    ImageError
        If there is no such sample; the message lists those there are.

    Examples
    --------
    >>> load_sample("nuclei_2d").image.shape
    (288, 288)
    """
    if name not in _AXES:
        raise ImageError(f"There is no sample {name!r}. Choose one of: {', '.join(_AXES)}.")
    return Sample(_read(f"{name}.tif"), _read(f"{name}_truth.tif"), _AXES[name], _PIXEL_SIZE.get(name))


def _read(file_name: str) -> NDArray[Any]:
    with (resources.files("napari_unet") / "samples" / file_name).open("rb") as file:
        return tifffile.imread(file)

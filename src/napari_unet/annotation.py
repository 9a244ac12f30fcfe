"""Labels with a status per voxel: the data that correction makes and training learns from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from napari_unet.errors import AnnotationError

__all__ = ["Annotated", "Status"]


class Status(IntEnum):
    """What is known about a voxel's label."""

    UNCHECKED = 0
    """Predictions may change it; it is not learned from."""
    CHECKED = 1
    """True, empty places too."""
    IGNORE = 2
    """Never learned, scored, exported or overwritten: debris."""


@dataclass(frozen=True, eq=False)
class Annotated:
    """An image with labels and what is known about each voxel.

    Parameters
    ----------
    image : array
        Image in the axes named by `axes`.
    labels : array of integers
        In the axes of the image without C and S. Instances: object id; classes: class number; 0 = background.
    status : array of uint8, optional
        `Status` per voxel, shape of `labels`. None (the default) means that everything is checked.
    axes : str
        Axes of `image`, letters of ``TCZYXS`` (default ``"YX"``).
    group : str, optional
        Samples of one group (crops of one field, frames of one movie) are never split between training
        and validation. None: the sample is a group of its own.
    name : str
        What messages call it, usually the file name.
    intensity_range : pair of tuples of float, optional
        Intensities of each channel that become 0 and 1. None: measured on `image`. Give it where `image` is a part
        of a larger one, which is normalised as a whole.
    object_diameter_px : float, optional
        Typical diameter of the objects; the image is rescaled so that they are as large as the model's.
        None: not rescaled.

    Raises
    ------
    AnnotationError
        If labels and image differ in shape, or the labels are not integers.
    """

    image: Any
    labels: Any
    status: Any = None
    axes: str = "YX"
    group: str | None = None
    name: str = "image"
    intensity_range: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    object_diameter_px: float | None = None

    def __post_init__(self) -> None:
        axes = self.axes.upper()
        object.__setattr__(self, "axes", axes)
        if len(axes) != np.ndim(self.image):
            raise AnnotationError(
                f"{self.name}: the image has {np.ndim(self.image)} dimensions but its axes are given as {axes!r}. "
                "Name one letter of TCZYXS for each dimension."
            )
        expected = tuple(n for letter, n in zip(axes, np.shape(self.image), strict=True) if letter not in "CS")
        if np.shape(self.labels) != expected:
            raise AnnotationError(
                f"{self.name}: the labels are {np.shape(self.labels)} but the image is {np.shape(self.image)} "
                f"({axes}). Labels need the shape {expected}: the image without channels."
            )
        if np.dtype(self.labels.dtype).kind not in "uib":
            raise AnnotationError(
                f"{self.name}: the labels are of type {self.labels.dtype}. Convert them to integers, one number "
                "per object or class."
            )
        if self.status is not None and np.shape(self.status) != expected:
            raise AnnotationError(
                f"{self.name}: the status has the shape {np.shape(self.status)} but the labels have {expected}."
            )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names for the channels that a new model of such images reads: all of them, but no transparency."""
        letter = next((letter for letter in self.axes if letter in "CS"), None)
        count = self.image.shape[self.axes.index(letter)] if letter else 1
        if letter == "S" and count > 2:
            return ("red", "green", "blue")
        return ("image",) if count == 1 or letter == "S" else tuple(f"channel {n}" for n in range(count))

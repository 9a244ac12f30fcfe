"""What is known of an image once it is open: pixels that are read on demand, axes, pixel sizes, channels, levels."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING, Any

from napari_unet.images.axes import explain_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_unet.images.axes import AxesGuess

__all__ = ["Level", "OpenedImage", "micrometres", "nearest_level", "seconds"]

_PER_UNIT = {
    "pm": 1e-6, "picometer": 1e-6, "å": 1e-4, "angstrom": 1e-4, "nm": 1e-3, "nanometer": 1e-3,
    "um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6, "inch": 25400.0, "in": 25400.0,
}  # fmt: skip

_SECONDS = {
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0,
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """One resolution of a pyramid.

    Attributes
    ----------
    shape : tuple of int
    scale : dict
        Per axis letter: how many voxels of the full resolution one of its voxels is long.
    pixel_size_um : dict
        Micrometres per voxel for those of ``ZYX`` that the file tells.
    """

    shape: tuple[int, ...]
    scale: Mapping[str, float]
    pixel_size_um: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image of a file; its pixels are read where they are asked for.

    Attributes
    ----------
    data : array
        NumPy (small, or mapped from the file) or dask.
    axes : str or None
        Letters of ``TCZYXS`` as the file tells them; None where it does not.
    axes_why : str
        Where the axes come from, in a sentence.
    path : Path
    name : str
        Of the file, without its suffix.
    channel_names : tuple of str
        Empty where the file does not tell.
    levels : tuple of Level
        All resolutions, the full one first.
    level : int
        The one that `data` is.
    files : tuple of Path
        Files that the pixels lie in; more than one where an OME-TIFF is spread over several.
    notes : tuple of str
        What was chosen where the file left a choice.
    frame_interval_s : float or None
        Seconds from one frame to the next; None where the file does not tell.
    """

    data: Any
    axes: str | None
    axes_why: str
    path: Path
    name: str
    channel_names: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    level: int = 0
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())
    frame_interval_s: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `data`."""
        return tuple(self.data.shape)

    @property
    def pixel_size_um(self) -> dict[str, float]:
        """Micrometres per voxel of this level, for those of ``ZYX`` that are known."""
        return dict(self.levels[self.level].pixel_size_um)

    @property
    def guess(self) -> AxesGuess:
        """What the axes would be by the shape alone, with the reason."""
        return explain_axes(self.shape)


def micrometres(value: Any, unit: str | None) -> float | None:
    """Return a length in micrometres; None where it is no length or its unit is none (such as "pixel").

    Examples
    --------
    >>> micrometres(250, "nanometer")
    0.25
    """
    word = (unit or "").strip().lower().replace("\\u00b5", "µ").replace("μ", "µ").replace("metre", "meter")
    return _measured(value, _PER_UNIT.get(word))


def seconds(value: Any, unit: str | None) -> float | None:
    """Return a time in seconds; None where it is no time or its unit is none.

    Examples
    --------
    >>> seconds(5, "minutes")
    300.0
    """
    word = (unit or "").strip().lower()
    return _measured(value, _SECONDS.get(word, _SECONDS.get(word.removesuffix("s"))))


def _measured(value: Any, per_unit: float | None) -> float | None:
    try:
        size = float(value) * (per_unit or 0)
    except (TypeError, ValueError):
        return None
    return float(f"{size:.12g}") if 0 < size < 1e9 else None


def nearest_level(levels: Sequence[Level], object_px: float | None, model_px: float | None) -> int:
    """Return the level at which objects are nearest in size to those that a model knows.

    Parameters
    ----------
    levels : sequence of Level
        The full resolution first.
    object_px : float or None
        Diameter of the objects in pixels of the full resolution.
    model_px : float or None
        Diameter that the model knows.

    Returns
    -------
    int
        0, the full resolution, where one of the sizes is unknown; the finer of two that are equally near.
    """
    if not object_px or not model_px:
        return 0
    return min(
        range(len(levels)), key=lambda n: round(abs(log(object_px / levels[n].scale.get("X", 1.0) / model_px)), 9)
    )

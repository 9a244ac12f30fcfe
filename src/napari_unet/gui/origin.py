"""What is known of an image layer beside its pixels: axes and why, pixel sizes, names of channels."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.errors import UNetError
from napari_unet.gui.layers import OURS
from napari_unet.images import explain_axes, layer_axes, open_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Image

    from napari_unet.images import OpenedImage

__all__ = ["Origin", "axes_choices", "file_of", "misplaced", "origin_of", "remember", "set_axes"]

_CHOICES = {
    2: ("YX",),
    3: ("ZYX", "TYX", "CYX"),
    4: ("TZYX", "CZYX", "ZCYX", "TCYX", "CTYX"),
    5: ("TCZYX", "TZCYX", "CTZYX"),
}
_COLOURS = ("red", "green", "blue", "alpha")


@dataclass(frozen=True)
class Origin:
    """What is known of an image layer.

    Attributes
    ----------
    axes : str
    why : str
        Where the axes come from, in a sentence.
    sure : bool
        False for a guess.
    pixel_size_um : dict
        Micrometres per voxel of those of ``ZYX`` that are known.
    channels : tuple of str
        Names of the channels along C or S; empty where they have none.
    path : str
        Of its file, empty where it is unknown.
    level, levels : int
        Resolution of a pyramid that it is, and how many there are.
    channel : int or None
        Which channel of its file it is; None: all of them.
    frame_interval_s : float or None
        Seconds from one frame to the next; None where that is unknown.
    """

    axes: str
    why: str
    sure: bool = True
    pixel_size_um: Mapping[str, float] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    path: str = ""
    level: int = 0
    levels: int = 1
    channel: int | None = None
    frame_interval_s: float | None = None


def origin_of(layer: Image) -> Origin:
    """Return what is known of an image of 2 to 5 dimensions: what was remembered, what its file tells, else a guess.

    napari's own reader hands over neither axes nor pixel sizes, but the path.
    """
    known = layer.metadata.get(OURS)
    if isinstance(known, Origin) and len(known.axes) == len(layer.data.shape):
        return known
    origin = _told_by_layer(layer) or _told_by_file(layer)
    if origin is None:
        guess = explain_axes(tuple(layer.data.shape), rgb=layer.rgb)
        origin = Origin(guess.axes, guess.why, guess.sure, _pixel_size(layer, guess.axes))
    remember(layer, origin)
    return origin


def file_of(layer: Image) -> str:
    """Return what tells the file, or the sample, that an image was opened from; empty where it was not opened."""
    known = layer.metadata.get(OURS)
    own = known.path if isinstance(known, Origin) else ""
    return own or str(layer.source.path or layer.source.sample or "")


def remember(layer: Image, origin: Origin) -> None:
    """Keep what is known with the layer; napari's sliders show the axes where they are no guess."""
    layer.metadata[OURS] = origin
    letters = origin.axes.lower().removesuffix("s" if layer.rgb else "")
    if origin.sure and len(letters) == layer.ndim:
        layer.axis_labels = tuple(letters)


def set_axes(layer: Image, axes: str) -> None:
    """Note that a person said what the axes are."""
    known = origin_of(layer)
    if known.axes != axes:
        size = _pixel_size(layer, axes)
        one = Origin(axes, f"{axes}: as you chose.", True, size, known.channels, known.path)
        remember(layer, replace(one, frame_interval_s=known.frame_interval_s))


def axes_choices(layer: Image) -> tuple[str, ...]:
    """Return the axes that an image can have, always in the same order."""
    if not 2 <= layer.ndim <= 5:
        return ()
    colours = "S" if layer.rgb else ""
    usual = [axes + colours for axes in _CHOICES[layer.ndim]] if len(layer.data.shape) <= 5 else []
    known = origin_of(layer).axes
    return tuple(usual if known in usual else [known, *usual])


def misplaced(axes: str) -> str | None:
    """Return what is wrong with the order of axes for napari, and what to do; None if nothing."""
    if not axes.removesuffix("S").endswith("YX"):
        return f"The axes {axes} do not end with rows and columns, which napari shows. Press Split channels."
    if "C" in axes[1:]:
        return (
            f"The channels lie between the other axes ({axes}): labels beside them would follow the wrong slider. "
            "Press Split channels."
        )
    return None


def _told_by_layer(layer: Image) -> Origin | None:
    """Read the names of the axes that whoever made the layer gave it."""
    names = tuple(str(name).upper() for name in layer.axis_labels)
    axes = "".join(names) + ("S" if layer.rgb else "")
    letters = set(axes)
    if any(len(name) != 1 for name in names) or not {"Y", "X"} <= letters <= set("TCZYXS") or len(letters) < len(axes):
        return None
    return Origin(axes, f"{axes}: as the layer names its axes.", True, _pixel_size(layer, axes))


def _told_by_file(layer: Image) -> Origin | None:
    path = layer.source.path
    if not isinstance(path, str | Path):
        return None
    opened: OpenedImage | None = None
    with suppress(UNetError, OSError):
        opened = open_image(path)
    if opened is None or opened.axes is None:
        return None
    shape = tuple(layer.data.shape)
    found = layer_axes(shape, rgb=layer.rgb, path=path)
    width = shape[found.axes.index("X")]
    level = next((one for one in opened.levels if one.shape[opened.axes.index("X")] == width), None)
    if not found.sure or level is None:
        return None
    size = dict(level.pixel_size_um) or _pixel_size(layer, found.axes)
    names, interval = _channel_names(opened, found.axes), opened.frame_interval_s
    return Origin(found.axes, found.why, True, size, names, str(path), frame_interval_s=interval)


def _channel_names(opened: OpenedImage, axes: str) -> tuple[str, ...]:
    if opened.channel_names:
        return opened.channel_names
    return _COLOURS[: opened.shape[axes.index("S")]] if "S" in axes else ()


def _pixel_size(layer: Image, axes: str) -> dict[str, float]:
    """Return the size of a voxel by axis, where the layer has physical units."""
    return {
        letter: float((scale * unit).to("micrometer").magnitude)
        for letter, scale, unit in zip(axes, layer.scale, layer.units, strict=False)
        if letter in "ZYX" and unit.is_compatible_with("micrometer")
    }

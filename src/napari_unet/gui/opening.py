"""Images into the viewer as the panel likes them: a layer for each channel, with pixel sizes and names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import ImageError, UNetError
from napari_unet.gui.layers import image_layers, place_of
from napari_unet.gui.origin import Origin, origin_of, remember
from napari_unet.images import label_axes, nearest_level, open_image, to_canonical

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_unet.gui.workbench import Workbench
    from napari_unet.images import OpenedImage

__all__ = ["Opening", "channel_name", "image_path", "open_layers", "split_channels"]

_MOST_PIXELS = 2**26
"""A plane with more (8192 x 8192) is opened at a coarser level as long as the object size is unknown."""
_COLOURS = ("red", "green", "blue", "alpha")


class Opening:
    """Opens images and splits their channels.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session

    def open(self, path: Path, level: int | None = None, channel: int | None = None) -> bool:
        """Open an image file, each channel as a layer with pixel sizes and names, and work on one of them.

        Parameters
        ----------
        path : Path
        level : int, optional
            Resolution of a pyramid. None: the one at which the objects are as large as the model knows them.
        channel : int, optional
            Which channel to work on. None: the first, or all of them where they stay together.
        """
        bench, spec = self._workbench, self._workbench.spec
        try:
            layers, notes = open_layers(
                bench.viewer,
                path,
                object_px=bench.sizing.known_for(path),
                model_px=spec.object_diameter_px if spec is not None else None,
                level=level,
            )
        except UNetError as error:
            self._session.say(str(error), problem=True)
            return False
        wanted = (layer for layer in layers if channel is not None and origin_of(layer).channel == channel)
        bench.choose_image(next(wanted, layers[0]).name)
        if notes and bench.problem is None:
            self._session.say(" ".join(notes))
        return True

    def choose_level(self, level: int) -> None:
        """Open the image at another resolution of its pyramid, in the place of the one that is open."""
        bench, image = self._workbench, self._workbench.image
        if image is None or (path := origin_of(image).path) == "" or level == origin_of(image).level:
            return
        others = [one for one in image_layers(bench.viewer.layers) if origin_of(one).path == path]
        if self.open(Path(path), level):
            self._put_away(others)

    def open_as_images(self, image: Image, folder: Path) -> None:
        """Work through the images of a folder that napari has stacked into one layer, in the place of that layer."""
        if self._workbench.projects.open_folder(folder):
            self._put_away([image])

    def split(self) -> None:
        """Put a layer for each channel of the image in its place."""
        bench, image, axes = self._workbench, self._workbench.image, self._session.axes
        if image is None or not {"C", "S"} & set(axes):
            self._session.say("This image has no channels to split.")
            return
        layers = split_channels(bench.viewer, image, axes)
        self._put_away([image])
        bench.choose_image(layers[0].name)

    def _put_away(self, images: list[Image]) -> None:
        for image in images:
            if self._workbench.documents.has_labels(image):
                image.visible = False  # its labels live with it
            else:
                self._workbench.viewer.layers.remove(image)


def open_layers(
    viewer: Any, path: Path, *, object_px: float | None, model_px: float | None, level: int | None = None
) -> tuple[list[Image], tuple[str, ...]]:
    """Open an image file into a viewer: a layer for each channel.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
    path : Path
    object_px : float or None
        Diameter of the objects in pixels of the full resolution.
    model_px : float or None
        Diameter that the model knows.
    level : int, optional
        Resolution of a pyramid. None: the one at which the objects are as large as the model knows them.

    Returns
    -------
    layers : list of Image
    notes : tuple of str
        What was chosen where the file left a choice.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    opened = open_image(path)
    level = _level(opened, object_px, model_px) if level is None else level
    if level != opened.level:
        opened = open_image(path, level)
    guess = None if opened.axes else opened.guess
    axes = opened.axes or opened.guess.axes
    why = opened.axes_why if guess is None else guess.why
    sizes = opened.pixel_size_um
    known = Origin(
        axes, why, guess is None or guess.sure, sizes, opened.channel_names, str(path), level, len(opened.levels),
        frame_interval_s=opened.frame_interval_s,
    )  # fmt: skip
    notes = opened.notes + ((guess.why,) if guess is not None and not guess.sure else ())
    if "S" in axes and axes.endswith("YXS"):
        letters = label_axes(axes)
        layer = viewer.add_image(opened.data, name=opened.name, rgb=True, **_in_space(letters, sizes))
        remember(layer, known)
        return [layer], notes
    return _add_channels(viewer, opened.data, known, opened.name, _in_space(label_axes(axes), sizes)), notes


def split_channels(viewer: Any, layer: Image, axes: str) -> list[Image]:
    """Put a layer for each channel of an image into a viewer, where it lies and as large."""
    letters = label_axes(axes)
    in_space = place_of(layer, [axes.index(letter) for letter in sorted(letters, key="TZYX".index)])
    known = origin_of(layer)
    return _add_channels(viewer, layer.data, known, layer.name, in_space)


def image_path(chosen: str) -> Path:
    """Return the image that a chosen file belongs to: the folder of a zarr image, for a file in it."""
    path = Path(chosen)
    return next((folder for folder in path.parents if folder.suffix.lower() == ".zarr"), path)


def channel_name(known: Origin, number: int) -> str:
    """Return the name of a channel; its number, counted from 1, where it has none."""
    names = known.channels or (_COLOURS if "S" in known.axes else ())
    return names[number] if number < len(names) and names[number] else f"channel {number + 1}"


def _level(opened: OpenedImage, object_px: float | None, model_px: float | None) -> int:
    if object_px and model_px:
        return nearest_level(opened.levels, object_px, model_px)
    small = (n for n, one in enumerate(opened.levels) if np.prod(sorted(one.shape)[-2:]) <= _MOST_PIXELS)
    return next(small, len(opened.levels) - 1)


def _in_space(letters: str, sizes: Any) -> dict[str, Any]:
    """Return scale and units of a layer with these axes."""
    letters = "".join(sorted(letters, key="TZYX".index))
    known = all(letter in sizes for letter in letters if letter != "T") and bool(sizes)
    if not known:
        return {}
    units = tuple("um" if letter != "T" else "pixel" for letter in letters)
    return {"scale": [sizes.get(letter, 1.0) for letter in letters], "units": units}


def _add_channels(viewer: Any, data: Any, known: Origin, name: str, in_space: dict[str, Any]) -> list[Image]:
    letters = "".join(sorted(label_axes(known.axes), key="TZYX".index))
    canonical = to_canonical(data, known.axes)
    if 0 in canonical.shape:
        raise ImageError("This image is empty. Open one that has pixels.")
    keep = (slice(None) if letter in letters else 0 for letter in "TZYX")
    channels = canonical.transpose(1, 0, 2, 3, 4)[(slice(None), *keep)]
    if len(channels) == 1:
        layers = [viewer.add_image(channels[0], name=name, **in_space)]
    else:
        names = [f"{name} {channel_name(known, n)}" for n in range(len(channels))]
        colours = {"colormap": list(_COLOURS[: len(channels)])} if "S" in known.axes and len(channels) <= 3 else {}
        layers = viewer.add_image(channels, channel_axis=0, name=names, **in_space, **colours)
    why = known.why if letters == known.axes else f"{letters}: one channel of {known.axes}."
    for number, layer in enumerate(layers):
        channel = number if len(channels) > 1 else known.channel
        remember(layer, replace(known, axes=letters, why=why, channels=(), channel=channel))
    return list(layers)

"""What the panel needs to know of napari layers, and the layers that it makes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer

from napari_unet.gui.outline_layer import OutlineLayer
from napari_unet.images import label_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_unet.correction import Box

__all__ = [
    "OURS",
    "Shelf",
    "corner_of",
    "foreign_labels",
    "image_layers",
    "is_ours",
    "is_usable_image",
    "label_shape",
    "make_labels",
    "make_map",
    "make_outlines",
    "make_overlay",
    "make_rim",
    "mark_as_ours",
    "place_of",
    "show_thumbnail",
    "view_box",
]

_STATUS_COLORS = {None: "transparent", 0: "transparent", 1: "#30d158", 2: "#ff9f0a"}
_THUMBNAIL = 32
"""Pixels of a side of what the layer list shows."""
OURS = "napari-unet"
"""Our key in the metadata of layers: True in those that the panel makes to show something, a word in those that it
keeps labels in, in images what is known of them."""


def image_layers(layers: Any) -> list[Image]:
    """Return the image layers that are not made here, in the order of the layer list."""
    return [layer for layer in layers if isinstance(layer, Image) and not is_ours(layer)]


def mark_as_ours(layer: Layer) -> None:
    """Note in a layer that the panel made it to show something."""
    layer.metadata[OURS] = True


def is_ours(layer: Layer) -> bool:
    """Return whether the panel made a layer to show something."""
    return layer.metadata.get(OURS) is True


def foreign_labels(layers: Any) -> list[Labels]:
    """Return the layers of labels that somebody else made, in the order of the layer list."""
    return [layer for layer in layers if isinstance(layer, Labels) and OURS not in layer.metadata]


def is_usable_image(layer: Layer) -> str | None:
    """Return what is wrong with an image layer and what to do, None if nothing."""
    if layer.multiscale:
        return "This image is a pyramid. Press Open image... and choose its file: the level that fits is opened."
    if not 2 <= layer.ndim <= (4 if layer.rgb else 5):
        return f"This image has {layer.ndim} dimensions. Open one with 2 to 5."
    if 0 in layer.data.shape:
        return "This image is empty. Open one that has pixels."
    return None


def label_shape(layer: Image, axes: str) -> tuple[int, ...]:
    """Return the shape of the labels of an image."""
    return tuple(n for letter, n in zip(axes, layer.data.shape, strict=True) if letter in label_axes(axes))


def make_labels(image: Image, axes: str, name: str, data: NDArray[Any], kind: type[Labels] = Labels) -> Labels:
    """Return a labels layer that lies on the image."""
    kept = [place for place, letter in enumerate(axes) if letter not in "CS"]
    transform = [place for place in kept if place < image.ndim]
    layer = kind(
        data,
        name=name,
        opacity=0.5,
        **place_of(image, transform),
    )
    layer.metadata[OURS] = "labels"
    layer.brush_size = min(20, max(3, round(min(data.shape[-2:]) / 60)))
    layer.n_edit_dimensions = 2
    return layer


def make_overlay(labels: Labels, data: NDArray[Any], name: str, *, outline_of_status: bool) -> Labels:
    """Return a layer over the labels that shows outlines and cannot be painted on.

    Parameters
    ----------
    labels : Labels
    data : ndarray
    name : str
    outline_of_status : bool
        Green for checked, orange for ignored; else the colours of the labels.
    """
    layer = OutlineLayer(data, name=name, opacity=0.9, **place_of(labels))
    if outline_of_status:
        layer.colormap = DirectLabelColormap(color_dict=_STATUS_COLORS)
    layer.contour = 1 if outline_of_status else 2
    layer.editable = False
    mark_as_ours(layer)
    return layer


def make_outlines(image: Image, axes: str, box: Box, labels: NDArray[Any], name: str, color: str) -> Labels:
    """Return a layer of the outlines of labels, all in one colour, that cannot be painted on.

    Parameters
    ----------
    image : Image
    axes : str
        Of the image.
    box : Box
        Where the labels lie, in voxels of the labels of the whole image.
    labels : ndarray of int
    name : str
    color : str
    """
    layer = make_labels(image, axes, name, labels, OutlineLayer)
    layer.translate = corner_of(layer, box)
    layer.colormap = DirectLabelColormap(color_dict={None: color, 0: "transparent"})
    layer.contour = 2
    layer.opacity = 0.9
    layer.editable = False
    mark_as_ours(layer)
    return layer


def make_rim(image: Image, axes: str, box: Box, rim: NDArray[np.uint8], step: int) -> Labels:
    """Return a layer of lines in the plane of a box, one pixel of it `step` pixels of the image."""
    layer = make_labels(image, axes, "threshold", rim.reshape((1,) * (len(box) - 2) + rim.shape))
    layer.translate = corner_of(layer, box, beyond=(*[0] * (len(box) - 2), *[(step - 1) / 2] * 2))
    layer.scale = np.asarray(layer.scale) * [*[1] * (len(box) - 2), step, step]
    layer.colormap = DirectLabelColormap(color_dict={None: "transparent", 1: "#ff375f"})
    layer.opacity = 1
    layer.editable = False
    mark_as_ours(layer)
    return layer


def show_thumbnail(layer: Labels, point: Sequence[float]) -> None:
    """Draw what the layer list shows of labels: napari draws it with a new slice, and not when something is written.

    Parameters
    ----------
    layer : Labels
    point : sequence of float
        Where the sliders of the viewer are, in its space.
    """
    voxel = np.rint(layer.world_to_data(tuple(point)[-layer.ndim :])).astype(int)
    lead = tuple(np.clip(voxel, 0, np.array(layer.data.shape) - 1)[:-2])
    sides = layer.data.shape[-2:]
    shrunk = min(1.0, _THUMBNAIL / max(sides))
    rows, columns = (np.linspace(0, n - 1, max(1, round(n * shrunk))).round().astype(int) for n in sides)
    colors = np.array(layer.colormap.map(np.asarray(layer.data[(*lead, rows[:, None], columns)])))
    colors[..., 3] *= layer.opacity
    layer.thumbnail = colors


def make_map(image: Image, axes: str, box: Box, values: NDArray[Any], name: str) -> Image:
    """Return a map of the plane of a box as an image layer that lies on the image."""
    like = make_labels(image, axes, name, np.zeros((1,) * len(box), np.uint8))
    layer = Image(
        values.reshape((1,) * (len(box) - 2) + values.shape),
        name=name,
        contrast_limits=(0, 1),
        colormap="viridis",
        **place_of(like) | {"translate": corner_of(like, box)},
    )
    mark_as_ours(layer)
    return layer


def place_of(layer: Layer, axes: Sequence[int] | None = None) -> dict[str, Any]:
    """Return where a layer lies, as arguments of a layer that lies there too; of some of its axes only."""
    kept = list(range(layer.ndim)) if axes is None else list(axes)
    among, with_offset = np.ix_(kept, kept), [*kept, layer.ndim]
    return {
        "scale": np.asarray(layer.scale)[kept],
        "translate": np.asarray(layer.translate)[kept],
        "rotate": np.asarray(layer.rotate)[among],
        "shear": _shear(layer)[among],
        "affine": np.asarray(layer.affine.affine_matrix)[np.ix_(with_offset, with_offset)],
        "units": tuple(layer.units[axis] for axis in kept),
    }


def corner_of(layer: Layer, box: Box, beyond: Sequence[float] = ()) -> NDArray[np.float64]:
    """Return the translation of a layer that lies where a box of this one begins, so many voxels beyond that."""
    starts = np.array([part.start for part in box], float) + (np.array(beyond) if beyond else 0)
    turned = np.asarray(layer.rotate) @ _shear(layer) @ (np.asarray(layer.scale) * starts)
    corner: NDArray[np.float64] = np.asarray(layer.translate) + turned
    return corner


def _shear(layer: Layer) -> NDArray[np.float64]:
    """Return the shear of a layer as a matrix; napari gives what is above the diagonal, or all of it."""
    given = np.asarray(layer.shear, float)
    if given.ndim == 2:
        return given
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, 1)] = given
    return matrix


class Shelf:
    """Puts layers into a viewer, and outlines away while its display is 3-D: napari cannot draw them there.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._put_away: list[Labels] = []
        # napari slices the layers before it tells us, and warns of what is put away right after
        warnings.filterwarnings("ignore", message="Contours are not displayed during 3D rendering")
        viewer.dims.events.ndisplay.connect(self._follow_display)

    def add(self, layer: Labels) -> None:
        """Put a layer into the viewer."""
        if self._viewer.dims.ndisplay == 3 and layer.contour > 0:
            layer.visible = False
            self._put_away.append(layer)
        self._viewer.add_layer(layer)

    def take_down(self, layer: Layer) -> None:
        """Take a layer out of the viewer, soon: not while napari is about to take out another."""
        QTimer.singleShot(0, lambda: self._remove(layer))

    def close(self) -> None:
        """Let go of the viewer."""
        self._viewer.dims.events.ndisplay.disconnect(self._follow_display)

    def _remove(self, layer: Layer) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _follow_display(self) -> None:
        flat = self._viewer.dims.ndisplay == 2
        if not flat:
            ours = (one for one in self._viewer.layers if isinstance(one, Labels) and is_ours(one))
            self._put_away = [layer for layer in ours if layer.visible]
        for layer in self._put_away:
            layer.visible = flat


def view_box(image: Image, axes: str, current_step: tuple[int, ...], *, whole_plane: bool = False) -> Box:
    """Return the visible rectangle of the current plane of an image, in voxels of its labels."""
    first, last = image.corner_pixels
    box = []
    for letter in label_axes(axes):
        axis = axes.index(letter)
        n = image.data.shape[axis]
        if axis < image.ndim - 2:
            position = current_step[len(current_step) - image.ndim + axis]
            here = min(max(int(position), 0), n - 1)
            box.append(slice(here, here + 1))
        elif whole_plane:
            box.append(slice(0, n))
        else:
            box.append(slice(int(max(first[axis], 0)), int(min(last[axis] + 1, n))))
    return tuple(box)

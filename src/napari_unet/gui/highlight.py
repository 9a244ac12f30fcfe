"""One outline over the labels, for what a tool is about to do and where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_unet.gui.layers import mark_as_ours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.correction import Box
    from napari_unet.gui.workbench import Workbench

__all__ = ["Highlight"]

_MARGIN = 3
_COLOR = "#ff2d92"
_STEP = 64
"""Sides are multiples of this: a texture of another size costs more than one of the same."""


class Highlight:
    """A layer of its own, as small as what it outlines, that is shown and hidden.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._layer: Labels | None = None

    @property
    def is_shown(self) -> bool:
        """Whether there is something to see."""
        return self._layer is not None and self._layer.visible

    def show(self, like: Labels, box: Box, mask: NDArray[np.bool_]) -> None:
        """Outline a mask.

        Parameters
        ----------
        like : Labels
            What it lies on.
        box : tuple of slice
            In voxels of that layer.
        mask : ndarray of bool
            In the shape of the box.
        """
        data, corner = _framed(mask, box)
        scale, place = np.asarray(like.scale), np.asarray(like.translate) + np.asarray(like.scale) * corner
        if self._layer is None:
            self._layer = self._make(like, data)
            self._layer.translate = place
            active = self._workbench.viewer.layers.selection.active
            self._workbench.shelf.add(self._layer)
            self._workbench.viewer.layers.selection.active = active
            return
        layer = self._layer
        if not np.array_equal(layer.scale, scale):
            layer.scale = scale
        if data.shape == layer.data.shape and np.array_equal(layer.translate, place) and layer.visible:
            layer.data[...] = data
            layer.refresh(thumbnail=False, highlight=False, extent=False)
            return
        layer.data = data
        layer.translate = place
        layer.visible = self._workbench.viewer.dims.ndisplay == 2

    def hide(self) -> None:
        """Show nothing."""
        if self._layer is not None:
            self._layer.visible = False

    def take_down(self) -> None:
        """Take the layer out of the viewer."""
        layer, self._layer = self._layer, None
        if layer is not None:
            self._workbench.shelf.take_down(layer)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        if layer is self._layer:
            self._layer = None

    @staticmethod
    def _make(like: Labels, data: NDArray[np.uint8]) -> Labels:
        layer = Labels(data, name="highlight", scale=like.scale, units=like.units, opacity=1.0)
        layer.colormap = DirectLabelColormap(color_dict={None: _COLOR, 0: "transparent"})
        layer.contour = 1
        layer.editable = False
        mark_as_ours(layer)
        return layer


def _framed(mask: NDArray[np.bool_], box: Box) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return a mask with room around it in the plane, and where its corner lies."""
    sides = [-(-(n + 2 * _MARGIN) // _STEP) * _STEP for n in mask.shape[-2:]]
    data = np.zeros((*mask.shape[:-2], *sides), np.uint8)
    data[..., _MARGIN : _MARGIN + mask.shape[-2], _MARGIN : _MARGIN + mask.shape[-1]] = mask
    corner = np.array([s.start for s in box])
    corner[-2:] -= _MARGIN
    return data, corner

"""One outline over the labels, for what a tool is about to do and where to look."""

from __future__ import annotations

from math import isqrt, prod
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_unet.correction import within
from napari_unet.gui.layers import corner_of, mark_as_ours, place_of
from napari_unet.gui.painting import write_into
from napari_unet.gui.resting import TIDY_MS, Resting, hands_rest
from napari_unet.gui.session import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.correction import Box
    from napari_unet.gui.workbench import Workbench

__all__ = ["Highlight"]

_MARGIN = 8
"""Pixels that it reaches beyond the image, so that a line along its edge is closed."""
_COLOR = "#ff2d92"
_MOST = 2100**2
"""Voxels that it covers, unless what it outlines needs more; an image of 2048 x 2048 and what is around it fit."""
_LONGEST = 4096
"""Pixels of a side: textures of more are not drawn in full everywhere."""
_SLICES = 24
"""Slices below and above a body that it covers, for the next body has others."""


class Highlight:
    """A layer of its own, over as much of the image as may be, in which one outline comes and goes.

    A layer that is moved, or gets data of another shape, costs napari ten times what a change of some pixels does. So
    it stays where it is as long as the outlines are in it.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._layer: Labels | None = None
        self._window: Box = ()
        """What the layer covers, in voxels of what it lies on."""
        self._tidying = Resting(TIDY_MS, self._tidy)
        self._drawn: Box | None = None
        """Where in the layer the outline is."""

    def prepare(self, like: Labels, box: Box) -> None:
        """Make the layer before there is anything to outline; the first one takes a moment.

        Parameters
        ----------
        like : Labels
            What it lies on.
        box : tuple of slice
            Where the first outline may be.
        """
        if not self._covers(like, box):
            self._place(like, box)

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
        self.clear()
        self.prepare(like, box)
        layer = self._layer
        assert layer is not None
        self._drawn = within(box, self._window)
        write_into(layer, self._drawn, mask.astype(np.uint8))
        if not layer.visible and self._workbench.viewer.dims.ndisplay == 2:
            layer.visible = True

    def clear(self) -> None:
        """Outline nothing; another outline is to come soon."""
        drawn, self._drawn = self._drawn, None
        if self._layer is not None and drawn is not None:
            write_into(self._layer, drawn, np.zeros([s.stop - s.start for s in drawn], np.uint8))

    def rest(self) -> None:
        """Take the layer out of sight if it outlines nothing: drawing it costs something all the same."""
        if self._layer is not None and self._drawn is None and self._layer.visible:
            self._layer.visible = False
            self._tidying.ask()

    def _tidy(self) -> None:
        """Take the layer out when there was nothing to outline for long, and no tool is there that outlines."""
        if self._drawn is not None:
            return
        if self._workbench.session.tool is Tool.NONE and hands_rest():
            self.take_down()
        else:
            self._tidying.ask()

    def close(self) -> None:
        """Leave the viewer alone."""
        self._tidying.stop()

    def hide(self) -> None:
        """Show nothing."""
        self.clear()
        self.rest()

    def take_down(self) -> None:
        """Take the layer out of the viewer."""
        layer, self._layer, self._drawn = self._layer, None, None
        if layer is not None:
            self._workbench.shelf.take_down(layer)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        if layer is self._layer:
            self._layer = self._drawn = None

    def _covers(self, like: Labels, box: Box) -> bool:
        """Return whether the layer lies where this could be outlined."""
        layer = self._layer
        return (
            layer is not None
            and layer.ndim == like.ndim
            and all(w.start <= b.start and b.stop <= w.stop for w, b in zip(self._window, box, strict=True))
            and np.array_equal(layer.scale, like.scale)
            and np.array_equal(layer.translate, corner_of(like, self._window))
        )

    def _place(self, like: Labels, box: Box) -> None:
        """Put the layer around a box."""
        self._window = _around(box, like.data.shape)
        shape, place = [s.stop - s.start for s in self._window], corner_of(like, self._window)
        layer = self._layer
        if layer is None:
            self._layer = self._make(like, np.zeros(shape, np.uint8), place)
            active = self._workbench.viewer.layers.selection.active
            self._workbench.shelf.add(self._layer)
            self._workbench.viewer.layers.selection.active = active
            return
        if list(layer.data.shape) != shape:
            layer.data = np.zeros(shape, np.uint8)
        if not np.array_equal(layer.scale, like.scale):
            layer.scale = like.scale
        layer.translate = place

    @staticmethod
    def _make(like: Labels, data: NDArray[np.uint8], place: NDArray[np.float64]) -> Labels:
        layer = Labels(data, name="highlight", opacity=1.0, **place_of(like) | {"translate": place})
        layer.colormap = DirectLabelColormap(color_dict={None: _COLOR, 0: "transparent"})
        layer.contour = 1
        layer.editable = False
        mark_as_ours(layer)
        return layer


def _around(box: Box, shape: Sequence[int]) -> Box:
    """Return what to cover such that a box is in it, and as much of the image as may be."""
    deep = [_extended(s, n, s.stop - s.start + 2 * _SLICES) for s, n in zip(box[:-2], shape, strict=False)]
    lead = [wide if s.stop - s.start > 1 else s for s, wide in zip(box[:-2], deep, strict=True)]
    room = max(1, _MOST // prod(s.stop - s.start for s in lead))
    height, width = (n + 2 * _MARGIN for n in shape[-2:])
    rows = min(height, _LONGEST, max(isqrt(room), room // width))
    columns = min(width, _LONGEST, room // rows)
    plane = (_extended(s, n, side, _MARGIN) for s, n, side in zip(box[-2:], shape[-2:], (rows, columns), strict=True))
    return (*lead, *plane)


def _extended(part: slice, length: int, side: int, beyond: int = 0) -> slice:
    """Return a part of an axis such that it is so long, where the axis is; never less than it was."""
    first = (part.start + part.stop - side) // 2
    start = max(-beyond, min(first, length + beyond - side))
    return slice(min(start, part.start), max(min(start + side, length + beyond), part.stop))

"""The outline of what the thresholds give: it follows a slider at once, long before there are objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.gui.layers import make_rim
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.session import Scope
from napari_unet.gui.worker import Job
from napari_unet.prediction import Divided, outline, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box
    from napari_unet.gui.kept_maps import KeptMaps
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import DecoderSpec

__all__ = ["Rim"]

_CANVAS = 1200
"""Pixels of the longer side of the outlines that follow a slider, at most."""


class Rim:
    """Outlines the objects of the view as the thresholds give them, in a layer of its own.

    Parameters
    ----------
    workbench : Workbench
    maps : callable
        Returns the maps of what is in view; None where there are none.
    decoder : callable
        Returns how objects are made of maps now.
    """

    def __init__(
        self,
        workbench: Workbench,
        maps: Callable[[], KeptMaps | None],
        decoder: Callable[[], DecoderSpec],
    ) -> None:
        self._workbench = workbench
        self._maps, self._decoder = maps, decoder
        self._layer: Labels | None = None
        self._small: tuple[Box, NDArray[np.float32], int] | None = None
        self._drawn: tuple[Box, NDArray[np.float32], int] | None = None
        self._divided: Divided | None = None
        self._dividing: Job | None = None
        self._wants_divided = False

    @property
    def is_busy(self) -> bool:
        """Whether objects are being looked for."""
        return self._dividing is not None

    def prepare(self) -> None:
        """Put the layer in, still empty: a slider is about to move, and that takes napari a while."""
        maps = self._maps()
        if self._layer is None and maps is not None and isinstance(maps.document, ObjectDocument):
            small, step = self._shrunk(maps)
            self._draw(maps, np.zeros(small.shape[1:], np.uint8), step)

    def show(self, *, divided: bool) -> None:
        """Outline the foreground, or the objects in it: at the first time they follow when they are there."""
        maps = self._maps()
        if maps is None or not isinstance(maps.document, ObjectDocument):
            return
        small, step = self._shrunk(maps)
        decoder = self._decoder()
        foreground = decoder.foreground_threshold
        known, self._wants_divided = self._divided, divided
        if divided and known is not None and known.threshold == foreground:
            rim = known.outlines(decoder.min_prominence, decoder.peak_threshold, filled=decoder.fill_holes).view(
                np.uint8
            )
        else:
            rim = outline(small[0], foreground).view(np.uint8)
            if divided:
                self._divide(small, foreground)
        self._draw(maps, rim, step)

    def hide(self) -> None:
        """Show no outline. The layer stays."""
        if self._layer is not None:
            self._layer.visible = False

    def renew(self) -> None:
        """Note that the maps are others now."""
        self._small = self._divided = None

    def take_down(self) -> None:
        """Take the layer out of the viewer."""
        layer, self._layer = self._layer, None
        if layer is not None:
            self._workbench.shelf.take_down(layer)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        if layer is self._layer:
            self._layer = None

    def close(self) -> None:
        """Stop following."""
        if self._dividing is not None:
            self._dividing.abandon()

    def _draw(self, maps: KeptMaps, rim: NDArray[np.uint8], step: int) -> None:
        """Show lines in the view. The layer stays: putting one in and out halts the window for longer than is seen."""
        assert self._small is not None
        layer = self._layer
        if layer is not None and self._drawn is self._small:
            layer.data[...] = rim.reshape(layer.data.shape)
            if layer.visible:
                layer.refresh(thumbnail=False, highlight=False, extent=False)
            layer.visible = True
            return
        self._drawn = self._small
        fresh = make_rim(maps.document.image, maps.document.axes, self._small[0], rim, step)
        if layer is None:
            self._layer = fresh
            self._workbench.shelf.add(fresh)
            self._workbench.viewer.layers.selection.active = maps.document.editable
        else:
            layer.data, layer.scale, layer.translate = fresh.data, fresh.scale, fresh.translate
            layer.visible = True

    def _divide(self, small: NDArray[np.float32], foreground: float) -> None:
        """Find the objects that prominence and peaks choose from, in the background, and outline them."""
        if self._dividing is not None:
            return  # when that ends, what is wanted then is shown

        def run(_: StopFlag) -> Generator[Any, None, Divided]:
            yield from ()
            return Divided(small[0], small[1], foreground)

        found: list[Divided] = []

        def on_end() -> None:
            self._dividing = None
            if found and self._small is not None and self._small[1] is small:
                self._divided = found[0]
            if self._layer is not None and self._layer.visible and self._wants_divided:
                self.show(divided=True)

        self._dividing = Job(
            "U-Net thresholds",
            run,
            on_result=found.append,
            on_error=lambda text: self._workbench.session.say(text, problem=True),
            on_end=on_end,
        )
        self._dividing.start()

    def _shrunk(self, maps: KeptMaps) -> tuple[NDArray[np.float32], int]:
        """Return foreground and nearness to the middle in the view, at the resolution of the canvas."""
        box = self._workbench.segmenting.box(Scope.VIEW)
        if self._small is None or self._small[0] != box:
            foreground, *inward = maps.planes(box)
            canvas = self._side_on_canvas(maps, box)
            (small, step), (middles, _) = shrink(foreground, canvas), shrink(np.minimum(*inward), canvas)
            self._small, self._divided = (box, np.stack([small, middles]), step), None
        return self._small[1:]

    def _side_on_canvas(self, maps: KeptMaps, box: Box) -> int:
        """Return the longer side of a box on the canvas, in pixels of the screen."""
        zoom: float = self._workbench.viewer.scene.camera.zoom
        sides = zip(box[-2:], maps.document.editable.scale[-2:], strict=True)
        longest = max((part.stop - part.start) * float(scale) for part, scale in sides)
        return max(1, min(_CANVAS, int(longest * zoom)))

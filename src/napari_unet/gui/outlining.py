"""How thick the outline of what is checked is: one pixel of the image breaks into dashes where it is small."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.resting import Resting, hands_rest

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["Outlining"]

_REST_MS = 300
_THICKEST = 32
"""Pixels of the image: zoomed out so far, an object is a dot."""


class Outlining:
    """Keeps the outlines at least a pixel of the screen thick.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._timer = Resting(_REST_MS, self._fit)
        self._camera = workbench.viewer.scene.camera
        self._camera.events.zoom.connect(self._timer.ask)
        for name in ("image", "segmented", "checked"):
            getattr(workbench.session.events, name).connect(self._timer.ask)

    def close(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        self._camera.events.zoom.disconnect(self._timer.ask)

    def _fit(self) -> None:
        if not hands_rest():
            self._timer.ask()
            return
        document = self._workbench.document
        if not isinstance(document, ObjectDocument):
            return
        for layer in document.outlines:
            on_screen = float(self._camera.zoom) * min(layer.scale[-2:])
            thickness = min(_THICKEST, ceil(1 / max(on_screen, 1e-6)))
            if layer.contour != thickness:
                layer.contour = thickness

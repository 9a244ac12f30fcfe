"""How large the objects are: measured by a drag across one, or taken from what is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_unet.annotation import Status
from napari_unet.gui.hints import OPEN_AN_IMAGE
from napari_unet.gui.layers import mark_as_ours
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.session import Scope
from napari_unet.training import checked_diameter

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Layer

    from napari_unet.gui.workbench import Workbench

__all__ = ["ENOUGH_OBJECTS", "Sizing"]

ENOUGH_OBJECTS = 5
"""So many checked objects tell the size."""

_LINE = "drag across one object"
_HOW = "Drag across one object in the image, from edge to edge. Escape ends it."
_LINE_WIDTH = 3.0
"""Pixels of the screen."""
_SHORTEST, _LONGEST = 2, 2000
"""Pixels that an object may be wide."""


class Sizing:
    """Sets the object size of the session.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._line: Shapes | None = None
        self._active_before: Layer | None = None

    def measure(self) -> None:
        """Let the user drag a line across an object; a second call ends that."""
        bench, image = self._workbench, self._workbench.image
        if self._line is not None:
            self.end()
            bench.say_next()
            return
        if image is None or not self._session.image:
            self._session.say(OPEN_AN_IMAGE, problem=True)
            return
        if bench.viewer.dims.ndisplay != 2:
            self._session.say("Switch to the 2-D display: lengths are measured in a plane.", problem=True)
            return
        bench.correcting.put_tool_away()
        scale = np.asarray(image.scale)[-2:]
        line = Shapes(
            ndim=2,
            name=_LINE,
            scale=scale,
            translate=np.asarray(image.translate)[-2:],
            units=tuple(image.units)[-2:],
            edge_color="#ffd60a",
            edge_width=_LINE_WIDTH / (bench.viewer.scene.camera.zoom * float(scale.mean())),
        )
        mark_as_ours(line)
        line.mouse_drag_callbacks.append(self._on_drag)
        line.bind_key("Escape", self._on_escape, overwrite=True)
        self._line, self._active_before = line, bench.viewer.layers.selection.active
        bench.viewer.add_layer(line)
        bench.viewer.layers.selection.active = line
        line.mode = "add_line"
        self._session.measuring = True
        self._session.say(_HOW)

    def end(self) -> None:
        """Take the line away. Harmless where there is none."""
        line, self._line = self._line, None
        if line is None:
            return
        self._session.measuring = False
        line.mode = "pan_zoom"
        layers = self._workbench.viewer.layers
        if line in layers:
            self._workbench.shelf.take_down(line)
        if self._active_before is not None and self._active_before in layers:
            layers.selection.active = self._active_before
        self._active_before = None

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        if layer is self._line:
            self.end()

    def take_from_checked(self) -> None:
        """Make the median diameter of the checked objects the object size."""
        bench, document = self._workbench, self._workbench.document
        if not isinstance(document, ObjectDocument) or bench.spec is None:
            return
        box = bench.segmenting.box(Scope.SLICE if document.is_large else Scope.IMAGE)
        checked = document.status[box] == Status.CHECKED
        count, diameter = checked_diameter(document.labels[box], checked, bench.spec.spatial_dims)
        if diameter is None or count < ENOUGH_OBJECTS:
            self._session.say(f"Check {ENOUGH_OBJECTS} objects first; {count} are.", problem=True)
            return
        self._set(diameter, f"of {count} checked objects")

    def _set(self, pixels: float, source: str) -> None:
        size = float(np.clip(round(pixels), _SHORTEST, _LONGEST))
        self._session.object_size = size
        spec = self._workbench.spec
        scale = spec.scale_for(size) if spec is not None else 1.0
        what = "close to what the model knows" if scale == 1 else f"the model sees the image at {scale:.2f} times"
        self._session.say(f"Object size {size:.0f} px, {source}: {what}. Press Segment.")

    def _on_drag(self, layer: Shapes, event: Any) -> Generator[None, None, None]:
        start = np.asarray(layer.world_to_data(event.position))
        yield
        while event.type == "mouse_move":
            yield
        pixels = float(np.linalg.norm(np.asarray(layer.world_to_data(event.position)) - start))
        if pixels < _SHORTEST:
            self._session.say(_HOW)
            return
        self.end()
        self._set(pixels, "as measured")

    def _on_escape(self, _: Shapes) -> None:
        self.end()
        self._workbench.say_next()

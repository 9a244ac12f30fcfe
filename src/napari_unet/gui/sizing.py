"""How large the objects are: measured by a drag across one, or taken from what is checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes

from napari_unet.gui.hints import OPEN_AN_IMAGE
from napari_unet.gui.layers import mark_as_ours
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.origin import file_of
from napari_unet.gui.session import Scope, SizeFrom
from napari_unet.images import label_axes
from napari_unet.prediction import diameter

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from napari.layers import Image, Layer

    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import ModelSpec

__all__ = ["ENOUGH_OBJECTS", "Sizing"]

ENOUGH_OBJECTS = 5
"""So many checked objects tell the size."""

_LINE = "drag across one object"
_HOW = "Drag across one object in the image, from edge to edge. Escape ends it."
_LINE_WIDTH = 3.0
"""Pixels of the screen."""
_SHORTEST, _LONGEST = 2, 2000
"""Pixels that an object may be wide."""
_MEASURED, _PLANES = 100, 5
"""Checked objects, and planes of each, that are looked at: a press of Train must not wait for more."""
_MUCH = 1.25
"""Factor between the objects and those that a model knows from which on a training rescales them."""


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
        self._place = ""

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

    def choose(self, pixels: float) -> None:
        """Take the size that the user gives; 0: the image stays as it is."""
        self._session.object_size, self._session.size_from = pixels, SizeFrom.USER

    def take_from_checked(self) -> None:
        """Make the median diameter of the checked objects the object size."""
        count, width = self._checked()
        if width is None:
            self._session.say(f"Check {ENOUGH_OBJECTS} objects first; {count} are.", problem=True)
            return
        self._set(width, f"of {count} checked objects")

    def settle(self) -> str:
        """Take the size of the checked objects for a training, unless the user gave one; return what to say of it.

        A network learns sooner from objects as large as those it knows.
        """
        session, spec = self._session, self._workbench.spec
        known = spec.object_diameter_px if spec is not None else None
        if session.size_from is SizeFrom.USER or known is None:
            return ""
        count, width = self._checked()
        if width is None:
            return ""
        size = _whole(width) if abs(np.log(width / known)) > np.log(_MUCH) else 0.0
        before = session.object_size
        session.object_size, session.size_from = size, SizeFrom.CHECKED
        return f"Object size {size:.0f} px, of {count} checked objects." if size and size != before else ""

    @property
    def is_open(self) -> bool:
        """Whether the size is still to be found."""
        return self._session.size_from is SizeFrom.NOWHERE

    def take_found(self, pixels: float | None) -> None:
        """Take what a model found out, unless there is a size by now; None: the image is best as it is."""
        if self.is_open:
            self._session.object_size, self._session.size_from = pixels or 0.0, SizeFrom.FOUND

    def tell_found(self, spec: ModelSpec) -> str:
        """Return what the user should know of a size that was found; empty where the image is as it is."""
        session = self._session
        scale = spec.scale_for(session.object_size or None)
        if session.size_from is not SizeFrom.FOUND or scale == 1:
            return ""
        return f"They are about {session.object_size:.0f} px wide, so {spec.name!r} saw the image at {scale:.2g} times."

    def follow(self, image: Image) -> None:
        """Let a size that was found or taken for another image go; the images of a folder share theirs."""
        place = self._place_of(file_of(image)) or str(id(image))
        if self._place not in {"", place}:
            self.forget_found()
        self._place = place

    def known_for(self, path: Path) -> float | None:
        """Return the size that objects in an image will be taken to have when it is opened; None: not known yet."""
        holds = self._session.size_from is SizeFrom.USER or self._place_of(str(path)) == self._place
        return self._workbench.object_size if holds else None

    def _place_of(self, path: str) -> str:
        """Return what an image shares its size with: its folder, where that is open, else only its own file."""
        return str(Path(path).parent) if path and self._workbench.projects.holds(Path(path)) else path

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Take up the size that an image was worked on with before, unless there is one by now."""
        if not self.is_open:
            return
        known = str(facts.get("size_from", SizeFrom.USER if facts.get("object_size") else SizeFrom.NOWHERE))
        if known in set(SizeFrom):
            self._session.object_size, self._session.size_from = float(facts.get("object_size", 0.0)), SizeFrom(known)

    def forget_found(self, *, checked: bool = True) -> None:
        """Let the size be found anew, unless the user gave it; `checked`: also one of checked objects."""
        if self._session.size_from is SizeFrom.FOUND or (checked and self._session.size_from is SizeFrom.CHECKED):
            self._session.object_size, self._session.size_from = 0.0, SizeFrom.NOWHERE

    @property
    def middle(self) -> dict[str, int]:
        """Middle of the view, per axis of the labels: around it the size is found."""
        box = self._workbench.segmenting.box(Scope.VIEW)
        letters = label_axes(self._session.axes)
        return {letter: (part.start + part.stop) // 2 for letter, part in zip(letters, box, strict=True)}

    def _checked(self) -> tuple[int, float | None]:
        """Return how many objects are checked, and their median diameter where they are enough."""
        bench, document = self._workbench, self._workbench.document
        if not isinstance(document, ObjectDocument) or bench.spec is None:
            return 0, None
        table = document.objects
        checked = [number for number in table if table.is_checked(number)]
        some = checked[:: -(-len(checked) // _MEASURED) or 1]
        widths = [width for number in some for width in _widths(document, number, bench.spec.spatial_dims)]
        return len(checked), float(np.median(widths)) if len(checked) >= ENOUGH_OBJECTS else None

    def _set(self, pixels: float, source: str) -> None:
        size = _whole(pixels)
        self.choose(size)
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


def _widths(document: ObjectDocument, number: int, spatial_dims: int) -> list[float]:
    """Return the diameters of an object in the frames that a model sees: in some of its planes, or as a volume."""
    box = document.objects.box(number)
    assert box is not None
    inside = document.labels[box] == number
    frames = [one for one in inside.reshape(-1, *inside.shape[-spatial_dims:]) if one.any()]
    return [diameter(one) for one in frames[:: -(-len(frames) // _PLANES) or 1]]


def _whole(pixels: float) -> float:
    """Return a size as the panel shows it."""
    return float(np.clip(round(pixels), _SHORTEST, _LONGEST))

"""Thresholds that follow a slider: outlines at once, objects when it rests; the network does not run again."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.gui.layers import make_map, make_rim
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.resting import TIDY_MS, Resting, hands_rest
from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.worker import Job
from napari_unet.models import DecoderSpec
from napari_unet.prediction import DECODING, Divided, outline, relabel, shrink

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag

    from napari.layers import Image, Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box
    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model
    from napari_unet.prediction import Prediction

__all__ = ["Tuning"]

_REST_MS = 250
_MOST_VOXELS = 2**24
"""Maps of more (4096 x 4096) are not kept."""
_CANVAS = 1200
"""Pixels of the longer side of the outlines that follow a slider, at most."""


@dataclass(frozen=True, eq=False)
class _Maps:
    document: Document
    model: Model
    box: Box
    object_size: float | None
    axes: str
    scale: float
    values: NDArray[np.float32]
    """As they were predicted."""

    def covers(self, box: Box) -> bool:
        return all(s.start <= b.start and b.stop <= s.stop for s, b in zip(self.box, box, strict=True))

    def planes(self, box: Box) -> NDArray[np.float32]:
        """Return the maps (``CYX``) of a rectangle within the plane."""
        plane = self.values.reshape(-1, *self.values.shape[-2:])
        rows, columns = (
            slice(b.start - s.start, b.stop - s.start) for b, s in zip(box[-2:], self.box[-2:], strict=True)
        )
        part: NDArray[np.float32] = plane[:, rows, columns]
        return part


class Tuning:
    """Sets the thresholds of the session and shows at once what they do.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._maps: _Maps | None = None
        self._small: tuple[Box, NDArray[np.float32], int] | None = None
        self._divided: Divided | None = None
        self._dividing: Job | None = None
        self._wants_divided = False
        self._rim: Labels | None = None
        self._drawn: tuple[Box, NDArray[np.float32], int] | None = None
        self._map_layers: list[Image] = []
        self._job: Job | None = None
        self._timer = Resting(_REST_MS, self._follow)
        self._tidying = Resting(TIDY_MS, self._tidy)

    # --- what the user does ----------------------------------------------------------------------------------

    def thresholds(self) -> tuple[float, float, float]:
        """Return the thresholds that count now: foreground, prominence, peaks."""
        spec = self._workbench.spec
        decoder = self._workbench.choosing.predict_config().decoder(DecoderSpec() if spec is None else spec.decoder)
        return decoder.foreground_threshold, decoder.min_prominence, decoder.peak_threshold

    def move(
        self, *, foreground: float | None = None, prominence: float | None = None, peaks: float | None = None
    ) -> None:
        """Set a threshold; the outline follows at once, the objects of the view when it rests."""
        if foreground is not None:
            self._session.foreground_threshold = foreground
        if prominence is not None:
            self._session.min_prominence = prominence
        if peaks is not None:
            self._session.peak_threshold = peaks
        if self._usable_maps() is not None:
            self._show_rim(divided=foreground is None)
        self._timer.ask()
        self._tidying.ask()

    def prepare(self) -> None:
        """Put the layer of the outline in, still empty: a slider is about to move, and that takes napari a while."""
        maps = self._usable_maps()
        self._tidying.ask()
        if self._rim is None and maps is not None and isinstance(maps.document, ObjectDocument):
            small, step = self._shrunk(maps)
            self._draw_rim(maps, np.zeros(small.shape[1:], np.uint8), step)

    def smallest(self) -> int:
        """Return the fewest voxels of an object that count now."""
        spec = self._workbench.spec
        return 0 if spec is None else self._workbench.choosing.predict_config().decoder(spec.decoder).min_size

    def leave_out(self, voxels: int) -> None:
        """Leave out smaller objects; those of the view follow when it rests."""
        self._session.min_size = voxels
        self._timer.ask()

    @property
    def is_own(self) -> bool:
        """Whether all that is set here is the model's own."""
        return all(getattr(self._session, name) is None for name in DECODING)

    def reset(self) -> None:
        """Go back to the thresholds of the model."""
        if not self.is_own:
            self._forget_choices()
            self._timer.ask()

    def toggle_maps(self) -> None:
        """Show the maps of the view as layers, or take them away."""
        if self._session.has_maps:
            self._take_maps_down()
        else:
            self._with_maps(self._show_maps)

    # --- maps ------------------------------------------------------------------------------------------------

    def wants_maps(self, box: Box) -> bool:
        """Return whether the maps of a prediction should be kept: those of one plane that is not huge."""
        sides = [part.stop - part.start for part in box]
        return bool(prod(sides[:-2]) == 1 and prod(sides) <= _MOST_VOXELS)

    @property
    def follows_at_once(self) -> bool:
        """Whether the maps of what is in view are there, so that the network need not run."""
        return self._usable_maps() is not None

    def keep(self, result: Prediction, document: Document, model: Model, box: Box) -> None:
        """Keep the maps of a prediction for the sliders."""
        if result.maps is None:
            return
        size, axes, scale = self._workbench.object_size, document.pixels[1], result.provenance["scale"]
        self._take_maps_down()
        self._maps = _Maps(document, model, box, size, axes, scale, result.maps)
        self._small = self._divided = None

    def forget_maps(self) -> None:
        """Let go of the maps: something else is looked at."""
        self._timer.stop()
        self._maps = self._small = self._divided = None
        self._take_rim_down()
        self._take_maps_down()

    def forget(self) -> None:
        """Go back to the thresholds of whatever model comes now."""
        self.forget_maps()
        self._forget_choices()

    def _forget_choices(self) -> None:
        for name in DECODING:
            setattr(self._session, name, None)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        if layer is self._rim:
            self._rim = None
        self._map_layers = [one for one in self._map_layers if one is not layer]
        self._session.has_maps = bool(self._map_layers)
        if self._maps is not None and layer in (self._maps.document.editable, self._maps.document.image):
            self.forget_maps()

    def close(self) -> None:
        """Stop following."""
        self._timer.stop()
        self._tidying.stop()
        for job in (self._job, self._dividing):
            if job is not None:
                job.abandon()

    def _usable_maps(self) -> _Maps | None:
        """Return the maps, if they are those of the model and the view."""
        bench, maps = self._workbench, self._maps
        if maps is None or bench.document is not maps.document or bench.model is not maps.model:
            return None
        fits = maps.object_size == bench.object_size and maps.covers(bench.segmenting.box(Scope.VIEW))
        return maps if fits else None

    def _with_maps(self, then: Callable[[], None]) -> None:
        """Do something with the maps of the view; where there are none, the network runs first, once."""
        if self._usable_maps() is not None:
            then()
        else:
            self._workbench.segmenting.segment(Scope.VIEW, then=then)

    # --- outline ---------------------------------------------------------------------------------------------

    def _show_rim(self, *, divided: bool) -> None:
        """Outline the foreground, or the objects in it: at the first time they follow when they are there."""
        maps = self._usable_maps()
        if maps is None or not isinstance(maps.document, ObjectDocument):
            return
        small, step = self._shrunk(maps)
        foreground, prominence, peak = self.thresholds()
        known, self._wants_divided = self._divided, divided
        if divided and known is not None and known.threshold == foreground:
            rim = known.outlines(prominence, peak).view(np.uint8)
        else:
            rim = outline(small[0], foreground).view(np.uint8)
            if divided:
                self._divide(small, foreground)
        self._draw_rim(maps, rim, step)

    def _draw_rim(self, maps: _Maps, rim: NDArray[np.uint8], step: int) -> None:
        """Show lines in the view. The layer stays: putting one in and out halts the window for longer than is seen."""
        assert self._small is not None
        layer = self._rim
        if layer is not None and self._drawn is self._small:
            layer.data[...] = rim.reshape(layer.data.shape)
            if layer.visible:
                layer.refresh(thumbnail=False, highlight=False, extent=False)
            layer.visible = True
            return
        self._drawn = self._small
        fresh = make_rim(maps.document.image, maps.document.axes, self._small[0], rim, step)
        if layer is None:
            self._rim = fresh
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
            if self._rim is not None and self._rim.visible and self._wants_divided:
                self._show_rim(divided=True)

        self._dividing = Job(
            "U-Net thresholds",
            run,
            on_result=found.append,
            on_error=lambda text: self._session.say(text, problem=True),
            on_end=on_end,
        )
        self._dividing.start()

    def _shrunk(self, maps: _Maps) -> tuple[NDArray[np.float32], int]:
        """Return foreground and nearness to the middle in the view, at the resolution of the canvas."""
        box = self._workbench.segmenting.box(Scope.VIEW)
        if self._small is None or self._small[0] != box:
            foreground, *inward = maps.planes(box)
            canvas = self._side_on_canvas(maps, box)
            (small, step), (middles, _) = shrink(foreground, canvas), shrink(np.minimum(*inward), canvas)
            self._small, self._divided = (box, np.stack([small, middles]), step), None
        return self._small[1:]

    def _side_on_canvas(self, maps: _Maps, box: Box) -> int:
        """Return the longer side of a box on the canvas, in pixels of the screen."""
        zoom: float = self._workbench.viewer.scene.camera.zoom
        sides = zip(box[-2:], maps.document.editable.scale[-2:], strict=True)
        longest = max((part.stop - part.start) * float(scale) for part, scale in sides)
        return max(1, min(_CANVAS, int(longest * zoom)))

    def _tidy(self) -> None:
        """Take the outline out when nobody has touched a slider for long."""
        if self._timer.is_waiting or self._job is not None or self._dividing is not None or not hands_rest():
            self._tidying.ask()
        else:
            self._take_rim_down()

    def _take_rim_down(self) -> None:
        rim, self._rim = self._rim, None
        if rim is not None:
            self._workbench.shelf.take_down(rim)

    # --- objects ---------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Make the objects of the view anew, in the background."""
        bench = self._workbench
        if bench.document is None or bench.model is None or bench.model.spec.task != "instances":
            return
        if self._session.prediction is not JobState.IDLE or self._job is not None:
            self._timer.ask()
            return
        maps = self._usable_maps()
        if maps is None:
            bench.segmenting.segment(Scope.VIEW)
            return
        config = bench.choosing.predict_config()

        def run(_: StopFlag) -> Generator[Any, None, NDArray[np.int32]]:
            yield from ()
            return relabel(maps.values, maps.model.spec, config, axes=maps.axes, scale=maps.scale)

        def take_over(labels: NDArray[np.int32]) -> None:
            if maps.document in bench.documents and not self._timer.is_waiting:
                maps.document.fill(labels, maps.box)
                if self._rim is not None:
                    self._rim.visible = False
                bench.segmenting.tell_result(maps.document, maps.model.spec, labels)

        self._job = Job(
            "U-Net thresholds",
            run,
            on_result=take_over,
            on_error=lambda text: self._session.say(text, problem=True),
            on_end=self._on_end,
        )
        self._job.start()

    def _on_end(self) -> None:
        self._job = None

    # --- maps as layers --------------------------------------------------------------------------------------

    def _show_maps(self) -> None:
        maps, bench = self._maps, self._workbench
        if maps is None or maps.document.editable not in bench.viewer.layers:
            return
        document = maps.document
        active = bench.viewer.layers.selection.active
        for number, (spec, values) in enumerate(zip(maps.model.spec.maps, maps.planes(maps.box), strict=True)):
            layer = make_map(document.image, document.axes, maps.box, values, f"{document.image.name} {spec.name}")
            layer.visible = number == 0
            self._map_layers.append(layer)
            bench.viewer.layers.insert(bench.viewer.layers.index(document.layers[0]), layer)
        bench.viewer.layers.selection.active = active
        self._session.has_maps = True
        self._session.say("The maps lie below the labels: what the network says before the thresholds.")

    def _take_maps_down(self) -> None:
        layers, self._map_layers = self._map_layers, []
        self._session.has_maps = False
        for layer in layers:
            self._workbench.shelf.take_down(layer)

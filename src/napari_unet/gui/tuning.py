"""Thresholds that follow a slider: outlines at once, objects when it rests; the network does not run again."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from napari_unet.gui.kept_maps import KeptMaps, MapLayers
from napari_unet.gui.resting import TIDY_MS, Resting, hands_rest
from napari_unet.gui.rim import Rim
from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.worker import Job
from napari_unet.models import DecoderSpec
from napari_unet.prediction import DECODING, relabel

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event as StopFlag

    import numpy as np
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


class Tuning:
    """Sets the thresholds of the session and shows at once what they do.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._maps: KeptMaps | None = None
        self._map_layers = MapLayers(workbench)
        self._rim = Rim(workbench, self._usable_maps, self.decoder)
        self._job: Job | None = None
        self._timer = Resting(_REST_MS, self._follow)
        self._tidying = Resting(TIDY_MS, self._tidy)

    # --- what the user does ----------------------------------------------------------------------------------

    def decoder(self) -> DecoderSpec:
        """Return how objects are made of maps now: as the model says, but for what is set here."""
        spec = self._workbench.spec
        return self._workbench.choosing.predict_config().decoder(DecoderSpec() if spec is None else spec.decoder)

    def thresholds(self) -> tuple[float, float, float]:
        """Return the thresholds that count now: foreground, prominence, peaks."""
        decoder = self.decoder()
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
        self._rim.show(divided=foreground is None)
        self._timer.ask()
        self._tidying.ask()

    def prepare(self) -> None:
        """Put the layer of the outline in, still empty: a slider is about to move, and that takes napari a while."""
        self._tidying.ask()
        self._rim.prepare()

    def smallest(self) -> int:
        """Return the fewest voxels of an object that count now."""
        return 0 if self._workbench.spec is None else self.decoder().min_size

    def leave_out(self, voxels: int) -> None:
        """Leave out smaller objects; those of the view follow when it rests."""
        self._session.min_size = voxels
        self._timer.ask()

    def fill_holes(self, fill: bool) -> None:
        """Fill the holes of objects, or leave them; those of the view follow when it rests."""
        self._session.fill_holes = fill
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
            self._map_layers.take_down()
        elif self._usable_maps() is not None:
            self._show_maps()
        else:  # the network runs first, once
            self._workbench.segmenting.segment(Scope.VIEW, then=self._show_maps)

    def _show_maps(self) -> None:
        if self._maps is not None:
            self._map_layers.show(self._maps)

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
        self._map_layers.take_down()
        self._maps = KeptMaps(document, model, box, size, axes, scale, result.maps)
        self._rim.renew()

    def forget_maps(self) -> None:
        """Let go of the maps: something else is looked at."""
        self._timer.stop()
        self._maps = None
        self._rim.renew()
        self._rim.take_down()
        self._map_layers.take_down()

    def forget(self) -> None:
        """Go back to the thresholds of whatever model comes now."""
        self.forget_maps()
        self._forget_choices()

    def _forget_choices(self) -> None:
        for name in DECODING:
            setattr(self._session, name, None)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        self._rim.forget_layer(layer)
        self._map_layers.forget_layer(layer)
        if self._maps is not None and layer in (self._maps.document.editable, self._maps.document.image):
            self.forget_maps()

    def close(self) -> None:
        """Stop following."""
        self._timer.stop()
        self._tidying.stop()
        self._rim.close()
        if self._job is not None:
            self._job.abandon()

    def _usable_maps(self) -> KeptMaps | None:
        """Return the maps, if they are those of the model and the view."""
        bench, maps = self._workbench, self._maps
        if maps is None or bench.document is not maps.document or bench.model is not maps.model:
            return None
        fits = maps.object_size == bench.object_size and maps.covers(bench.segmenting.box(Scope.VIEW))
        return maps if fits else None

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
                maps.document.fill(labels, maps.box, linked=maps.model.spec.linked_axes)
                self._rim.hide()
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

    def _tidy(self) -> None:
        """Take the outline out when nobody has touched a slider for long."""
        if self._timer.is_waiting or self._job is not None or self._rim.is_busy or not hands_rest():
            self._tidying.ask()
        else:
            self._rim.take_down()

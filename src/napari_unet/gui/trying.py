"""What every model of the library finds in the view, side by side, for the user to choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import UNetError
from napari_unet.gui.hints import OPEN_AN_IMAGE, how_many
from napari_unet.gui.layers import make_outlines
from napari_unet.gui.session import JobState, Scope, Trial
from napari_unet.images import label_axes, measure_normalization, to_canonical
from napari_unet.models import list_models, load_model
from napari_unet.prediction import check_view, iter_find_object_size, iter_predict

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event as StopFlag

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.gui.workbench import Workbench

__all__ = ["Trying"]

_COLORS = ("#ffd60a", "#ff375f", "#64d2ff", "#30d158", "#bf5af2", "#ff9f0a")


@dataclass(frozen=True)
class _Found:
    model: str
    labels: NDArray[np.int32] | None
    words: str


class Trying:
    """Runs the models of the library on the view and shows their outlines until one is chosen.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._layers: dict[str, Labels] = {}

    def start(self) -> None:
        """Find out what each model makes of the view; a second call takes the outlines away."""
        bench, session, image = self._workbench, self._session, self._workbench.image
        if session.trials:
            self.end()
            bench.say_next()
            return
        if image is None or not session.image:
            session.say(OPEN_AN_IMAGE, problem=True)
            return
        if bench.problem is not None:
            session.say(bench.problem, problem=True)
            return
        if session.prediction is not JobState.IDLE:
            session.say("Already segmenting. Cancel it first.")
            return
        bench.sizing.end()
        axes, box = session.axes, bench.segmenting.box(Scope.VIEW)
        try:
            check_view([part.stop - part.start for part in box])
        except UNetError as error:
            session.say(str(error), problem=True)
            return
        region = dict(zip(label_axes(axes), box, strict=True))
        config = bench.choosing.predict_config().for_another_model()
        around = bench.sizing.middle if bench.sizing.is_open else None

        def run(stop: StopFlag) -> Generator[Any, None, list[_Found]]:
            found = []
            for name in list_models():
                try:
                    model = load_model(name)
                    seen, seen_axes = bench.inputs.pixels(model.spec) or (image.data, axes)
                    normalization = measure_normalization(to_canonical(seen, seen_axes), model.spec.percentiles)
                    known: Any = {"axes": seen_axes, "normalization": normalization, "stop": stop}
                    own = config
                    if around is not None:
                        size = yield from iter_find_object_size(seen, model, at=around, config=config, **known)
                        own = config.model_copy(update={"object_diameter_px": size})
                    result = yield from iter_predict(seen, model, region=region, config=own, **known)
                except UNetError as error:
                    if stop.is_set():
                        raise
                    found.append(_Found(name, None, str(error)))
                    continue
                count = int(np.count_nonzero(np.unique(result.labels)))
                words = how_many(count, classes=model.spec.task == "semantic")
                found.append(_Found(name, result.labels, words))
            return found

        def show(found: list[_Found]) -> None:
            if bench.image is not image or session.axes != axes:
                return
            self._show(found, image, axes, box)

        bench.jobs.start("prediction", run, on_result=show, message="Trying the models on this view...")

    def choose(self, name: str) -> None:
        """Use one of the models that were tried."""
        self.end()
        self._workbench.choosing.choose(name)

    def end(self) -> None:
        """Take the outlines away. Harmless where there are none."""
        layers, self._layers = self._layers, {}
        for layer in layers.values():
            if layer in self._workbench.viewer.layers:
                self._workbench.shelf.take_down(layer)
        self._session.trials = ()

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        self._layers = {name: one for name, one in self._layers.items() if one is not layer}

    def _show(self, found: list[_Found], image: Any, axes: str, box: Any) -> None:
        bench = self._workbench
        active = bench.viewer.layers.selection.active
        trials = []
        for number, one in enumerate(found):
            color = _COLORS[number % len(_COLORS)]
            trials.append(Trial(one.model, color, one.words))
            if one.labels is not None:
                self._layers[one.model] = make_outlines(image, axes, box, one.labels, f"try {one.model}", color)
                bench.shelf.add(self._layers[one.model])
        bench.viewer.layers.selection.active = active
        self._session.trials = tuple(trials)
        self._session.say("The outlines show what each model finds here. Click the one to use.")

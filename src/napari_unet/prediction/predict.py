"""Image and model to maps and labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet._version import __version__
from napari_unet.errors import ImageError
from napari_unet.events import Event, Notice, TileDone
from napari_unet.generators import drained
from napari_unet.images import from_canonical, measure_normalization
from napari_unet.network import alignment
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.labelling import Labeller
from napari_unet.prediction.maps import FrameMaps
from napari_unet.prediction.planning import Layout
from napari_unet.prediction.runner import TileRunner
from napari_unet.prediction.view import (
    View,
    frame_of,
    frames_of,
    known_axes,
    region_box,
    select_channels,
    spatial,
    viewed,
)
from napari_unet.prediction.workspace import Workspace, fingerprint, finished

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.images import Normalization
    from napari_unet.models import Model, ModelSpec
    from napari_unet.prediction.maps import MapStore

__all__ = ["Prediction", "activate", "iter_predict", "predict"]

_BLENDED = (
    "An exact halo would take more than one and a half times as long for this volume: tiles see a little less and are "
    "blended, which is nearly the same. Set the halo to 'exact' to have it so all the same."
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels that a model made of an image.

    Attributes
    ----------
    labels : ndarray of int32, or zarr array
        In the axes of the image without C and S; of the region where one was asked for.
    maps : ndarray of float32 or None
        ``(T)C(Z)YX``: the network's output after its activations. None unless asked for.
    provenance : dict
        Model, thresholds, precision, tile and version that made it.
    """

    labels: Any
    maps: NDArray[np.float32] | None
    provenance: dict[str, Any] = field(default_factory=dict)


def predict(
    image: Any,
    model: Model,
    *,
    axes: str | None = None,
    config: PredictConfig | None = None,
    region: Mapping[str, slice] | None = None,
    normalization: Normalization | None = None,
    return_maps: bool = False,
    out: str | Path | Any = None,
    stop: StopFlag | None = None,
) -> Prediction:
    """Segment an image.

    Parameters
    ----------
    image : array
        NumPy, dask, zarr or alike, any integer or float type. Only blocks of it are read.
    model : Model
    axes : str, optional
        Axes of the image, letters of ``TCZYXS``. A bare 2-D array is YX; one with more axes needs them.
    config : PredictConfig, optional
    region : mapping of axis letter to slice, optional
        Predict this part only, axes of ``TZYX``. It gets what the whole image would get there, objects that
        its edge cuts aside.
    normalization : Normalization, optional
        Of the whole image, where it is known already. None: measured.
    return_maps : bool
        Keep the network's maps in the result, in memory.
    out : path, zarr array or InMemory, optional
        Write the labels there, block by block, so that neither image nor labels have to fit into memory. A path
        becomes a zarr array of int32 when it is finished; ended before that, the next call with the same image,
        model and settings goes on where it was. So it does with an `InMemory`. None: labels in memory.
    stop : threading.Event, optional
        Set it from elsewhere to end early.

    Returns
    -------
    Prediction

    Raises
    ------
    ImageError
        If the image does not fit the model.
    PredictionError
        If it was stopped, or there is too little memory.

    Examples
    --------
    >>> result = predict(image, load_model("nuclei"), axes="YX")  # doctest: +SKIP
    >>> result.labels.max()  # doctest: +SKIP
    125
    """
    steps = iter_predict(
        image, model, axes=axes, config=config, region=region, normalization=normalization,
        return_maps=return_maps, out=out, stop=stop,
    )  # fmt: skip
    return drained(steps)


def iter_predict(
    image: Any,
    model: Model,
    *,
    axes: str | None = None,
    config: PredictConfig | None = None,
    region: Mapping[str, slice] | None = None,
    normalization: Normalization | None = None,
    return_maps: bool = False,
    out: str | Path | Any = None,
    reuse: bool = False,
    stop: StopFlag | None = None,
) -> Generator[Event, None, Prediction]:
    """Segment an image step by step: as `predict`, yielding a `TileDone` after each batch of tiles.

    Models of planes go through T and Z one plane at a time, with ids that never repeat; models of volumes
    through T. With `reuse`, labels are handed over as they are that an earlier call with the same image, model and
    settings has finished under the path `out`; there are no maps then.
    """
    config = config or PredictConfig()
    spec = model.spec
    axes = known_axes(image, axes)
    canonical = select_channels(viewed(image, axes), spec, config.channels, are_colours="S" in axes)
    normalization = _fitting(normalization or measure_normalization(canonical, spec.percentiles), spec)
    box = region_box(canonical, region)
    view = View(spatial(box, spec), canonical.shape[2:], spec.scale_for(config.object_diameter_px))
    shape = tuple(part.stop - part.start for letter, part in box.items() if letter != "C")
    settings = (spec.model_dump_json(), config.model_dump_json(), box, normalization, __version__)
    key = "" if out is None else fingerprint(canonical, model.network, *settings)
    if reuse and (known := finished(out, key)) is not None:
        return Prediction(known[0], None, known[1])
    work = Workspace(out, axes, shape, spec.spatial_dims, key)
    try:
        runner = _runner(model, config, view, work)
        labeller = Labeller(spec, config, view.scale, work.frame, work.block, shape, stop)
        frames = _Frames(canonical, view, normalization, labeller, work, runner)
        if config.halo == "auto" and not runner.layout.is_exact:
            yield Notice(_BLENDED)
        yield from frames.run(spec, box, stop, keep=return_maps)
        maps = frames.maps
        provenance = {
            "model": spec.name,
            "scale": view.scale,
            "normalization": {"low": list(normalization.low), "high": list(normalization.high)},
            **runner.provenance,
            **labeller.provenance,
            "software": f"napari-unet {__version__}",
        }
        labels = work.finish(provenance)
    finally:
        work.close()
    return Prediction(
        labels=from_canonical(labels, axes) if isinstance(labels, np.ndarray) else labels,
        maps=None if maps is None else from_canonical(maps, axes),
        provenance=provenance,
    )


def activate(logits: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Apply the activations that the spec names to logits (``C(Z)YX``, or with a batch in front)."""
    if spec.maps[0].activation == "softmax":
        return torch.softmax(logits, dim=logits.ndim - spec.spatial_dims - 1)
    return torch.sigmoid(logits)


def _fitting(normalization: Normalization, spec: ModelSpec) -> Normalization:
    if len(normalization.low) != spec.in_channels:
        raise ImageError(
            f"The normalization has {len(normalization.low)} channels, the model {spec.name!r} takes "
            f"{spec.in_channels}. Measure it on the channels that feed the model, or leave it out."
        )
    return normalization


def _runner(model: Model, config: PredictConfig, view: View, work: Workspace) -> TileRunner:
    """Return the runner of a prediction; one that is taken up again has the tiles that it had."""
    state, layout = work.state, None
    if state.core:
        config = config.model_copy(update={"batch": state.tiles})
        layout = Layout(
            state.core, state.margin, state.overlap, state.exact, alignment(model.network), tuple(view.extent)
        )
    finish = partial(activate, spec=model.spec)
    runner = TileRunner(model.network, config, view.region, extent=view.extent, finish=finish, layout=layout)
    plan = runner.layout
    work.save(core=plan.core, margin=plan.margin, overlap=plan.overlap, exact=plan.is_exact, tiles=runner.batch)
    return runner


class _Frames:
    """Goes through the frames: the network, then the labels, then the next frame."""

    def __init__(
        self,
        image: Any,
        view: View,
        normalization: Normalization,
        labeller: Labeller,
        work: Workspace,
        runner: TileRunner,
    ) -> None:
        self._image, self._view, self._normalization = image, view, normalization
        self._labeller, self._work, self._runner = labeller, work, runner
        self.maps: NDArray[np.float32] | None = None

    def run(
        self, spec: ModelSpec, box: Mapping[str, slice], stop: StopFlag | None, *, keep: bool
    ) -> Generator[Event, None, None]:
        work, runner, state = self._work, self._runner, self._work.state
        frames = frames_of(box, spec)
        if keep:
            self.maps = work.all_maps(len(spec.maps))
        self._labeller.start_at(state.highest, state.in_windows)
        store = work.maps(len(spec.maps), runner, keep=keep)
        if not work.keeps(store):
            work.save(batch=0)
        progress = _Progress(len(frames) * runner.batches, state.frame * runner.batches + state.batch)
        started, first, done = time.perf_counter(), state.frame, state.frame + state.batch / runner.batches
        for number, (source, target) in enumerate(frames[first:], start=first):
            yield from self._fill(store, source, stop, progress)
            if self.maps is not None:
                place: tuple[Any, ...] = (target[0], slice(None), *target[1:])
                self.maps[place] = self._view.restore(store.array)
            labeller = self._labeller
            if labeller.label(FrameMaps(store, self._view), target):
                work.save(frame=number + 1, batch=0, highest=labeller.highest, in_windows=labeller.in_windows)
        runner.remember_speed(len(frames) - done, time.perf_counter() - started)

    def _fill(
        self, store: MapStore, source: tuple[int, int | None], stop: StopFlag | None, progress: _Progress
    ) -> Generator[Event, None, None]:
        """Let the network fill the maps of one frame."""
        pixels, prepare = self._view.source(frame_of(self._image, *source), self._normalization)
        skip = self._work.state.batch
        steps = self._runner.run(pixels, lambda where, maps: store.write(where, maps.numpy()), stop,
                                 prepare=prepare, skip=skip,
                                 folder=None if store.folder is None else store.folder.parent)  # fmt: skip
        for number, notice in enumerate(steps, start=skip + 1):
            if self._work.keeps(store) and not self._labeller.notes_whole_frames:
                self._work.save(batch=number)
            yield progress.advance()
            if notice is not None:
                yield notice


class _Progress:
    def __init__(self, total: int, done: int) -> None:
        self._total, self._before, self._done, self._start = total, done, done, time.monotonic()

    def advance(self) -> TileDone:
        self._done += 1
        elapsed = time.monotonic() - self._start
        each = elapsed / (self._done - self._before)
        return TileDone(self._done, self._total, each * (self._total - self._done))

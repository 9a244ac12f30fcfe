"""Image and model to maps and labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet._version import __version__
from napari_unet.events import Event, TileDone
from napari_unet.images import from_canonical, measure_normalization
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.instances import decode_blocks
from napari_unet.prediction.linking import link_arrays
from napari_unet.prediction.maps import FrameMaps
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
from napari_unet.prediction.workspace import Workspace, fingerprint

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.images import Normalization
    from napari_unet.models import Model, ModelSpec
    from napari_unet.prediction.maps import MapStore

__all__ = ["Prediction", "activate", "iter_predict", "predict"]


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
    out : path or zarr array, optional
        Write the labels there, block by block, so that neither image nor labels have to fit into memory. A path
        becomes a zarr array of int32 when it is finished; ended before that, the next call with the same image,
        model and settings goes on where it was. None: labels in memory.
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
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Prediction = done.value
            return result


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
    stop: StopFlag | None = None,
) -> Generator[Event, None, Prediction]:
    """Segment an image step by step: as `predict`, yielding a `TileDone` after each batch of tiles.

    Models of planes go through T and Z one plane at a time, with ids that never repeat; models of volumes
    through T.
    """
    config = config or PredictConfig()
    spec = model.spec
    axes = known_axes(image, axes)
    canonical = select_channels(viewed(image, axes), spec, config.channels)
    normalization = normalization or measure_normalization(canonical, spec.percentiles)
    box = region_box(canonical, region)
    view = View(spatial(box, spec), canonical.shape[-2:], spec.scale_for(config.object_diameter_px))
    shape = tuple(part.stop - part.start for letter, part in box.items() if letter != "C")
    settings = (spec.model_dump_json(), config.model_dump_json(), box, normalization, __version__)
    key = "" if out is None else fingerprint(canonical, model.network, *settings)
    work = Workspace(out, axes, shape, spec.spatial_dims, key)
    try:
        runner = _runner(model, config, view, work)
        frames = _Frames(canonical, view, normalization, config, spec, work, runner)
        yield from frames.run(frames_of(box, spec), stop, keep=return_maps)
        maps = frames.maps
        labels = work.finish()
    finally:
        work.close()
    provenance = {
        "model": spec.name,
        "decoder": frames.decoder.model_dump(),
        "device": runner.device.type,
        "precision": runner.precision,
        "tile": list(runner.size),
        "scale": view.scale,
        "seam_exact": True,
        "linked": frames.linked,
        "components_in_windows": work.state.in_windows,
        "normalization": {"low": list(normalization.low), "high": list(normalization.high)},
        "software": f"napari-unet {__version__}",
    }
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


def _runner(model: Model, config: PredictConfig, view: View, work: Workspace) -> TileRunner:
    """Return the runner of a prediction; one that is taken up again has the tiles that it had."""
    state = work.state
    if state.core:
        config = config.model_copy(update={"batch": state.tiles})
    finish = partial(activate, spec=model.spec)
    runner = TileRunner(model.network, config, view.region, finish=finish, core=state.core or None)
    work.save(core=runner.tiles[0].core, tiles=runner.batch)
    return runner


class _Frames:
    """Goes through the frames: the network, then the labels, then the next frame."""

    def __init__(
        self,
        image: Any,
        view: View,
        normalization: Normalization,
        config: PredictConfig,
        spec: ModelSpec,
        work: Workspace,
        runner: TileRunner,
    ) -> None:
        self._image, self._view, self._normalization = image, view, normalization
        self._config, self._spec, self._work, self._runner = config, spec, work, runner
        self.decoder = view.at_full_resolution(config.decoder(spec.decoder))
        self._finds_objects = spec.task == "instances"
        # the slices of a frame get their last ids when it is linked to the one before: half of it is worth nothing
        self._notes_whole_frames = config.link_t and spec.spatial_dims == 2 and work.shape[1] > 1
        self._highest_before = work.state.highest
        self.maps: NDArray[np.float32] | None = None

    def run(
        self, frames: list[tuple[tuple[int, int | None], tuple[int, ...]]], stop: StopFlag | None, *, keep: bool
    ) -> Generator[Event, None, None]:
        work, runner = self._work, self._runner
        shape = work.shape
        if keep:
            self.maps = np.zeros((shape[0], len(self._spec.maps), *shape[1:]), np.float32)
        progress = _Progress(len(frames) * runner.batches, 0 if keep else self._done())
        store = work.maps(len(self._spec.maps), runner, keep=keep)
        first = 0 if keep else work.state.frame
        for number, (source, target) in enumerate(frames[first:], start=first):
            yield from self._fill(store, source, stop, progress, resumable=not keep)
            if self.maps is not None:
                place: tuple[Any, ...] = (target[0], slice(None), *target[1:])
                self.maps[place] = self._view.restore(store.array)
            self._label(store, target)
            is_last = target[-1] == work.shape[1] - 1 or len(target) == 1
            if is_last and self._config.link_t:
                self._link_to_frame_before(target[0])
            if is_last or not self._notes_whole_frames:
                work.save(frame=number + 1, batch=0)

    @property
    def linked(self) -> dict[str, Any]:
        """Along which axes objects were linked, and how."""
        depth = self._spec.spatial_dims == 2 and self._work.shape[1] > 1 and self._config.link_z
        axes = "Z" * depth + "T" * (self._work.shape[0] > 1 and self._config.link_t)
        return {"axes": axes, "min_overlap": self._config.min_overlap} if axes and self._finds_objects else {"axes": ""}

    def _done(self) -> int:
        return self._work.state.frame * self._runner.batches + self._work.state.batch

    def _fill(
        self,
        store: MapStore,
        source: tuple[int, int | None],
        stop: StopFlag | None,
        progress: _Progress,
        *,
        resumable: bool,
    ) -> Generator[Event, None, None]:
        """Let the network fill the maps of one frame."""
        pixels, prepare = self._view.source(frame_of(self._image, *source), self._normalization)
        skip = self._work.state.batch if resumable and store.folder is not None else 0
        steps = self._runner.run(pixels, lambda where, maps: store.write(where, maps.numpy()), stop,
                                 prepare=prepare, skip=skip)  # fmt: skip
        for number, notice in enumerate(steps, start=skip + 1):
            if store.folder is not None and not self._notes_whole_frames:
                self._work.save(batch=number)
            yield progress.advance()
            if notice is not None:
                yield notice

    def _label(self, store: MapStore, target: tuple[int, ...]) -> None:
        """Make the labels of a frame from its maps, and link them to the slice before."""
        work = self._work
        state, labels = work.state, work.frame(target)
        above = state.highest if self._finds_objects else 0
        maps = FrameMaps(store, self._view)
        decoded = decode_blocks(maps, self.decoder, labels, work.block, above=above)
        state.in_windows += decoded.in_windows
        if self._config.link_z and self._finds_objects and len(target) == 2 and target[1] > 0:
            before = work.frame((target[0], target[1] - 1))
            state.highest = self._link(before, labels, work.block, above)
        else:
            state.highest += decoded.objects

    def _link_to_frame_before(self, t: int) -> None:
        if t > 0 and self._finds_objects:
            block = (1,) * (3 - len(self._work.block)) + self._work.block
            before, labels = self._work.frame((t - 1,)), self._work.frame((t,))
            self._work.state.highest = self._link(before, labels, block, self._highest_before)
        self._highest_before = self._work.state.highest

    def _link(self, before: Any, labels: Any, block: tuple[int, ...], above: int) -> int:
        return link_arrays(before, labels, block, min_overlap=self._config.min_overlap, base=above, above=above)


class _Progress:
    def __init__(self, total: int, done: int) -> None:
        self._total, self._before, self._done, self._start = total, done, done, time.monotonic()

    def advance(self) -> TileDone:
        self._done += 1
        elapsed = time.monotonic() - self._start
        each = elapsed / (self._done - self._before)
        return TileDone(self._done, self._total, each * (self._total - self._done))

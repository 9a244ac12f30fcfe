"""Image and model to maps and labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet._version import __version__
from napari_unet.errors import ImageError
from napari_unet.events import Event, TileDone
from napari_unet.images import (
    Normalization,
    Rescaled,
    check_axes,
    covering,
    from_canonical,
    guess_axes,
    measure_normalization,
    resample_plane,
    scaled_length,
    to_canonical,
)
from napari_unet.prediction.instances import decode
from napari_unet.prediction.runner import PredictConfig, TileRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec, Model, ModelSpec

__all__ = [
    "Prediction",
    "activate",
    "iter_predict",
    "predict",
    "select_channels",
]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels that a model made of an image.

    Attributes
    ----------
    labels : ndarray of int32
        In the axes of the image without C and S; of the region where one was asked for.
    maps : ndarray of float32 or None
        ``(T)C(Z)YX``: the network's output after its activations. None unless asked for.
    provenance : dict
        Model, thresholds, precision, tile and version that made it.
    """

    labels: NDArray[np.int32]
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
    stop: StopFlag | None = None,
) -> Prediction:
    """Segment an image.

    Parameters
    ----------
    image : array
        NumPy or dask, any integer or float type.
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
        Keep the network's maps in the result.
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
        If it was stopped, or the device has too little memory.

    Examples
    --------
    >>> result = predict(image, load_model("nuclei"), axes="YX")  # doctest: +SKIP
    >>> result.labels.max()  # doctest: +SKIP
    125
    """
    steps = iter_predict(
        image, model, axes=axes, config=config, region=region, normalization=normalization,
        return_maps=return_maps, stop=stop,
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
    stop: StopFlag | None = None,
) -> Generator[Event, None, Prediction]:
    """Segment an image step by step: as `predict`, yielding a `TileDone` after each batch of tiles.

    Models of planes go through T and Z one plane at a time, with ids that never repeat; models of volumes
    through T.
    """
    config = config or PredictConfig()
    spec = model.spec
    axes = _known_axes(image, axes)
    canonical = select_channels(to_canonical(image, axes), spec, config.channels)
    normalization = normalization or measure_normalization(canonical, spec.percentiles)
    box = _box(canonical, region)
    view = _View(_spatial(box, spec), canonical.shape[-2:], spec.scale_for(config.object_diameter_px))
    runner = TileRunner(model.network, config, view.region)
    frames = list(_frames(box, spec))
    progress = _Progress(len(frames) * runner.batches)
    decoder = view.at_full_resolution(config.decoder(spec.decoder))

    shape = tuple(s.stop - s.start for letter, s in box.items() if letter != "C")
    labels = np.zeros(shape, np.int32)
    maps = np.zeros((shape[0], len(spec.maps), *shape[1:]), np.float32) if return_maps else None
    highest = 0
    for source, target in frames:
        t, z = source
        pixels = canonical[t, :, z] if spec.spatial_dims == 2 else canonical[t]
        one = np.empty((len(spec.maps), *(s.stop - s.start for s in runner.region)), np.float32)
        source_image, prepare = view.source(pixels, normalization)
        for notice in runner.run(source_image, _activated(one, spec), stop, prepare=prepare):
            yield progress.advance()
            if notice is not None:
                yield notice
        one = view.restore(one)
        frame = decode(one, decoder)
        if spec.task == "instances":
            frame[frame > 0] += highest
            highest = max(highest, int(frame.max(initial=0)))
        labels[target] = frame
        if maps is not None:
            place: tuple[Any, ...] = (target[0], slice(None), *target[1:])
            maps[place] = one
    provenance = {
        "model": spec.name,
        "decoder": decoder.model_dump(),
        "device": runner.device.type,
        "precision": runner.precision,
        "tile": list(runner.size),
        "scale": view.scale,
        "seam_exact": True,
        "normalization": {"low": list(normalization.low), "high": list(normalization.high)},
        "software": f"napari-unet {__version__}",
    }
    return Prediction(
        labels=from_canonical(labels, axes),
        maps=None if maps is None else from_canonical(maps, axes),
        provenance=provenance,
    )


def select_channels(image: Any, spec: ModelSpec, channels: tuple[int, ...] | None) -> Any:
    """Return the channels of a ``TCZYX`` image that feed the model, or say why they do not fit.

    Raises
    ------
    ImageError
        If the number of channels is not the model's.
    """
    count = image.shape[1]
    if channels is not None:
        if any(not 0 <= c < count for c in channels):
            raise ImageError(f"The image has {count} channels, numbered from 0; there is none for {channels}.")
        image, count = image[:, list(channels)], len(channels)
    if count != spec.in_channels:
        wanted = ", ".join(spec.channels)
        raise ImageError(
            f"The image has {count} channel{'s' * (count != 1)} but the model {spec.name!r} takes "
            f"{spec.in_channels} ({wanted}). Choose the channels to use, or split them into images of their "
            "own."
        )
    return image


def activate(logits: torch.Tensor, spec: ModelSpec) -> torch.Tensor:
    """Apply the activations that the spec names to logits (``C(Z)YX``, or with a batch in front)."""
    if spec.maps[0].activation == "softmax":
        return torch.softmax(logits, dim=logits.ndim - spec.spatial_dims - 1)
    return torch.sigmoid(logits)


def _known_axes(image: Any, axes: str | None) -> str:
    if axes is None:
        axes = guess_axes(np.shape(image))
        if axes is None:
            raise ImageError(
                f"An image of shape {np.shape(image)} could be a stack, a movie or channels. Say which with "
                "axes, for example 'ZYX', 'TYX' or 'CYX'."
            )
    axes = check_axes(axes, np.ndim(image))
    if 0 in np.shape(image):
        raise ImageError(f"The image is empty (shape {np.shape(image)}). Open one that has pixels.")
    return axes


def _box(image: Any, region: Mapping[str, slice] | None) -> dict[str, slice]:
    box = {letter: slice(0, n) for letter, n in zip("TCZYX", image.shape, strict=True)}
    for letter, part in (region or {}).items():
        if letter not in {"T", "Z", "Y", "X"}:
            raise ImageError(f"A region has the axes T, Z, Y and X, not {letter!r}.")
        start, stop, step = part.indices(box[letter].stop)
        if step != 1:
            raise ImageError(f"The region goes along {letter} in steps of {step}. Leave out the step.")
        if stop <= start:
            raise ImageError(f"The region is empty along {letter}. Choose one that overlaps the image.")
        box[letter] = slice(start, stop)
    return box


def _spatial(box: Mapping[str, slice], spec: ModelSpec) -> list[slice]:
    return [box[letter] for letter in ("ZYX" if spec.spatial_dims == 3 else "YX")]


def _frames(box: Mapping[str, slice], spec: ModelSpec) -> Iterator[tuple[tuple[int, int], tuple[int, ...]]]:
    """Yield where each frame lies in the image, (t, z), and in the result (the same, counted in the box)."""
    first_t, first_z = box["T"].start, box["Z"].start
    slices = range(first_z, box["Z"].stop) if spec.spatial_dims == 2 else [first_z]
    for t, z in product(range(first_t, box["T"].stop), slices):
        target = (t - first_t, z - first_z) if spec.spatial_dims == 2 else (t - first_t,)
        yield (t, z), target


def _activated(out: NDArray[np.float32], spec: ModelSpec) -> Callable[[tuple[slice, ...], torch.Tensor], None]:
    def write(where: tuple[slice, ...], logits: torch.Tensor) -> None:
        out[(slice(None), *where)] = activate(logits, spec).numpy()

    return write


class _View:
    """What is predicted of a frame, and the rescaled grid that the network sees it on."""

    def __init__(self, wanted: list[slice], plane: tuple[int, int], scale: float) -> None:
        self.scale = scale
        self._wanted = wanted[-2:]
        self._full = [scaled_length(n, scale) for n in plane]
        rescaled = [covering(part, scale, n) for part, n in zip(self._wanted, self._full, strict=True)]
        self.region = wanted if scale == 1 else [*wanted[:-2], *rescaled]

    def source(self, pixels: Any, normalization: Normalization) -> tuple[Any, Callable[[NDArray[Any]], NDArray[Any]]]:
        """Return a frame (``C(Z)YX``) on the grid that the network sees, and what is still to do with its blocks."""
        if self.scale == 1:
            return pixels, normalization.apply
        return Rescaled(pixels, self.scale, normalization.apply), np.asarray

    def restore(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return maps of the region on the grid of the image."""
        if self.scale == 1:
            return maps
        first = [part.start for part in self.region[-2:]]
        return resample_plane(maps, first, self.scale, self._wanted, self._full)

    def at_full_resolution(self, decoder: DecoderSpec) -> DecoderSpec:
        """Return a decoder with the sizes of the model's grid brought to the image's."""
        return decoder.model_copy(update={"min_size": round(decoder.min_size / self.scale**2)})


class _Progress:
    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = total, 0, time.monotonic()

    def advance(self) -> TileDone:
        self._done += 1
        elapsed = time.monotonic() - self._start
        return TileDone(self._done, self._total, elapsed / self._done * (self._total - self._done))

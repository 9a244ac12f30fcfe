"""Image and model to maps and labels."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_unet._version import __version__
from napari_unet.errors import ConfigError, ImageError, PredictionError
from napari_unet.events import Event, TileDone
from napari_unet.images import (
    Normalization,
    check_axes,
    from_canonical,
    guess_axes,
    measure_normalization,
    to_canonical,
)
from napari_unet.network import alignment, halo, valid_input_size
from napari_unet.prediction.device import is_out_of_memory, largest_tile, pick_device
from napari_unet.prediction.instances import decode
from napari_unet.prediction.tiling import Tile, cut_tile, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec, Model, ModelSpec
    from napari_unet.network import UNet

__all__ = [
    "PredictConfig",
    "Prediction",
    "activate",
    "iter_predict",
    "predict",
    "select_channels",
    "tiled_forward",
]


class PredictConfig(BaseModel):
    """How to predict. Every field has a default that suits this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tile: tuple[int, ...] | None = None
    """Voxels that the network sees at once, halo included, per axis. None: planned from the free memory."""
    batch: int | None = Field(default=None, ge=1)
    """Tiles per forward pass. None: planned."""
    device: str = "auto"
    """cuda, mps or cpu. auto: the best one that works."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the network. auto: half precision where CUDA computes it fast, else float32."""
    channels: tuple[int, ...] | None = None
    """Channels of the image that feed the model, counted from 0. None: all of them."""
    foreground_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Voxels with a foreground map above this belong to objects. None: the model's."""
    seed_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Lower merges objects, higher splits them. None: the model's."""
    min_size: int | None = Field(default=None, ge=0)
    """Smaller objects are left out, in voxels. None: the model's."""

    def decoder(self, of_model: DecoderSpec) -> DecoderSpec:
        """Return the model's decoder with what is set here."""
        names = ("foreground_threshold", "seed_threshold", "min_size")
        chosen = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return of_model.model_copy(update=chosen)


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
    runner = TileRunner(model.network, config, _spatial(box, spec))
    frames = list(_frames(box, spec))
    progress = _Progress(len(frames) * runner.batches)
    decoder = config.decoder(spec.decoder)

    shape = tuple(s.stop - s.start for letter, s in box.items() if letter != "C")
    labels = np.zeros(shape, np.int32)
    maps = np.zeros((shape[0], len(spec.maps), *shape[1:]), np.float32) if return_maps else None
    highest = 0
    for source, target in frames:
        volume = _normalized_frame(canonical, source, spec, normalization)
        one = np.empty((len(spec.maps), *(s.stop - s.start for s in runner.region)), np.float32)
        for _ in runner.run(volume, _activated(one, spec), stop):
            yield progress.advance()
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
        "seam_exact": True,
        "software": f"napari-unet {__version__}",
    }
    return Prediction(
        labels=from_canonical(labels, axes),
        maps=None if maps is None else from_canonical(maps, axes),
        provenance=provenance,
    )


def tiled_forward(image: NDArray[Any], network: UNet, *, config: PredictConfig | None = None) -> NDArray[Any]:
    """Run a network over a normalised image in tiles and return its linear output.

    Parameters
    ----------
    image : ndarray
        ``C(Z)YX``.
    network : UNet
        Its number format (float32, float64) is that of the result.

    Returns
    -------
    ndarray
        ``C(Z)YX``, as large as the image.
    """
    runner = TileRunner(network, config or PredictConfig(precision="float32"), [slice(0, n) for n in image.shape[1:]])
    dtype = np.float64 if next(network.parameters()).dtype == torch.float64 else np.float32
    out = np.empty((network.out_channels, *image.shape[1:]), dtype)

    def write(where: tuple[slice, ...], logits: torch.Tensor) -> None:
        out[(slice(None), *where)] = logits.numpy()

    for _ in runner.run(image, write):
        pass
    return out


class TileRunner:
    """Runs a network over one region, tile by tile, in batches of equal size."""

    def __init__(self, network: UNet, config: PredictConfig, region: Sequence[slice]) -> None:
        self.region = tuple(region)
        self.device = pick_device(config.device)
        self.halo = halo(network)
        core = self._largest_core(network, config)
        self.tiles = plan_tiles(self.region, core, alignment(network))
        self.size = valid_input_size(
            network, tuple(n + 2 * margin for n, margin in zip(self.tiles[0].core, self.halo, strict=True))
        )
        self.batch = config.batch or max(1, largest_tile(network, self.device) // int(np.prod(self.size)))
        self.batches = -(-len(self.tiles) // self.batch)
        self.precision, self._dtype = _precision(config.precision, self.device, network)
        self._network = _prepared(network, self.device, self._dtype)

    def run(
        self,
        image: Any,
        write: Callable[[tuple[slice, ...], torch.Tensor], None],
        stop: StopFlag | None = None,
    ) -> Iterator[None]:
        """Predict every tile of `image` (``C(Z)YX``, normalised) and hand each kept part to `write`."""
        origin = tuple(s.start for s in self.region)
        for first in range(0, len(self.tiles), self.batch):
            tiles = self.tiles[first : first + self.batch]
            if stop is not None and stop.is_set():
                raise PredictionError("Stopped before it was finished.")
            outputs = self._forward(image, tiles)
            for tile, output in zip(tiles, outputs, strict=True):
                where = tuple(slice(k.start - o, k.stop - o) for k, o in zip(tile.keep, origin, strict=True))
                write(where, output[(slice(None), *tile.from_core)])
            yield

    @torch.inference_mode()
    def _forward(self, image: Any, tiles: Sequence[Tile]) -> torch.Tensor:
        blocks = np.stack([cut_tile(image, tile, self.halo, self.size) for tile in tiles])
        try:
            x = torch.from_numpy(blocks).to(self.device, self._dtype)
            y: torch.Tensor = self._network(x)
            if y.shape[2:] == x.shape[2:]:
                core: tuple[Any, ...] = tuple(
                    slice(margin, margin + n) for margin, n in zip(self.halo, tiles[0].core, strict=True)
                )
                y = y[(..., *core)]
            return (y if y.dtype == torch.float64 else y.float()).cpu()
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise PredictionError(
                    f"A tile of {' x '.join(map(str, self.size))} voxels does not fit into the memory of "
                    f"{self.device}. Choose a smaller tile or the device 'cpu'."
                ) from error
            raise

    def _largest_core(self, network: UNet, config: PredictConfig) -> tuple[int, ...]:
        steps = alignment(network)
        if config.tile is not None:
            if len(config.tile) != network.spatial_dims:
                raise ConfigError(
                    f"The tile {config.tile} has {len(config.tile)} sizes but the model has "
                    f"{network.spatial_dims} axes."
                )
            given = tuple(n - 2 * margin for n, margin in zip(config.tile, self.halo, strict=True))
            if any(n < step for n, step in zip(given, steps, strict=True)):
                least = tuple(step + 2 * margin for step, margin in zip(steps, self.halo, strict=True))
                raise ConfigError(f"The tile {config.tile} is smaller than its halo. Use at least {least}.")
            return given
        voxels = largest_tile(network, self.device)
        core = [-(-s.stop // k) * k - s.start // k * k for s, k in zip(self.region, steps, strict=True)]
        # shrink the longest axis first, so that tiles stay as cubic as the region allows
        while int(np.prod([n + 2 * m for n, m in zip(core, self.halo, strict=True)])) > voxels:
            axis = max(range(len(core)), key=lambda a: core[a] / steps[a])
            if core[axis] <= steps[axis]:
                break
            core[axis] -= steps[axis]
        return tuple(core)


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


def _normalized_frame(
    image: Any, source: tuple[Any, ...], spec: ModelSpec, normalization: Normalization
) -> NDArray[np.float32]:
    """Return one frame of a ``TCZYX`` image, ``C(Z)YX``, normalised."""
    t, z = source
    frame = image[t, :, z] if spec.spatial_dims == 2 else image[t]
    return normalization.apply(np.asarray(frame))


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


def _precision(wanted: str, device: torch.device, network: UNet) -> tuple[str, torch.dtype]:
    own = next(network.parameters()).dtype
    if wanted == "auto":
        half = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 7
        wanted = "float16" if half and own == torch.float32 else str(own).removeprefix("torch.")
    return wanted, own if wanted == "float32" and own == torch.float64 else getattr(torch, wanted)


def _prepared(network: UNet, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """Return a copy for prediction: batch norm folded into the convolutions, channels last."""
    prepared = copy.deepcopy(network).eval()
    for block in [*prepared.contracting, *prepared.expanding]:
        assert isinstance(block, torch.nn.Sequential)
        for place, layer in enumerate(block):
            following = block[place + 1] if place + 1 < len(block) else None
            if isinstance(following, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
                assert isinstance(layer, torch.nn.Conv2d | torch.nn.Conv3d)
                block[place] = fuse_conv_bn_eval(layer, following)
                block[place + 1] = torch.nn.Identity()
    layout = torch.channels_last if network.spatial_dims == 2 else torch.channels_last_3d
    moved: torch.nn.Module = prepared.to(device=device, dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
    return moved


class _Progress:
    def __init__(self, total: int) -> None:
        self._total, self._done, self._start = total, 0, time.monotonic()

    def advance(self) -> TileDone:
        self._done += 1
        elapsed = time.monotonic() - self._start
        return TileDone(self._done, self._total, elapsed / self._done * (self._total - self._done))

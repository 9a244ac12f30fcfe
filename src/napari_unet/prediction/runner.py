"""Runs a network over an image tile by tile, in batches that fit the device."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_unet.errors import ConfigError, PredictionError
from napari_unet.events import Notice
from napari_unet.network import alignment, halo, valid_input_size
from napari_unet.prediction.device import is_out_of_memory, largest_tile, pick_device
from napari_unet.prediction.tiling import Tile, cut_tile, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec
    from napari_unet.network import UNet

__all__ = ["PredictConfig", "TileRunner", "tiled_forward"]


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
    object_diameter_px: float | None = Field(None, ge=2, le=2000)
    """Typical diameter of the objects in the image, in pixels; the image is rescaled so that they are as large as those
    that the model was trained on. None: not rescaled."""
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
    """Runs a network over one region, tile by tile, in batches of equal size.

    Where the device has too little memory, the batch is halved, then the tile, down to the smallest; then the CPU takes
    over. It goes on from the tile where it was, and keeps to the size that worked.

    Parameters
    ----------
    network : UNet
        It is copied, not changed.
    config : PredictConfig
    region : sequence of slice
        What to predict, in voxels of the image.

    Attributes
    ----------
    batches : int
        How many times `run` yields.
    size : tuple of int
        Voxels that the network sees at once, halo included.
    """

    def __init__(self, network: UNet, config: PredictConfig, region: Sequence[slice]) -> None:
        self.region = tuple(region)
        self.device = pick_device(config.device)
        self.halo = halo(network)
        self._alignment = alignment(network)
        self._plain = network
        core = self._largest_core(network, config)
        self.tiles = plan_tiles(self.region, core, self._alignment)
        self.size = self._input_size(self.tiles[0])
        self.batch = config.batch or max(1, largest_tile(network, self.device) // int(np.prod(self.size)))
        self.batches = -(-len(self.tiles) // self.batch)
        self.precision, self._dtype = _precision(config.precision, self.device, network)
        self._network = _prepared(network, self.device, self._dtype)
        self._core_limit = self.tiles[0].core
        self._batch_limit = self.batch
        self._notice: Notice | None = None

    def run(
        self,
        image: Any,
        write: Callable[[tuple[slice, ...], torch.Tensor], None],
        stop: StopFlag | None = None,
        *,
        prepare: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
    ) -> Iterator[Notice | None]:
        """Predict every tile, yielding after each batch; a `Notice` once, where memory made it change its plan.

        Parameters
        ----------
        image : array
            ``C(Z)YX``, NumPy or dask: only what a tile needs is read.
        write : callable
            Takes where a kept part goes in the region, and the network's output there (``C(Z)YX``).
        stop : threading.Event, optional
        prepare : callable
            Applied to each block that is read: the normalisation.
        """
        for first in range(0, len(self.tiles), self.batch):
            if stop is not None and stop.is_set():
                raise PredictionError("Stopped before it was finished.")
            self._predict(self.tiles[first : first + self.batch], image, write, prepare)
            notice, self._notice = self._notice, None
            yield notice

    def _predict(self, tiles: Sequence[Tile], image: Any, write: Any, prepare: Any) -> None:
        """Predict tiles of one size, as many at once as fit."""
        if any(n > limit for n, limit in zip(tiles[0].core, self._core_limit, strict=True)):
            for tile in tiles:
                smaller = plan_tiles(tile.keep, self._core_limit, self._alignment)
                for one in smaller:
                    self._predict([one], image, write, prepare)
            return
        for first in range(0, len(tiles), self._batch_limit):
            some = tiles[first : first + self._batch_limit]
            outputs = None
            try:
                outputs = self._forward(np.stack([prepare(self._cut(image, tile)) for tile in some]), some[0].core)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._give_way(some, error)
            if outputs is None:  # not before the error is gone, which holds on to the memory that was too little
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                self._predict(tiles[first:], image, write, prepare)
                return
            for tile, output in zip(some, outputs, strict=True):
                keep = zip(tile.keep, self.region, strict=True)
                where = tuple(slice(k.start - r.start, k.stop - r.start) for k, r in keep)
                write(where, output[(slice(None), *tile.from_core)])

    @torch.inference_mode()
    def _forward(self, blocks: NDArray[Any], core: tuple[int, ...]) -> torch.Tensor:
        x = torch.from_numpy(blocks).to(self.device, self._dtype)
        y: torch.Tensor = self._network(x)
        if y.shape[2:] == x.shape[2:]:
            inner: tuple[Any, ...] = tuple(slice(m, m + n) for m, n in zip(self.halo, core, strict=True))
            y = y[(..., *inner)]
        return (y if y.dtype == torch.float64 else y.float()).cpu()

    def _give_way(self, tiles: Sequence[Tile], error: BaseException) -> None:
        """Ask for less memory from now on.

        Raises
        ------
        PredictionError
            If there is nothing left to give.
        """
        core = tiles[0].core
        halves = tuple(max(k, n // 2 // k * k) for n, k in zip(core, self._alignment, strict=True))
        if len(tiles) > 1:
            self._batch_limit = len(tiles) // 2
        elif halves != core:
            self._core_limit = halves
        elif self.device.type != "cpu":
            self._notice = Notice(f"{self.device} has too little memory even for small tiles: going on with the CPU.")
            self.device = torch.device("cpu")
            self._dtype = next(self._plain.parameters()).dtype
            self._network = _prepared(self._plain, self.device, self._dtype)
            return
        else:
            raise PredictionError(
                f"Even a tile of {' x '.join(map(str, self._input_size(tiles[0])))} voxels does not fit into the "
                "memory of this machine. Close other programs, or use a smaller model."
            ) from error
        if self._notice is None:
            self._notice = Notice(
                f"{self.device} has too little memory for this size of tile: going on with smaller ones."
            )

    def _cut(self, image: Any, tile: Tile) -> NDArray[Any]:
        return cut_tile(image, tile, self.halo, self._input_size(tile))

    def _input_size(self, tile: Tile) -> tuple[int, ...]:
        wanted = tuple(n + 2 * margin for n, margin in zip(tile.core, self.halo, strict=True))
        return valid_input_size(self._plain, wanted)

    def _largest_core(self, network: UNet, config: PredictConfig) -> tuple[int, ...]:
        steps = self._alignment
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

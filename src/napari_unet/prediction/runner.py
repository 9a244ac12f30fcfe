"""Runs a network over an image tile by tile, in batches that fit the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import PredictionError
from napari_unet.events import Notice
from napari_unet.prediction.blending import Blend
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.device import is_out_of_memory, kept_memory, pick_device
from napari_unet.prediction.forward import Forward
from napari_unet.prediction.planning import most_voxels, plan_layout
from napari_unet.prediction.prepared import choose_precision
from napari_unet.prediction.remember import remember, signature
from napari_unet.prediction.stopping import Asking, check
from napari_unet.prediction.tiling import cut_tile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.network import UNet
    from napari_unet.prediction.planning import Layout
    from napari_unet.prediction.stopping import Flag
    from napari_unet.prediction.tiling import Tile

    Receiver = Callable[[Tile, torch.Tensor], None]
    Reader = Callable[[Sequence[Tile], Layout], NDArray[Any]]

__all__ = ["TileRunner", "tiled_forward"]


def tiled_forward(
    image: NDArray[Any],
    network: UNet,
    *,
    config: PredictConfig | None = None,
    give_up: Callable[[], bool] | None = None,
) -> NDArray[Any]:
    """Run a network over a normalised image in tiles and return its linear output.

    Parameters
    ----------
    image : ndarray
        ``C(Z)YX``.
    network : UNet
        Its number format (float32, float64) is that of the result.
    config : PredictConfig, optional
        None: in single precision.
    give_up : callable, optional
        Asked often, within a tile too, whether to end early.

    Returns
    -------
    ndarray
        ``C(Z)YX``, as large as the image.

    Raises
    ------
    StoppedError
        If it was given up.
    """
    runner = TileRunner(network, config or PredictConfig(precision="float32"), [slice(0, n) for n in image.shape[1:]])
    dtype = np.float64 if next(network.parameters()).dtype == torch.float64 else np.float32
    out = np.empty((network.out_channels, *image.shape[1:]), dtype)

    def write(where: tuple[slice, ...], logits: torch.Tensor) -> None:
        out[(slice(None), *where)] = logits.numpy()

    for _ in runner.run(image, write, None if give_up is None else Asking(give_up)):
        pass
    return out


class TileRunner:
    """Runs a network over one region, tile by tile, in batches of equal size.

    Where the device has too little memory, the batch is halved, then the tile, down to the smallest; then the CPU takes
    over. It goes on from the tile where it was, and keeps to the size that worked, also in the runs of the next days.

    Parameters
    ----------
    network : UNet
        It is copied, not changed.
    config : PredictConfig
    region : sequence of slice
        What to predict, in voxels of the image.
    extent : sequence of int, optional
        Size of the image. None: the region ends where the image does.
    finish : callable, optional
        Applied to the output (``BC(Z)YX``) on the device: the activation.
    layout : Layout, optional
        How the image is cut, where it is given already: a run that is taken up again.
    fold, channels_last : bool
        As for `prepared`; False to measure what they bring.

    Attributes
    ----------
    layout : Layout
    tiles : list of Tile
    batches : int
        How many times `run` yields.
    size : tuple of int
        Voxels that the network sees at once, halo included.
    orientations : int
        How many predictions of each tile are averaged.
    """

    def __init__(
        self,
        network: UNet,
        config: PredictConfig,
        region: Sequence[slice],
        *,
        extent: Sequence[int] | None = None,
        finish: Callable[[torch.Tensor], torch.Tensor] | None = None,
        layout: Layout | None = None,
        fold: bool = True,
        channels_last: bool = True,
    ) -> None:
        self.region = tuple(region)
        self.device = pick_device(config.device)
        self.precision, self._dtype = choose_precision(config.precision, self.device, network)
        self._plain = network
        self._stop: Flag | None = None
        self._how: dict[str, Any] = {
            "finish": finish or torch.nn.Identity(),
            "average": config.average,
            "fold": fold,
            "channels_last": channels_last,
        }
        voxels = most_voxels(network, self.device, self.precision, self._dtype)
        self.layout = layout or plan_layout(network, config, region, extent or [s.stop for s in region], voxels)
        self.tiles = self.layout.tiles(self.region)
        self.size = self.layout.input_size(network, self.tiles[0].core)
        self.batch = config.batch or max(1, voxels // prod(self.size))
        self.batches = -(-len(self.tiles) // self.batch)
        self._forward = self._made_ready()
        self.orientations = self._forward.orientations
        self._layout_now, self._batch_limit = self.layout, self.batch
        self._notice: Notice | None = None

    def run(
        self,
        image: Any,
        write: Callable[[tuple[slice, ...], torch.Tensor], None],
        stop: Flag | None = None,
        *,
        prepare: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray,
        skip: int = 0,
        folder: Path | None = None,
    ) -> Iterator[Notice | None]:
        """Predict every tile, yielding after each batch; a `Notice` once, where memory made it change its plan.

        The next batch is read while one is computed.

        Parameters
        ----------
        image : array
            ``C(Z)YX``, anything with a shape and slicing: only what a tile needs is read.
        write : callable
            Takes a place in the region, and the network's output there (``C(Z)YX``); each place comes once.
        stop : threading.Event, optional
            Ends it within a batch: before the next layer, the next part of a long one, or the next tile to be read.
        prepare : callable
            Applied to each block that is read: the normalisation.
        skip : int
            Batches that are done already.
        folder : Path, optional
            Where blended tiles wait for their neighbours on disk. None: in memory.
        """
        self._stop = stop
        done, coming = self.tiles[: skip * self.batch], self.tiles[skip * self.batch :]
        give, again = self._receiver(write, done, coming, folder)
        before = _grouped(again, self.batch)
        groups = [*before, *_grouped(coming, self.batch)]

        def read(tiles: Sequence[Tile], layout: Layout) -> NDArray[Any]:
            size, blocks = layout.input_size(self._plain, tiles[0].core), []
            for tile in tiles:
                self._check_stop()
                blocks.append(prepare(cut_tile(image, tile, layout.margin, size)))
            return np.stack(blocks)

        keep = kept_memory() if self.device.type == "cpu" else nullcontext()
        with keep, ThreadPoolExecutor(1, thread_name_prefix="read tiles") as reader:
            next_up = reader.submit(read, groups[0], self.layout) if groups else None
            for number, tiles in enumerate(groups):
                self._check_stop()
                current = next_up
                next_up = reader.submit(read, groups[number + 1], self.layout) if number + 1 < len(groups) else None
                self._predict(tiles, self.layout, read, give, current)
                if number >= len(before):
                    notice, self._notice = self._notice, None
                    yield notice

    @property
    def provenance(self) -> dict[str, Any]:
        """What of the result's provenance is known here; after a run, what it has come to."""
        return {
            "device": self.device.type,
            "precision": self.precision,
            "tile": list(self.size),
            "halo": "exact" if self.layout.is_exact else "blended",
            "averaged": self.orientations,
        }

    def remember_speed(self, runs: float, seconds: float) -> None:
        """Note how long so many runs took, for the next estimate."""
        if runs > 0 and self._layout_now is self.layout:
            work = len(self.tiles) * self.orientations * self.layout.operations(self._plain, self.tiles[0].core)
            remember(self._key(), work_per_second=runs * work / max(seconds, 1e-6))

    def _receiver(
        self,
        write: Callable[[tuple[slice, ...], torch.Tensor], None],
        done: Sequence[Tile],
        coming: Sequence[Tile],
        folder: Path | None,
    ) -> tuple[Receiver, list[Tile]]:
        """Return what takes the output of tiles, and those of the done ones that it needs once more."""

        def put(place: tuple[slice, ...], values: torch.Tensor) -> None:
            write(
                tuple(slice(p.start - r.start, p.stop - r.start) for p, r in zip(place, self.region, strict=True)),
                values,
            )

        if self.layout.is_exact:
            return (lambda tile, values: put(tile.keep, values)), []
        blend = Blend(self.layout, put, folder)
        return blend.add, blend.skip(done, coming)

    def _predict(
        self,
        tiles: Sequence[Tile],
        layout: Layout,
        read: Reader,
        give: Receiver,
        ready: Future[NDArray[Any]] | None = None,
    ) -> None:
        """Predict tiles of a layout, as many at once as fit; `ready` holds what was read of them before."""
        if layout is not self._layout_now:
            for tile in tiles:
                self._predict_in_parts(tile, read, give)
            return
        if len(tiles) > self._batch_limit:
            ready = None
        for first in range(0, len(tiles), self._batch_limit):
            some = tiles[first : first + self._batch_limit]
            outputs = None
            try:
                blocks = ready.result() if ready is not None else read(some, layout)
                outputs = self._forward(blocks, some[0].core, layout.margin)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._give_way(some, error)
            if outputs is None:  # not before the error is gone, which holds on to the memory that was too little
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                self._predict(tiles[first:], layout, read, give)
                return
            for tile, output in zip(some, outputs, strict=True):
                give(tile, output[(slice(None), *tile.from_core)])

    def _predict_in_parts(self, tile: Tile, read: Reader, give: Receiver) -> None:
        """Predict a tile that does not fit in tiles of the smaller layout of now."""
        layout = self._layout_now
        parts = layout.tiles(tile.keep)
        if layout.is_exact:
            for part in parts:
                self._predict([part], layout, read, give)
            return
        dtype = torch.float64 if self._dtype == torch.float64 else torch.float32
        whole = torch.empty((self._plain.out_channels, *(k.stop - k.start for k in tile.keep)), dtype=dtype)

        def put(place: tuple[slice, ...], values: torch.Tensor) -> None:
            inside = zip(place, tile.keep, strict=True)
            whole[(slice(None), *(slice(p.start - k.start, p.stop - k.start) for p, k in inside))] = values

        blend = Blend(layout, put)
        for part in parts:
            self._predict([part], layout, read, blend.add)
        give(tile, whole)

    def _give_way(self, tiles: Sequence[Tile], error: BaseException) -> None:
        """Ask for less memory from now on.

        Raises
        ------
        PredictionError
            If there is nothing left to give.
        """
        halved = self._layout_now.halved(self._plain, tiles[0].core)
        if len(tiles) > 1:
            self._batch_limit = len(tiles) // 2
            self._remember_limit(self._batch_limit * prod(self._layout_now.input_size(self._plain, tiles[0].core)))
        elif halved is not None:
            self._layout_now = halved
            self._remember_limit(prod(halved.input_size(self._plain, halved.output)))
        elif self.device.type != "cpu":
            self._notice = Notice(f"{self.device} has too little memory even for small tiles: going on with the CPU.")
            self.device = torch.device("cpu")
            self._dtype = next(self._plain.parameters()).dtype
            self._forward = self._made_ready()
            return
        else:
            size = self._layout_now.input_size(self._plain, tiles[0].core)
            raise PredictionError(
                f"Even a tile of {' x '.join(map(str, size))} voxels does not fit into the "
                "memory of this machine. Close other programs, or use a smaller model."
            ) from error
        if self._notice is None:
            self._notice = Notice(
                f"{self.device} has too little memory for this size of tile: going on with smaller ones."
            )

    def _made_ready(self) -> Forward:
        return Forward(self._plain, self.device, self._dtype, before_layer=self._check_stop, **self._how)

    def _check_stop(self) -> None:
        check(self._stop)

    def _remember_limit(self, voxels: int) -> None:
        remember(self._key(), most_voxels=voxels)

    def _key(self) -> str:
        return signature(self._plain, self.device, self.precision)


def _grouped(tiles: Sequence[Tile], size: int) -> list[Sequence[Tile]]:
    return [tiles[first : first + size] for first in range(0, len(tiles), size)]

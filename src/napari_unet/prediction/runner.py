"""Runs a network over an image tile by tile, in batches that fit the device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.errors import PredictionError
from napari_unet.events import Notice
from napari_unet.network import alignment, halo, operations
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.device import is_out_of_memory, largest_tile, pick_device
from napari_unet.prediction.planning import given_core, input_size, plan_core
from napari_unet.prediction.prepared import choose_precision, prepared
from napari_unet.prediction.remember import recall, remember, signature
from napari_unet.prediction.tiling import Tile, cut_tile, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.network import UNet

__all__ = ["TileRunner", "tiled_forward"]


def tiled_forward(image: NDArray[Any], network: UNet, *, config: PredictConfig | None = None) -> NDArray[Any]:
    """Run a network over a normalised image in tiles and return its linear output.

    Parameters
    ----------
    image : ndarray
        ``C(Z)YX``.
    network : UNet
        Its number format (float32, float64) is that of the result.
    config : PredictConfig, optional
        None: in single precision.

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
    over. It goes on from the tile where it was, and keeps to the size that worked, also in the runs of the next days.

    Parameters
    ----------
    network : UNet
        It is copied, not changed.
    config : PredictConfig
    region : sequence of slice
        What to predict, in voxels of the image.
    finish : callable, optional
        Applied to the output (``BC(Z)YX``) on the device: the activation.
    core : sequence of int, optional
        Size of the tiles' cores, where it is given already: a run that is taken up again.
    fold, channels_last : bool
        As for `prepared`; False to measure what they bring.

    Attributes
    ----------
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
        finish: Callable[[torch.Tensor], torch.Tensor] | None = None,
        core: Sequence[int] | None = None,
        fold: bool = True,
        channels_last: bool = True,
    ) -> None:
        self.region = tuple(region)
        self.device = pick_device(config.device)
        self.halo = halo(network)
        self.precision, self._dtype = choose_precision(config.precision, self.device, network)
        self._alignment = alignment(network)
        self._plain = network
        self._finish = finish or torch.nn.Identity()
        self._stop: StopFlag | None = None
        self.orientations = 8 if config.average else 1
        self._how = {"fold": fold, "channels_last": channels_last}
        self._voxels = self._most_voxels()
        if core is None:
            core = given_core(network, config.tile) if config.tile else plan_core(network, self.region, self._voxels)
        self.tiles = plan_tiles(self.region, core, self._alignment)
        self.size = self._input_size(self.tiles[0])
        self.batch = config.batch or max(1, self._voxels // prod(self.size))
        self.batches = -(-len(self.tiles) // self.batch)
        self._network = self._prepared()
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
        skip: int = 0,
    ) -> Iterator[Notice | None]:
        """Predict every tile, yielding after each batch; a `Notice` once, where memory made it change its plan.

        The next batch is read while one is computed.

        Parameters
        ----------
        image : array
            ``C(Z)YX``, anything with a shape and slicing: only what a tile needs is read.
        write : callable
            Takes where a kept part goes in the region, and the network's output there (``C(Z)YX``).
        stop : threading.Event, optional
            Ends it within a batch, before the next layer.
        prepare : callable
            Applied to each block that is read: the normalisation.
        skip : int
            Batches that are done already.
        """
        self._stop = stop
        groups = [self.tiles[first : first + self.batch] for first in range(0, len(self.tiles), self.batch)][skip:]

        def read(tiles: Sequence[Tile]) -> NDArray[Any]:
            return np.stack([prepare(self._cut(image, tile)) for tile in tiles])

        with ThreadPoolExecutor(1, thread_name_prefix="read tiles") as reader:
            coming = reader.submit(read, groups[0]) if groups else None
            for number, tiles in enumerate(groups):
                if stop is not None and stop.is_set():
                    raise _stopped()
                current = coming
                coming = reader.submit(read, groups[number + 1]) if number + 1 < len(groups) else None
                self._predict(tiles, read, write, current)
                notice, self._notice = self._notice, None
                yield notice

    def remember_speed(self, runs: int, seconds: float) -> None:
        """Note how long so many runs took, for the next estimate."""
        if runs > 0 and self._core_limit == self.tiles[0].core:
            work = len(self.tiles) * self.orientations * operations(self._plain, self.tiles[0].core, margin=self.halo)
            remember(self._key(), work_per_second=runs * work / max(seconds, 1e-6))

    def _predict(
        self,
        tiles: Sequence[Tile],
        read: Callable[[Sequence[Tile]], NDArray[Any]],
        write: Callable[[tuple[slice, ...], torch.Tensor], None],
        ready: Future[NDArray[Any]] | None = None,
    ) -> None:
        """Predict tiles of one size, as many at once as fit; `ready` holds what was read of them before."""
        if any(n > limit for n, limit in zip(tiles[0].core, self._core_limit, strict=True)):
            for tile in tiles:
                for one in plan_tiles(tile.keep, self._core_limit, self._alignment):
                    self._predict([one], read, write)
            return
        if len(tiles) > self._batch_limit:
            ready = None
        for first in range(0, len(tiles), self._batch_limit):
            some = tiles[first : first + self._batch_limit]
            outputs = None
            try:
                blocks = ready.result() if ready is not None else read(some)
                outputs = self._forward(blocks, some[0].core)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._give_way(some, error)
            if outputs is None:  # not before the error is gone, which holds on to the memory that was too little
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                self._predict(tiles[first:], read, write)
                return
            for tile, output in zip(some, outputs, strict=True):
                keep = zip(tile.keep, self.region, strict=True)
                where = tuple(slice(k.start - r.start, k.stop - r.start) for k, r in keep)
                write(where, output[(slice(None), *tile.from_core)])

    @torch.inference_mode()
    def _forward(self, blocks: NDArray[Any], core: tuple[int, ...]) -> torch.Tensor:
        x = torch.from_numpy(blocks).to(self.device, self._dtype)
        if self.orientations == 1:
            return self._pass(x, core).cpu()
        total: torch.Tensor | None = None
        for turns, mirrored in product(range(4), (False, True)):
            turned = torch.rot90(x, turns, (-2, -1))
            turned_core = core if turns % 2 == 0 else (*core[:-2], core[-1], core[-2])
            y = self._pass(turned.flip(-1) if mirrored else turned, turned_core, whole=True)
            y = torch.rot90(y.flip(-1) if mirrored else y, -turns, (-2, -1))
            total = y if total is None else total + y
        assert total is not None
        inner: tuple[Any, ...] = (..., *(slice(n) for n in core))
        return (total / self.orientations)[inner].cpu()

    def _pass(self, x: torch.Tensor, core: tuple[int, ...], *, whole: bool = False) -> torch.Tensor:
        """Return the output on the core; `whole` what a "valid" network puts out beyond it, too."""
        if self._plain.padding == "same":
            y = self._network(x, tuple(slice(m, m + n) for m, n in zip(self.halo, core, strict=True)))
        else:
            y = self._network(x)
            y = y if whole else y[(..., *(slice(n) for n in core))]
        return self._finish(y if y.dtype == torch.float64 else y.float())

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
            self._remember_limit(self._batch_limit * prod(self._input_size(tiles[0])))
        elif halves != core:
            self._core_limit = halves
            self._remember_limit(prod(input_size(self._plain, halves)))
        elif self.device.type != "cpu":
            self._notice = Notice(f"{self.device} has too little memory even for small tiles: going on with the CPU.")
            self.device = torch.device("cpu")
            self._dtype = next(self._plain.parameters()).dtype
            self._network = self._prepared()
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

    def _prepared(self) -> UNet:
        return prepared(self._plain, self.device, self._dtype, before_layer=self._check_stop, **self._how)

    def _check_stop(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise _stopped()

    def _most_voxels(self) -> int:
        known = recall(self._key()).get("most_voxels")
        planned = largest_tile(self._plain, self.device, bytes_each=self._dtype.itemsize)
        return min(planned, int(known)) if known else planned

    def _remember_limit(self, voxels: int) -> None:
        remember(self._key(), most_voxels=voxels)

    def _key(self) -> str:
        return signature(self._plain, self.device, self.precision)

    def _cut(self, image: Any, tile: Tile) -> NDArray[Any]:
        return cut_tile(image, tile, self.halo, self._input_size(tile))

    def _input_size(self, tile: Tile) -> tuple[int, ...]:
        return input_size(self._plain, tile.core)


def _stopped() -> PredictionError:
    return PredictionError("Stopped before it was finished.")

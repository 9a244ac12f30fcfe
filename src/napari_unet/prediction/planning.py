"""Which tiles: as large as memory and patience allow, and so that little is computed twice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.errors import ConfigError
from napari_unet.network import alignment, halo, operations, valid_input_size
from napari_unet.prediction.device import largest_tile
from napari_unet.prediction.remember import recall, signature
from napari_unet.prediction.tiling import Tile, plan_overlapping_tiles, plan_tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from napari_unet.network import UNet
    from napari_unet.prediction.config import PredictConfig

__all__ = ["Layout", "blended_layout", "exact_layout", "most_voxels", "plan_layout", "smaller_halos"]

_CHOICES = {2: 40, 3: 12}
"""Numbers of tiles per axis that are compared, for planes and for volumes."""

_OVERHEAD = 2e8
"""What starting a tile costs, in multiplications."""

_PAYS = 1.5
"""An exact halo may cost so many times what blended tiles cost."""

_MOSTLY_HALO = 4
"""A blended halo that makes the image cost so many times one pass is halved again."""


@dataclass(frozen=True)
class Layout:
    """How an image is cut into tiles.

    Attributes
    ----------
    core : tuple of int
        From the start of a tile to the start of the next, per axis.
    margin : tuple of int
        Context on each side of what a tile puts out.
    overlap : tuple of int
        How far a tile's output reaches into its neighbour's core, where the two are blended. 0: not at all.
    is_exact : bool
        Whether the context is all that the network sees: then tiles and one pass give the same.
    steps : tuple of int
        Alignment of the network.
    extent : tuple of int
        Size of the image. Blended tiles lie on one grid over it, whatever part of it is wanted.
    """

    core: tuple[int, ...]
    margin: tuple[int, ...]
    overlap: tuple[int, ...]
    is_exact: bool
    steps: tuple[int, ...]
    extent: tuple[int, ...]

    @property
    def output(self) -> tuple[int, ...]:
        """Size of what a tile puts out."""
        return tuple(n + 2 * over for n, over in zip(self.core, self.overlap, strict=True))

    def tiles(self, region: Sequence[slice]) -> list[Tile]:
        """Return the tiles that a region needs, all of one size."""
        if self.is_exact:
            return plan_tiles(region, self.core, self.steps)
        return plan_overlapping_tiles(region, self.extent, self.core, self.overlap)

    def input_size(self, network: UNet, output: Sequence[int]) -> tuple[int, ...]:
        """Return what the network has to see for an output of some size."""
        return valid_input_size(network, tuple(n + 2 * m for n, m in zip(output, self.margin, strict=True)))

    def operations(self, network: UNet, output: Sequence[int]) -> float:
        """Return the multiplications of a tile with an output of some size."""
        return operations(network, output, margin=self.margin)

    def halved(self, network: UNet, output: Sequence[int]) -> Layout | None:
        """Return a layout with tiles of about half the length along each axis; None: there is none.

        Parameters
        ----------
        network : UNet
        output : sequence of int
            Of the tiles that are too large.
        """
        if self.is_exact:
            halves = tuple(max(k, n // 2 // k * k) for n, k in zip(output, self.steps, strict=True))
            smaller = exact_layout(network, halves, self.extent)
        else:
            halves = tuple(max(2 * k, n // 2 // k * k) for n, k in zip(self.core, self.steps, strict=True))
            smaller = blended_layout(network, halves, self.extent, self.halo)
        return smaller if prod(smaller.output) < prod(output) else None

    @property
    def halo(self) -> tuple[int, ...]:
        """How far a tile reads beyond its core."""
        return tuple(m + over for m, over in zip(self.margin, self.overlap, strict=True))

    def _cost(self, network: UNet) -> float:
        """Return the multiplications for the whole image."""
        count = prod(-(-n // core) for n, core in zip(self.extent, self.core, strict=True))
        return count * (self.operations(network, self.output) + _OVERHEAD)


def exact_layout(network: UNet, core: Sequence[int], extent: Sequence[int]) -> Layout:
    """Return the layout of tiles that see all that they depend on."""
    nothing = (0,) * len(core)
    return Layout(tuple(core), halo(network), nothing, True, alignment(network), tuple(extent))


def blended_layout(network: UNet, core: Sequence[int], extent: Sequence[int], halos: Sequence[int]) -> Layout:
    """Return the layout of tiles that see less and are blended where they meet.

    Of the halo one step of the poolings is blended, the rest is context: of two tiles that meet the one that
    sees more is right, and a wider seam would take more from the other. Along an axis with one tile all is context.
    """
    steps = alignment(network)
    even = _evened(core, extent, steps)
    over = tuple(k * (n < length) for k, n, length in zip(steps, even, extent, strict=True))
    margin = tuple(h - o for h, o in zip(halos, over, strict=True))
    return Layout(even, margin, over, False, steps, tuple(extent))


def smaller_halos(network: UNet) -> list[tuple[int, ...]]:
    """Return the halos of blended tiles, the largest first: half of what the network sees, and a quarter.

    What lies farther away matters little: the weights of a voxel's surroundings fall off like a bell.
    """
    pairs = list(zip(halo(network), alignment(network), strict=True))
    halos = [tuple(-(-h // (share * k)) * k for h, k in pairs) for share in (1, 2, 4)]
    return [smaller for before, smaller in pairwise(halos) if smaller != before]


def most_voxels(network: UNet, device: torch.device, precision: str, dtype: torch.dtype) -> int:
    """Return how many voxels one tile may have: what is planned, or less where that did not fit the last time."""
    planned = largest_tile(network, device, bytes_each=dtype.itemsize)
    known = recall(signature(network, device, precision)).get("most_voxels")
    return min(planned, int(known)) if known else planned


def plan_layout(
    network: UNet, config: PredictConfig, region: Sequence[slice], extent: Sequence[int], voxels: int
) -> Layout:
    """Return how to predict a region of an image.

    Parameters
    ----------
    network : UNet
    config : PredictConfig
        Its `tile` and `halo`.
    region : sequence of slice
    extent : sequence of int
        Size of the image.
    voxels : int
        Most that a tile may have, halo included. Where not even the smallest fits, it is the smallest.

    Raises
    ------
    ConfigError
        If the tile does not fit the network, or its halo cannot be smaller.
    """
    if config.tile and len(config.tile) != network.spatial_dims:
        raise ConfigError(
            f"The tile {config.tile} has {len(config.tile)} size{'s' * (len(config.tile) != 1)} but the model has "
            f"{network.spatial_dims} axes. Give one for each, or none."
        )
    can_blend = network.padding == "same" and bool(smaller_halos(network))
    if config.halo == "blended" and not can_blend:
        raise ConfigError("This model cannot be run with a smaller halo. Leave the halo at 'auto'.")
    if config.halo == "exact" or not can_blend or (config.halo == "auto" and network.spatial_dims == 2):
        return _exact(network, config, region, extent, voxels)
    blended = _blended(network, config, extent, voxels)
    if config.halo == "blended" or (config.tile and _too_small(config.tile, halo(network), alignment(network))):
        return blended
    # of the whole image, so that a part of it is predicted in the same way
    exact = _exact(network, config, [slice(0, n) for n in extent], extent, voxels)
    if exact._cost(network) > _PAYS * blended._cost(network):
        return blended
    return _exact(network, config, region, extent, voxels)


def _exact(network: UNet, config: PredictConfig, region: Sequence[slice], extent: Sequence[int], voxels: int) -> Layout:
    steps, margins = alignment(network), halo(network)
    if config.tile:
        return exact_layout(network, _given_core(config.tile, margins, steps), extent)
    lengths = [-(-s.stop // k) - s.start // k for s, k in zip(region, steps, strict=True)]

    def cost(core: tuple[int, ...]) -> float:
        fits = prod(n + 2 * m for n, m in zip(core, margins, strict=True)) <= voxels
        return operations(network, core, margin=margins) if fits else np.inf

    return exact_layout(network, _cheapest(lengths, steps, steps, cost), extent)


def _blended(network: UNet, config: PredictConfig, extent: Sequence[int], voxels: int) -> Layout:
    """Return the layout with the larger halo, or the smaller one where a tile were mostly halo."""
    steps = alignment(network)
    least = tuple(2 * k for k in steps)
    lengths = [-(-n // k) for n, k in zip(extent, steps, strict=True)]
    one_pass = operations(network, [n * k for n, k in zip(lengths, steps, strict=True)], margin=(0,) * len(steps))
    *larger, smallest = smaller_halos(network)
    for halos in (*larger, smallest):
        if config.tile:
            if halos != smallest and _too_small(config.tile, halos, least):
                continue
            core = _given_core(config.tile, halos, least)
        else:
            core = _cheapest(lengths, steps, least, partial(_blended_cost, network, extent, halos, voxels))
        layout = blended_layout(network, core, extent, halos)
        if layout._cost(network) <= _MOSTLY_HALO * one_pass:
            break
    return layout


def _blended_cost(
    network: UNet, extent: Sequence[int], halos: Sequence[int], voxels: int, core: tuple[int, ...]
) -> float:
    layout = blended_layout(network, core, extent, halos)
    fits = prod(n + 2 * h for n, h in zip(layout.core, halos, strict=True)) <= voxels
    return layout.operations(network, layout.output) if fits else np.inf


def _cheapest(
    lengths: Sequence[int], steps: tuple[int, ...], least: tuple[int, ...], cost: Callable[[tuple[int, ...]], float]
) -> tuple[int, ...]:
    """Return the core that covers so many steps with the fewest operations; the least one where none can be had."""
    best, lowest = least, np.inf
    for counts in product(*(_counts(n, _CHOICES[len(steps)]) for n in lengths)):
        core = tuple(-(-n // c) * k for n, c, k in zip(lengths, counts, steps, strict=True))
        if any(n < low and c > 1 for n, low, c in zip(core, least, counts, strict=True)):
            continue
        total = prod(counts) * (cost(core) + _OVERHEAD)
        if total < lowest:
            best, lowest = core, total
    return best


def _given_core(tile: Sequence[int], margins: Sequence[int], least: Sequence[int]) -> tuple[int, ...]:
    """Return the core of a tile that the user chose.

    Raises
    ------
    ConfigError
        If nothing is left of it but halo.
    """
    if _too_small(tile, margins, least):
        fitting = tuple(low + 2 * margin for low, margin in zip(least, margins, strict=True))
        raise ConfigError(f"The tile {tuple(tile)} is smaller than its halo. Use at least {fitting}.")
    return tuple(n - 2 * margin for n, margin in zip(tile, margins, strict=True))


def _too_small(tile: Sequence[int], margins: Sequence[int], least: Sequence[int]) -> bool:
    return any(n - 2 * margin < low for n, margin, low in zip(tile, margins, least, strict=True))


def _evened(core: Sequence[int], extent: Sequence[int], steps: Sequence[int]) -> tuple[int, ...]:
    """Return cores that cover the image with as many tiles or fewer, none of which is nearly empty.

    None is so small that three tiles meet along an axis.
    """
    even = []
    for n, wanted, k in zip(extent, core, steps, strict=True):
        count = -(-n // max(k, wanted // k * k))
        size = max(2 * k, -(-n // (count * k)) * k)
        even.append(min(size, -(-n // k) * k))
    return tuple(even)


def _counts(length: int, choices: int) -> list[int]:
    """Return into how many tiles an axis of so many steps may be cut, from one to one for each step."""
    return sorted({int(-(-length // size)) for size in np.geomspace(1, length, choices).round().astype(int)})

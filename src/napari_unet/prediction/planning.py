"""Which tiles: as large as memory and patience allow, and so that little is computed twice."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.errors import ConfigError
from napari_unet.network import alignment, halo, operations, valid_input_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.network import UNet

__all__ = ["given_core", "input_size", "plan_core"]

_CHOICES = {2: 40, 3: 12}
"""Numbers of tiles per axis that are compared, for planes and for volumes."""

_OVERHEAD = 2e8
"""What starting a tile costs, in multiplications."""


def input_size(network: UNet, core: Sequence[int]) -> tuple[int, ...]:
    """Return what the network has to see to predict a core."""
    return valid_input_size(network, tuple(n + 2 * margin for n, margin in zip(core, halo(network), strict=True)))


def given_core(network: UNet, tile: Sequence[int]) -> tuple[int, ...]:
    """Return the core of a tile that the user chose.

    Raises
    ------
    ConfigError
        If it does not fit the network.
    """
    steps, margins = alignment(network), halo(network)
    if len(tile) != network.spatial_dims:
        raise ConfigError(f"The tile {tile} has {len(tile)} sizes but the model has {network.spatial_dims} axes.")
    given = tuple(n - 2 * margin for n, margin in zip(tile, margins, strict=True))
    if any(n < step for n, step in zip(given, steps, strict=True)):
        least = tuple(step + 2 * margin for step, margin in zip(steps, margins, strict=True))
        raise ConfigError(f"The tile {tile} is smaller than its halo. Use at least {least}.")
    return given


def plan_core(network: UNet, region: Sequence[slice], voxels: int) -> tuple[int, ...]:
    """Return the size of cores that predicts a region with the fewest operations.

    Parameters
    ----------
    network : UNet
    region : sequence of slice
    voxels : int
        Most that a tile may have, halo included. Where not even the smallest fits, it is the smallest.
    """
    steps, margins = alignment(network), halo(network)
    lengths = [-(-s.stop // k) - s.start // k for s, k in zip(region, steps, strict=True)]
    best, least = tuple(steps), np.inf
    for counts in product(*(_counts(n, _CHOICES[network.spatial_dims]) for n in lengths)):
        core = tuple(-(-n // c) * k for n, c, k in zip(lengths, counts, steps, strict=True))
        if prod(n + 2 * m for n, m in zip(core, margins, strict=True)) > voxels:
            continue
        cost = prod(counts) * (operations(network, core, margin=margins) + _OVERHEAD)
        if cost < least:
            best, least = core, cost
    return best


def _counts(length: int, choices: int) -> list[int]:
    """Return into how many tiles an axis of so many steps may be cut, from one to one for each step."""
    return sorted({int(-(-length // size)) for size in np.geomspace(1, length, choices).round().astype(int)})

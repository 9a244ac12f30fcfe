"""How far a network sees, and on which grid it is shift-equivariant: its arithmetic, computed from it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.network.unet import UNet

__all__ = ["alignment", "halo", "needed_regions", "operations", "receptive_radius", "valid_input_size"]


def alignment(network: UNet) -> tuple[int, ...]:
    """Return per axis the product of the poolings: shifts by it shift the output, no others do."""
    return tuple(
        prod(network.pooling(level)[axis] for level in range(network.depth)) for axis in range(network.spatial_dims)
    )


def receptive_radius(network: UNet) -> tuple[int, ...]:
    """Return per axis the distance to the farthest input voxel that any output voxel depends on.

    How far an output reaches depends on where it lies on the pooling grid; this is the largest over the grid.
    Walks the network backwards from one output voxel with intervals: a 3-convolution widens by one on each
    side, a pooling maps ``[a, b]`` to ``[2a, 2b + 1]``, an up-convolution to ``[a // 2, b // 2]``.
    """
    return tuple(
        max(
            max(position - low, high - position)
            for position, (low, high) in enumerate(_input_intervals(network, axis, step))
        )
        for axis, step in enumerate(alignment(network))
    )


def halo(network: UNet) -> tuple[int, ...]:
    """Return per axis the context that a tile needs on each side of a core that starts and ends on the grid.

    "same" networks: how far the outputs of a grid cell reach beyond the cell, rounded up to the alignment so
    that tiles start on the grid. "valid" networks: exactly what the convolutions cut off.
    """
    if network.padding == "valid":
        return tuple(_valid_margin(network, axis) for axis in range(network.spatial_dims))
    return tuple(
        -(-max(max(-low, high - step + 1) for low, high in _input_intervals(network, axis, step)) // step) * step
        for axis, step in enumerate(alignment(network))
    )


def valid_input_size(network: UNet, at_least: tuple[int, ...]) -> tuple[int, ...]:
    """Return the smallest input size per axis, `at_least` as large, that fits the network's poolings."""
    return tuple(_fit(network, axis, n) for axis, n in enumerate(at_least))


def needed_regions(
    network: UNet, size: Sequence[int], core: Sequence[slice]
) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Return what the expanding path has to compute so that the output is right on a core, level by level.

    The halo is context for the deepest levels; near the output almost nothing of it is needed any more.

    Parameters
    ----------
    network : UNet
        With "same" padding.
    size : sequence of int
        Input size per axis, a multiple of the alignment.
    core : sequence of slice
        Which part of the output is wanted, per axis.

    Returns
    -------
    list of (joined, output)
        For each level, the deepest last: the part on which the skip and the features from below are joined, and the
        part of the block's output that is used above. On the deepest level both are the same.
    """
    regions = []
    output, length = tuple(core), tuple(size)
    for level in range(network.depth):
        kernel, pooling = network.kernel(level), network.pooling(level)
        below = tuple(
            slice(max(0, part.start - k // 2 * 2) // f, -(-min(n, part.stop + k // 2 * 2) // f))
            for part, n, k, f in zip(output, length, kernel, pooling, strict=True)
        )
        joined = tuple(slice(part.start * f, part.stop * f) for part, f in zip(below, pooling, strict=True))
        regions.append((joined, output))
        output, length = below, tuple(n // f for n, f in zip(length, pooling, strict=True))
    return [*regions, (output, output)]


def operations(network: UNet, core: Sequence[int], *, margin: Sequence[int] | None = None) -> float:
    """Return the multiplications of one forward pass that predicts a core, its halo included.

    Parameters
    ----------
    network : UNet
    core : sequence of int
        Size per axis, a multiple of the alignment.
    margin : sequence of int, optional
        Context on each side. None: the halo; zeros: one pass over an image of that size.
    """
    margins = halo(network) if margin is None else tuple(margin)
    inner = tuple(slice(m, m + n) for m, n in zip(margins, core, strict=True))
    length = tuple(n + 2 * m for n, m in zip(core, margins, strict=True))
    total = 0.0
    for level, (joined, _) in enumerate(needed_regions(network, length, inner)):
        features, taps = network.features[level], prod(network.kernel(level))
        before = network.in_channels if level == 0 else network.features[level - 1]
        total += prod(length) * taps * features * (before + features)
        if level < network.depth:
            voxels = prod(part.stop - part.start for part in joined)
            total += voxels * features * (taps * 3 * features + network.features[level + 1])
            length = tuple(n // f for n, f in zip(length, network.pooling(level), strict=True))
    return total


def _fit(network: UNet, axis: int, at_least: int) -> int:
    """Return the smallest size that leaves whole numbers at every pooling and one output voxel at least."""
    cut = margin = 0  # what the convolutions cut off: above the last pooling, and on each side in all
    scale = 1
    if network.padding == "valid":
        margin = _valid_margin(network, axis)
        for level in range(network.depth):
            cut += 2 * (network.kernel(level)[axis] - 1) * scale
            scale *= network.pooling(level)[axis]
    step = alignment(network)[axis]
    least = max(at_least, 2 * margin + 1)
    return cut + -(-(least - cut) // step) * step


def _valid_margin(network: UNet, axis: int) -> int:
    cut = 0  # in voxels of the finest level, both sides together
    scale = 1
    for level in range(network.depth + 1):
        blocks = 1 if level == network.depth else 2
        cut += blocks * 2 * (network.kernel(level)[axis] - 1) * scale
        if level < network.depth:
            scale *= network.pooling(level)[axis]
    return cut // 2


def _input_intervals(network: UNet, axis: int, step: int) -> list[tuple[int, int]]:
    """Return the interval of inputs that each output of the grid cell ``0..step-1`` depends on."""

    def widen(level: int, interval: tuple[int, int]) -> tuple[int, int]:
        reach = 2 * (network.kernel(level)[axis] // 2)
        return interval[0] - reach, interval[1] + reach

    def contracting(level: int, interval: tuple[int, int]) -> tuple[int, int]:
        low, high = widen(level, interval)
        if level == 0:
            return low, high
        factor = network.pooling(level - 1)[axis]
        return contracting(level - 1, (low * factor, high * factor + factor - 1))

    def expanding(level: int, interval: tuple[int, int]) -> tuple[int, int]:
        if level == network.depth:
            return contracting(level, interval)
        low, high = widen(level, interval)
        factor = network.pooling(level)[axis]
        through_skip = contracting(level, (low, high))
        from_below = expanding(level + 1, (low // factor, high // factor))
        return min(through_skip[0], from_below[0]), max(through_skip[1], from_below[1])

    return [expanding(0, (position, position)) for position in range(step)]

"""The arithmetic of the network against the network itself.

All weights are 1 and all inputs positive, so nothing is hidden: a larger input voxel moves every output that depends
on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_unet import UNet
from napari_unet.errors import PredictionError
from napari_unet.network import alignment, halo, receptive_radius, valid_input_size

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "depth 0": {"features": (1,)},
    "depth 1": {"features": (1, 1)},
    "depth 2": {"features": (1, 1, 1)},
    "depth 3": {"features": (1, 1, 1, 1)},
    "valid depth 1": {"features": (1, 1), "padding": "valid"},
    "valid depth 2": {"features": (1, 1, 1), "padding": "valid"},
    "3-D": {"spatial_dims": 3, "features": (1, 1)},
    "3-D flat 1": {"spatial_dims": 3, "features": (1, 1, 1), "flat_levels": 1},
    "3-D flat all": {"spatial_dims": 3, "features": (1, 1), "flat_levels": 2},
    "3-D valid flat 1": {"spatial_dims": 3, "features": (1, 1), "padding": "valid", "flat_levels": 1},
}


def open_network(arguments: dict[str, Any]) -> UNet:
    network = UNet(out_channels=1, norm="none", **arguments).double().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    return network


@torch.no_grad()
def reach(network: UNet, axis: int) -> list[tuple[int, int]]:
    """Return for each input position of a grid cell how far away the first and the last output lie that it moves."""
    step, radius = alignment(network)[axis], receptive_radius(network)[axis]
    margin = halo(network)[axis] if network.padding == "valid" else 0
    wanted = [1] * network.spatial_dims
    wanted[axis] = 2 * (margin + radius) + 5 * step + 8
    size = valid_input_size(network, tuple(wanted))
    base = torch.rand((1, 1, *size), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 1
    before = network(base)
    found = []
    middle = size[axis] // 2 // step * step
    for position in range(middle, middle + step):
        moved = base.clone()
        moved.select(axis + 2, position)[...] += 1e6
        others = tuple(a for a in range(before.ndim) if a != axis + 2)
        changed = ((network(moved) - before).abs() > 1).sum(others).nonzero().ravel() + margin - position
        found.append((int(changed.min()), int(changed.max())))
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_radius_is_what_the_network_sees(name: str) -> None:
    network = open_network(ARCHITECTURES[name])
    for axis, radius in enumerate(receptive_radius(network)):
        extents = reach(network, axis)
        assert max(max(-low, high) for low, high in extents) == radius


@pytest.mark.parametrize("name", [name for name, a in ARCHITECTURES.items() if a.get("padding") != "valid"])
def test_halo_is_the_smallest_that_holds_all_context(name: str) -> None:
    network = open_network(ARCHITECTURES[name])
    for axis, (margin, step) in enumerate(zip(halo(network), alignment(network), strict=True)):
        # an input at `position` of its cell moves outputs from position + low to position + high: how far from
        # the cell of those outputs does it lie?
        needed = 0
        for position, (low, high) in enumerate(reach(network, axis)):
            first_cell, last_cell = (position + low) // step, (position + high) // step
            needed = max(needed, position - (first_cell * step + step - 1), last_cell * step - position)
        assert margin % step == 0
        assert margin - step < needed <= margin


def test_numbers_of_the_papers_network() -> None:
    with torch.device("meta"):
        network = UNet.ronneberger2015()
    assert alignment(network) == (16, 16)
    assert halo(network) == (92, 92)
    assert valid_input_size(network, (572, 500)) == (572, 508)


@pytest.mark.parametrize("name", ["depth 1", "depth 2", "3-D flat 1"])
@torch.no_grad()
def test_shift_by_the_alignment_shifts_the_output_and_by_less_does_not(name: str) -> None:
    torch.manual_seed(0)
    network = UNet(out_channels=1, norm="none", **{**ARCHITECTURES[name], "features": (3,) * 3}).double().eval()
    for axis, step in enumerate(alignment(network)):
        if step == 1:
            continue
        size = [step * 8 if a == axis else 4 * n for a, n in enumerate(alignment(network))]
        size[axis] += 2 * halo(network)[axis]
        x = torch.randn(1, 1, *size, dtype=torch.float64)
        inner = slice(halo(network)[axis] + step, -halo(network)[axis] - step)

        def difference(by: int, x: torch.Tensor = x, axis: int = axis, inner: slice = inner) -> float:
            shifted = torch.roll(network(torch.roll(x, by, axis + 2)), -by, axis + 2)
            return float((shifted - network(x)).movedim(axis + 2, 0)[inner].abs().max())

        assert difference(step) < 1e-12
        assert difference(step // 2) > 1e-3


@given(
    depth=st.integers(0, 4),
    padding=st.sampled_from(["same", "valid"]),
    flat=st.integers(0, 3),
    at_least=st.tuples(st.integers(1, 150), st.integers(1, 150), st.integers(1, 150)),
)
def test_valid_input_size_is_the_smallest_that_the_network_takes(
    depth: int, padding: Any, flat: int, at_least: tuple[int, int, int]
) -> None:
    with torch.device("meta"):
        network = UNet(3, features=(1,) * (depth + 1), padding=padding, norm="none", flat_levels=flat)
    size = valid_input_size(network, at_least)
    y = network(torch.empty(1, 1, *size, device="meta"))
    margin = halo(network) if padding == "valid" else (0, 0, 0)
    assert y.shape[2:] == tuple(n - 2 * m for n, m in zip(size, margin, strict=True))
    assert min(y.shape) > 0
    assert all(n >= least for n, least in zip(size, at_least, strict=True))
    # one grid step less is too small for what was asked, or for the network
    for axis, step in enumerate(alignment(network)):
        less = np.array(size)
        less[axis] -= step
        if less[axis] >= at_least[axis]:
            with pytest.raises(PredictionError):
                network(torch.empty(1, 1, *less, device="meta"))

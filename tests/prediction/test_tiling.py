"""Mirroring, the plan of the tiles, and that tiled and untiled are the same function."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_unet import PredictConfig, UNet
from napari_unet.network import alignment, halo, valid_input_size
from napari_unet.prediction import tiled_forward
from napari_unet.prediction.tiling import Tile, cut_tile, mirror_index, plan_tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "plane": {"features": (3, 4, 5)},
    "plane, shallow": {"features": (3, 4)},
    "plane, without norm": {"features": (3, 4), "norm": "none"},
    "plane, valid": {"features": (3, 4), "padding": "valid", "norm": "none"},
    "volume": {"spatial_dims": 3, "features": (2, 3)},
    "volume, flat": {"spatial_dims": 3, "features": (2, 3, 3), "flat_levels": 1},
    "volume, valid": {"spatial_dims": 3, "features": (2, 3), "padding": "valid", "norm": "none"},
}


def random_network(name: str) -> UNet:
    """Return a float64 network whose every weight matters: all positive, so that nothing cancels or is cut off."""
    generator = torch.Generator().manual_seed(3)
    network = UNet(in_channels=2, out_channels=3, **ARCHITECTURES[name]).double().eval()
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                fan_in = tensor[0].numel() if "weight" in key and tensor.ndim > 1 else 1
                values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.1
                tensor.copy_(values / fan_in**0.5)
    return network


NETWORKS = {name: random_network(name) for name in ARCHITECTURES}


@torch.no_grad()
def untiled(network: UNet, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what one pass over the mirrored image gives; mirrored by NumPy, wider than it needs to be."""
    margins = halo(network)
    extra = alignment(network)
    sides, size = [], image.shape[1:]
    for axis, n in enumerate(size):
        before = margins[axis] + extra[axis]
        total = valid_input_size(network, tuple(m + 2 * (margins[axis] + extra[axis]) for m in size))[axis]
        sides.append((before, total - before - n))
    mirrored = np.pad(image, [(0, 0), *sides], mode="reflect")
    output = network(torch.from_numpy(mirrored)[None])[0].numpy()
    cut = margins if network.padding == "valid" else (0,) * len(size)
    inner = tuple(slice(side[0] - c, side[0] - c + n) for side, c, n in zip(sides, cut, size, strict=True))
    return np.asarray(output[(slice(None), *inner)])


@given(start=st.integers(-200, 200), length=st.integers(0, 100), n=st.integers(1, 40))
def test_mirror_index_continues_the_axis_as_numpy_does(start: int, length: int, n: int) -> None:
    index = mirror_index(start, start + length, n)
    assert len(index) == length
    before, after = max(0, -start), max(0, start + length - n)
    padded = np.pad(np.arange(n), (before, after), mode="reflect")
    np.testing.assert_array_equal(index, padded[start + before : start + before + length])


@given(n=st.integers(2, 50), start=st.integers(-200, 200))
def test_mirror_index_never_repeats_the_edge(n: int, start: int) -> None:
    index = mirror_index(start, start + 3 * n, n)
    assert set(index) == set(range(n))
    assert set(np.abs(np.diff(index))) == {1}


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[slice], list[int], list[int]]:
    dims = draw(st.integers(1, 3))
    starts = [draw(st.integers(0, 90)) for _ in range(dims)]
    region = [slice(start, start + draw(st.integers(1, 70))) for start in starts]
    alignments = [draw(st.sampled_from([1, 2, 4, 8, 16])) for _ in range(dims)]
    return region, [draw(st.integers(1, 80)) for _ in range(dims)], alignments


@given(plans())
def test_tiles_cover_every_voxel_of_the_region_once(plan: tuple[list[slice], list[int], list[int]]) -> None:
    region, most, steps = plan
    tiles = plan_tiles(region, most, steps)
    covered = np.zeros([s.stop for s in region], int)
    for tile in tiles:
        covered[tile.keep] += 1
        assert tile.core == tiles[0].core, "a batch is made of tiles of one size"
        for start, core, keep, step, limit in zip(tile.start, tile.core, tile.keep, steps, most, strict=True):
            assert start % step == core % step == 0
            assert core <= max(limit, step)
            assert start <= keep.start < keep.stop <= start + core
    inside = np.zeros_like(covered)
    inside[tuple(region)] = 1
    np.testing.assert_array_equal(covered, inside)


def test_tile_knows_where_the_kept_part_lies_in_its_core() -> None:
    tile = plan_tiles([slice(5, 40)], [16], [8])[0]
    assert (tile.start, tile.core, tile.keep, tile.from_core) == ((0,), (16,), (slice(5, 16),), (slice(5, 16),))


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    start=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    margin=st.integers(0, 20),
)
def test_cut_tile_is_a_window_of_the_mirrored_image(
    shape: tuple[int, int], start: tuple[int, int], margin: int
) -> None:
    image = np.arange(2 * shape[0] * shape[1]).reshape(2, *shape)
    core = (4, 8)
    cut = cut_tile(image, Tile((4 * start[0], 8 * start[1]), core, (slice(0, 1),) * 2), (margin, margin))
    wide = np.pad(image, [(0, 0), (margin, 40 + margin), (margin, 40 + margin)], mode="reflect")
    y, x = 4 * start[0], 8 * start[1]
    np.testing.assert_array_equal(cut, wide[:, y : y + 4 + 2 * margin, x : x + 8 + 2 * margin])


@st.composite
def tilings(draw: st.DrawFn, dims: int) -> tuple[str, tuple[int, ...], PredictConfig, int]:
    name = draw(st.sampled_from([name for name in ARCHITECTURES if NETWORKS[name].spatial_dims == dims]))
    network = NETWORKS[name]
    longest = 45 if dims == 2 else 14
    primes = [n for n in (1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43) if n <= longest]
    size = st.one_of(st.integers(1, longest), st.sampled_from(primes))
    shape = tuple(draw(size) for _ in range(dims))
    tile = tuple(
        2 * margin + step * draw(st.integers(1, 3)) + draw(st.integers(0, 1))
        for margin, step in zip(halo(network), alignment(network), strict=True)
    )
    config = PredictConfig(tile=tile, halo="exact", batch=draw(st.integers(1, 4)), device="cpu", precision="float32")
    return name, shape, config, draw(st.integers(0, 100))


def check_seams(tiling: tuple[str, tuple[int, ...], PredictConfig, int]) -> None:
    name, shape, config, seed = tiling
    network = NETWORKS[name]
    image = np.random.default_rng(seed).normal(size=(2, *shape))
    expected = untiled(network, image)
    tiled = tiled_forward(image, network, config=config)
    assert tiled.dtype == np.float64
    assert tiled.shape == expected.shape
    assert np.abs(tiled - expected).max() <= 1e-10 * max(np.ptp(expected), 1e-3)


@settings(max_examples=40)
@given(tilings(dims=2))
def test_tiled_planes_are_the_untiled_ones(tiling: tuple[str, tuple[int, ...], PredictConfig, int]) -> None:
    check_seams(tiling)


@settings(max_examples=25)
@given(tilings(dims=3))
def test_tiled_volumes_are_the_untiled_ones(tiling: tuple[str, tuple[int, ...], PredictConfig, int]) -> None:
    check_seams(tiling)


@pytest.mark.parametrize("name", ["plane", "plane, shallow", "volume, flat"])
def test_halo_one_alignment_step_too_short_shows_seams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS[name]
    steps, full = alignment(network), halo(network)
    image = np.random.default_rng(0).random((2, *(4 * step for step in steps)))
    expected = untiled(network, image)
    core = tuple(2 * step for step in steps)

    def error(margins: tuple[int, ...]) -> float:
        monkeypatch.setattr(importlib.import_module("napari_unet.prediction.planning"), "halo", lambda _: margins)
        tile = tuple(n + 2 * margin for n, margin in zip(core, margins, strict=True))
        tiled = tiled_forward(
            image, network, config=PredictConfig(tile=tile, halo="exact", device="cpu", precision="float32")
        )
        return float(np.abs(tiled - expected).max() / np.ptp(expected))

    assert error(full) <= 1e-10
    for axis in range(len(full)):
        shorter = tuple(m - step * (a == axis) for a, (m, step) in enumerate(zip(full, steps, strict=True)))
        assert error(shorter) > 1e-7


@settings(max_examples=20)
@given(tiling=tilings(dims=2))
def test_single_precision_differs_by_rounding_only(tiling: tuple[str, tuple[int, ...], PredictConfig, int]) -> None:
    name, shape, config, seed = tiling
    assume("valid" not in name)
    network = NETWORKS[name]
    image = np.random.default_rng(seed).normal(size=(2, *shape))
    expected = untiled(network, image)
    single = UNet(in_channels=2, out_channels=3, **ARCHITECTURES[name]).eval()
    single.load_state_dict(network.state_dict())
    tiled = tiled_forward(image.astype(np.float32), single, config=config)
    assert tiled.dtype == np.float32
    assert np.abs(tiled - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_tiles_planned_from_the_memory_give_the_same() -> None:
    network = NETWORKS["plane"]
    image = np.random.default_rng(0).normal(size=(2, 37, 101))
    tiled = tiled_forward(image, network, config=PredictConfig(device="cpu", precision="float32"))
    np.testing.assert_allclose(tiled, untiled(network, image), rtol=1e-10)


@settings(max_examples=15)
@given(tiling=st.one_of(tilings(dims=2), tilings(dims=3)))
def test_average_over_flips_and_turns_has_no_seams(tiling: tuple[str, tuple[int, ...], PredictConfig, int]) -> None:
    name, shape, config, seed = tiling
    network = NETWORKS[name]
    steps = alignment(network)
    shape = tuple(-(-n // step) * step for n, step in zip(shape, steps, strict=True))  # all orientations on one grid
    image = np.random.default_rng(seed).normal(size=(2, *shape))
    expected = np.zeros((3, *shape))
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(image, turns, (-2, -1))
            output = untiled_symmetric(network, np.flip(turned, -1) if mirrored else turned)
            expected += np.rot90(np.flip(output, -1) if mirrored else output, -turns, (-2, -1)) / 8
    tiled = tiled_forward(image, network, config=config.model_copy(update={"average": True}))
    assert np.abs(tiled - expected).max() <= 1e-10 * max(np.ptp(expected), 1e-3)


def untiled_symmetric(network: UNet, image: NDArray[np.float64]) -> NDArray[np.float64]:
    return untiled(network, np.ascontiguousarray(image))

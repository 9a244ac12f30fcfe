"""Tiles with a smaller halo that overlap: weights, what they leave of a map, and that nothing depends on the order."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet import Model, PredictConfig, UNet, iter_predict, predict
from napari_unet.errors import ConfigError, PredictionError
from napari_unet.events import Notice, TileDone
from napari_unet.network import alignment
from napari_unet.prediction import estimate, tiled_forward
from napari_unet.prediction.blending import Blend, weights
from napari_unet.prediction.planning import Layout, blended_layout, plan_layout, smaller_halos
from napari_unet.prediction.runner import TileRunner

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Make = Callable[..., Model]
workspace = importlib.import_module("napari_unet.prediction.workspace")
BLENDED = PredictConfig(device="cpu", precision="float32", halo="blended", min_size=0, batch=1)
SMALL = {"spatial_dims": 3, "features": (3, 4, 4), "flat_levels": 1}


def network_of(**arguments: Any) -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet(**{"spatial_dims": 3, "features": (2, 3, 3), **arguments}).double().eval()


def least_tile(network: UNet, more: int = 0, share: int = -1) -> tuple[int, ...]:
    """Return the smallest tile that can be blended, larger by so many steps."""
    pairs = zip(smaller_halos(network)[share], alignment(network), strict=True)
    return tuple(2 * h + (2 + more) * k for h, k in pairs)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Layout, list[slice]]:
    network = network_of(
        spatial_dims=draw(st.sampled_from([2, 3])),
        features=(2,) * draw(st.integers(2, 4)),
        flat_levels=draw(st.integers(0, 1)),
    )
    dims = network.spatial_dims
    extent = [draw(st.integers(1, 150 if dims == 2 else 60)) for _ in range(dims)]
    core = [draw(st.integers(1, 80)) for _ in range(dims)]
    region = []
    for n in extent:
        start = draw(st.integers(0, n - 1))
        region.append(slice(start, draw(st.integers(start + 1, n))))
    halos = draw(st.sampled_from(smaller_halos(network)))
    return blended_layout(network, core, extent, halos), region


@given(layouts())
def test_weights_sum_to_one_everywhere(plan: tuple[Layout, list[slice]]) -> None:
    layout, region = plan
    total = np.zeros(layout.extent)
    for tile in layout.tiles(region):
        along = list(weights(tile, layout))
        assert all((ramp >= 0).all() and (ramp <= 1).all() for ramp in along)
        product = along[0]
        for ramp in along[1:]:
            product = np.multiply.outer(product, ramp)
        total[tile.keep] += product
    np.testing.assert_allclose(total[tuple(region)], 1, rtol=1e-12)
    outside = np.ones(layout.extent, bool)
    outside[tuple(region)] = False
    assert not total[outside].any()


@given(layouts())
def test_layout_of_a_layout_is_the_same(plan: tuple[Layout, list[slice]]) -> None:
    layout, _ = plan
    assert all(n % k == 0 for n, k in zip(layout.core, layout.steps, strict=True))
    assert all(n >= 2 * over for n, over in zip(layout.core, layout.overlap, strict=True))


@settings(max_examples=60)
@given(plan=layouts(), part=st.floats(0, 1), on_disk=st.booleans())
def test_every_place_is_written_once_and_what_was_done_is_not_written_again(
    plan: tuple[Layout, list[slice]], part: float, on_disk: bool, tmp_path: Path
) -> None:
    layout, region = plan
    truth = torch.from_numpy(np.random.default_rng(0).random((2, *layout.extent)))
    tiles = layout.tiles(region)
    skipped = int(part * len(tiles))
    written = np.zeros(layout.extent, int)
    result = np.full(truth.shape, np.nan)

    def write(place: tuple[slice, ...], values: torch.Tensor) -> None:
        written[place] += 1
        result[(slice(None), *place)] = values.numpy()

    folder = tmp_path if on_disk else None
    first = Blend(layout, write, folder)
    for tile in tiles[:skipped]:
        first.add(tile, truth[(slice(None), *tile.keep)])
    second = Blend(layout, write, folder)
    again = second.skip(tiles[:skipped], tiles[skipped:])
    for tile in [*again, *tiles[skipped:]]:
        second.add(tile, truth[(slice(None), *tile.keep)])

    inside = np.zeros(layout.extent, int)
    inside[tuple(region)] = 1
    np.testing.assert_array_equal(written, inside)
    where = (slice(None), *region)
    np.testing.assert_allclose(result[where], truth[where].numpy(), rtol=1e-12)
    assert not list(tmp_path.iterdir())


def sizes(dims: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(1, 70 if dims == 2 else 26)] * dims)


@settings(max_examples=12)
@given(shape=sizes(3), more=st.integers(0, 2))
def test_constant_network_gives_constant_maps(shape: tuple[int, ...], more: int) -> None:
    network = network_of(out_channels=3)
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.copy_(torch.tensor([-2.0, 0.5, 3.0]))
    image = np.random.default_rng(0).random((1, *shape))
    config = BLENDED.model_copy(update={"tile": least_tile(network, more), "batch": 2})
    maps = tiled_forward(image, network, config=config)
    np.testing.assert_allclose(maps, np.broadcast_to([[[[-2]]], [[[0.5]]], [[[3]]]], maps.shape), rtol=1e-12)


@settings(max_examples=12)
@given(data=st.data(), dims=st.sampled_from([2, 3]), average=st.booleans())
def test_network_that_looks_at_single_voxels_is_exact(data: st.DataObject, dims: int, average: bool) -> None:
    network = network_of(spatial_dims=dims, norm="none", out_channels=1)
    centre = (1,) * dims
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for convolution, source in ((network.contracting[0], 0), (network.expanding[0], 0)):
            for layer in (convolution[0], convolution[2]):
                layer.weight[(0, source, *centre)] = 1
        network.head.weight[0, 0] = 1
    image = np.random.default_rng(0).random((1, *data.draw(sizes(dims))))
    config = BLENDED.model_copy(update={"tile": least_tile(network), "average": average})
    np.testing.assert_allclose(tiled_forward(image, network, config=config), image, rtol=1e-12)


def test_blended_is_near_the_exact_and_cheaper() -> None:
    network = network_of(features=(3, 4, 5), norm="batch")
    image = np.random.default_rng(0).random((1, 30, 48, 44))
    exact = tiled_forward(image, network, config=PredictConfig(device="cpu", halo="exact", precision="float32"))
    tile = least_tile(network, 4)
    blended = tiled_forward(image, network, config=BLENDED.model_copy(update={"tile": tile}))
    difference = np.abs(blended - exact)
    assert 0 < difference.mean() < 0.25 * exact.std(), "random weights see much farther than learned ones"


def test_fades_from_tile_to_tile_without_a_step() -> None:
    network = network_of(features=(4, 6, 8), norm="none")
    layout = plan_layout(network, BLENDED.model_copy(update={"tile": least_tile(network, 2)}),
                         [slice(0, n) for n in (16, 16, 200)], (16, 16, 200), 10**9)  # fmt: skip
    line = np.zeros(200)
    blend = Blend(layout, lambda place, values: line.__setitem__(place[2], values[0, 0, 0].numpy()))
    for number, tile in enumerate(layout.tiles([slice(0, n) for n in (16, 16, 200)])):
        size = [k.stop - k.start for k in tile.keep]
        blend.add(tile, torch.full((1, *size), float(number % 2), dtype=torch.float64))
    assert {0.0, 1.0} <= set(line)
    assert np.abs(np.diff(line)).max() <= 1 / (2 * layout.overlap[2]) + 1e-12


# as users get it


@pytest.fixture
def stack() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).random((2, 14, 60, 50))
    return np.asarray(ndi.gaussian_filter(noise, (0, 1, 1.5, 1.5)), np.float32)


def small_tiles(model: Model, **changes: Any) -> PredictConfig:
    return BLENDED.model_copy(update={"tile": least_tile(model.network), **changes})


@pytest.mark.parametrize("diameter", [None, 14.0])
def test_view_gets_what_everything_gets_where_the_tiles_are_the_same(
    diameter: float | None, stack: NDArray[Any], tiny_model: Make
) -> None:
    model = tiny_model(network=SMALL, object_diameter_px=10.0)
    for tile in (None, least_tile(model.network)):
        config = BLENDED.model_copy(update={"object_diameter_px": diameter, "tile": tile})
        whole = predict(stack, model, axes="TZYX", config=config, return_maps=True)
        region = {"T": slice(1, 2), "Z": slice(3, 5), "Y": slice(21, 60), "X": slice(13, 31)}
        view = predict(stack, model, axes="TZYX", config=config, return_maps=True, region=region)
        assert whole.provenance["halo"] == view.provenance["halo"] == "blended"
        expected = np.asarray(whole.maps)[1:, :, 3:5, 21:, 13:31]
        np.testing.assert_allclose(np.asarray(view.maps), expected, atol=2e-6)


def test_prediction_on_disk_goes_on_at_the_next_tile(
    stack: NDArray[Any], tiny_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_IN_MEMORY", 0)
    model = tiny_model(network=SMALL)
    config = small_tiles(model, tile=least_tile(model.network, 2))
    expected = predict(stack, model, axes="TZYX", config=config).labels
    assert expected.max() > 3
    out = tmp_path / "labels.zarr"
    seen = 0
    while not out.exists():  # ended again and again, at every ninth tile
        steps = iter_predict(stack, model, axes="TZYX", config=config, out=out)
        for _, event in zip(range(9), steps, strict=False):
            assert isinstance(event, TileDone)
            assert event.done == seen + 1
            seen = event.done
        if seen == event.total:
            list(steps)
        steps.close()
    assert seen == event.total > 20
    np.testing.assert_array_equal(zarr.open_array(out)[:], expected)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.zarr"]


def test_stop_ends_it(stack: NDArray[Any], tiny_model: Make) -> None:
    model, stop = tiny_model(network=SMALL), threading.Event()
    steps = iter_predict(stack, model, axes="TZYX", config=small_tiles(model), stop=stop)
    next(steps)
    stop.set()
    with pytest.raises(PredictionError, match="Stopped"):
        next(steps)


@pytest.mark.parametrize("tiles", [1.0, 0.6])
def test_too_little_memory_gives_smaller_tiles_that_are_blended_too(
    tiles: float, stack: NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = network_of(features=(2, 3, 4))
    image = stack[:1].astype(float)
    config = BLENDED.model_copy(update={"tile": least_tile(network, 6)})
    expected = tiled_forward(image, network, config=config)
    forward, limit, asked = UNet.forward, int(tiles * np.prod(least_tile(network, 4))), []

    def limited(self: UNet, x: torch.Tensor, core: Any = None) -> torch.Tensor:
        asked.append(x.numel())
        if x.numel() > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x, core)

    monkeypatch.setattr(UNet, "forward", limited)
    maps = np.full_like(expected, np.nan)

    def write(where: tuple[slice, ...], values: torch.Tensor) -> None:
        place: tuple[Any, ...] = (slice(None), *where)
        assert np.isnan(maps[place]).all(), "a voxel is predicted twice"
        maps[place] = values.numpy()

    runner = TileRunner(network, config, [slice(0, n) for n in image.shape[1:]])
    notices = [notice for notice in runner.run(image, write) if notice is not None]
    assert len(notices) == 1
    assert sum(n > limit for n in asked) < 5
    assert 0 < np.abs(maps - expected).mean() < 0.5 * expected.std()


def test_auto_blends_volumes_where_exact_does_not_pay_and_says_so(tiny_model: Make) -> None:
    image = np.random.default_rng(0).random((1, 20, 40, 40))
    deep = tiny_model(network={"spatial_dims": 3, "features": (2, 2, 2, 2)})
    auto = PredictConfig(device="cpu", precision="float32")
    events = list(iter_predict(image[0], deep, axes="ZYX", config=auto))
    assert isinstance(events[0], Notice)
    assert "'exact'" in events[0].message
    exact = auto.model_copy(update={"halo": "exact"})
    made = predict(image[0], deep, axes="ZYX", config=auto).provenance
    assert (made["halo"], made["tile"] < predict(image[0], deep, axes="ZYX", config=exact).provenance["tile"]) == (
        "blended", True,
    )  # fmt: skip
    asked_for = list(iter_predict(image[0], deep, axes="ZYX", config=auto.model_copy(update={"halo": "blended"})))
    assert not any(isinstance(event, Notice) for event in asked_for), "who asks for it knows"
    times = [estimate((20, 40, 40), deep, config, axes="ZYX").seconds for config in (auto, exact)]
    assert times[0] < times[1] / 1.5, "known before it runs"


def test_auto_is_exact_where_that_costs_little(tiny_model: Make) -> None:
    shallow = tiny_model(network={"spatial_dims": 3, "features": (2, 2)})
    volume = np.zeros((64, 64, 64), np.uint8)
    auto = PredictConfig(device="cpu", precision="float32")
    assert predict(volume, shallow, axes="ZYX", config=auto).provenance["halo"] == "exact"
    plane = predict(volume[0], tiny_model(), config=auto.model_copy(update={"tile": (52, 52)}))
    assert plane.provenance["halo"] == "exact", "planes always"


def test_tile_too_small_for_an_exact_halo_is_blended_in_volumes(tiny_model: Make) -> None:
    model = tiny_model(network=SMALL)
    tile = least_tile(model.network)
    volume = np.random.default_rng(0).random((20, 60, 60))
    made = predict(volume, model, axes="ZYX", config=PredictConfig(device="cpu", tile=tile)).provenance
    assert made["halo"] == "blended"
    assert all(a <= b for a, b in zip(made["tile"], tile, strict=True))
    with pytest.raises(ConfigError, match="at least"):
        predict(volume, model, axes="ZYX", config=PredictConfig(device="cpu", tile=tile, halo="exact"))
    too_small = tuple(n - 1 for n in tile)
    with pytest.raises(ConfigError, match="at least") as caught:
        predict(volume, model, axes="ZYX", config=PredictConfig(device="cpu", tile=too_small))
    assert str(tile) in str(caught.value)


def test_network_without_padding_cannot_be_blended(tiny_model: Make) -> None:
    model = tiny_model(network={"padding": "valid", "norm": "none", "features": (3, 4)})
    with pytest.raises(ConfigError, match="Leave the halo at 'auto'"):
        predict(np.zeros((40, 40)), model, config=BLENDED)

"""What happens when a device has too little memory: smaller batches, smaller tiles, and the same result."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from napari_unet.errors import PredictionError
from napari_unet.events import Notice
from napari_unet.models import Model, ModelSpec, NetworkSpec
from napari_unet.network import UNet
from napari_unet.prediction import PredictConfig, estimate, tiled_forward
from napari_unet.prediction.remember import remember, signature
from napari_unet.prediction.runner import TileRunner

CONFIG = PredictConfig(device="cpu", precision="float32", batch=4, tile=(56, 56))


@pytest.fixture(scope="module")
def network() -> UNet:
    torch.manual_seed(0)
    return UNet(features=(4, 4, 4)).double().eval()


def with_memory_for(voxels: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the network fail above a number of voxels; return the list of what it was asked for."""
    forward, asked = UNet.forward, []

    def limited(self: UNet, x: torch.Tensor, core: Any = None) -> torch.Tensor:
        asked.append(x.numel())
        if x.numel() > voxels:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, x, core)

    monkeypatch.setattr(UNet, "forward", limited)
    return asked


@pytest.mark.parametrize("voxels", [3 * 56 * 56, 56 * 56, 56 * 56 - 1])
def test_goes_on_from_the_tile_where_it_was_with_the_same_result(
    voxels: int, network: UNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).random((1, 61, 47))
    expected = tiled_forward(image, network, config=CONFIG)
    asked = with_memory_for(voxels, monkeypatch)
    maps = np.full_like(expected, np.nan)

    def write(where: tuple[slice, ...], values: torch.Tensor) -> None:
        place: tuple[Any, ...] = (slice(None), *where)
        assert np.isnan(maps[place]).all(), "a voxel is predicted twice"
        maps[place] = values.numpy()

    runner = TileRunner(network, CONFIG, [slice(0, 61), slice(0, 47)])
    notices = list(runner.run(image, write))

    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-10)
    assert sum(isinstance(notice, Notice) for notice in notices) == 1, "it is said once"
    failed = [n for n in asked if n > voxels]
    assert asked[: len(failed)] == failed, "the size that worked is remembered"


def test_nothing_left_to_give_is_an_error_with_advice(network: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    with_memory_for(10, monkeypatch)
    with pytest.raises(Exception, match="Close other programs"):
        tiled_forward(np.zeros((1, 61, 47)), network, config=CONFIG)


def test_size_that_worked_is_remembered_by_the_next_run(network: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).random((1, 200, 190))
    config = PredictConfig(device="cpu", precision="float32")
    asked = with_memory_for(100 * 100, monkeypatch)
    tiled_forward(image, network, config=config)
    assert max(asked) > 100 * 100
    asked.clear()
    notices = list(TileRunner(network, config, [slice(0, 200), slice(0, 190)]).run(image, lambda *_: None))
    assert max(asked) <= 100 * 100
    assert not any(notices), "nothing to tell: it fits"


def test_estimate_knows_the_size_that_worked() -> None:
    spec = ModelSpec(network=NetworkSpec(features=(4, 4, 4)))
    model = Model(spec.build_network(), spec)
    config = PredictConfig(device="cpu", precision="float32")
    key = signature(model.network, torch.device("cpu"), "float32")
    remember(key, work_per_second=1e9)
    large = estimate((900, 900), model, config, axes="YX")
    remember(key, most_voxels=100 * 100)
    assert estimate((900, 900), model, config, axes="YX").seconds > 1.5 * large.seconds


def test_stop_takes_effect_within_a_tile(network: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, layers = threading.Event(), []
    pool = torch.nn.MaxPool2d.forward

    def stopping(self: torch.nn.MaxPool2d, x: torch.Tensor) -> torch.Tensor:
        layers.append(x.shape)
        stop.set()
        return pool(self, x)

    monkeypatch.setattr(torch.nn.MaxPool2d, "forward", stopping)
    runner = TileRunner(network, CONFIG, [slice(0, 61), slice(0, 47)])
    with pytest.raises(PredictionError, match="Stopped"):
        list(runner.run(np.zeros((1, 61, 47)), lambda *_: None, stop))
    assert len(layers) == 1


def test_stop_takes_effect_while_tiles_are_read(network: UNet) -> None:
    stop, read = threading.Event(), []

    class Stored:
        shape = (1, 61, 47)

        def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray[Any, Any]:
            read.append(key)
            stop.set()
            return np.zeros([part.stop - part.start for part in key[1:]])[None]

    runner = TileRunner(network, CONFIG, [slice(0, 61), slice(0, 47)])
    assert runner.batch > 1
    with pytest.raises(PredictionError, match="Stopped"):
        list(runner.run(Stored(), lambda *_: None, stop))
    assert len(read) == 1

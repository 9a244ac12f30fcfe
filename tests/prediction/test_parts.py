"""Long convolutions in parts: the same values, and a stop that need not wait for all of one."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import PredictionError
from napari_unet.network import UNet
from napari_unet.prediction import PredictConfig, parts
from napari_unet.prediction.parts import InParts
from napari_unet.prediction.runner import TileRunner


@given(
    kernel=st.sampled_from([(3, 3), (1, 3, 3), (3, 3, 3), (3, 1)]),
    padded=st.booleans(),
    rows=st.integers(3, 9),
    batch=st.integers(1, 2),
    most=st.integers(1, 5000),
)
def test_parts_give_what_the_whole_gives(
    kernel: tuple[int, ...], padded: bool, rows: int, batch: int, most: int
) -> None:
    torch.manual_seed(0)
    convolve: Any = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[len(kernel)]
    padding = tuple(k // 2 for k in kernel) if padded else 0
    convolution = convolve(2, 3, kernel, padding=padding, dtype=torch.float64)
    x = torch.randn(batch, 2, rows, *(5,) * (len(kernel) - 1), dtype=torch.float64)
    cut = InParts(convolution, lambda: None, most)
    with torch.inference_mode():
        torch.testing.assert_close(cut(x), convolution(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_stop_takes_effect_within_a_long_layer(padding: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_WORK_PER_CORE", 2000)
    network = UNet(features=(4, 4, 4), padding=padding).eval()
    config = PredictConfig(device="cpu", precision="float32", tile=(88, 88))
    stop, cut = threading.Event(), []
    slab = InParts._slab

    def stopping(self: InParts, x: torch.Tensor, first: int, last: int) -> torch.Tensor:
        cut.append((first, last))
        stop.set()
        return slab(self, x, first, last)

    monkeypatch.setattr(InParts, "_slab", stopping)
    runner = TileRunner(network, config, [slice(0, 61), slice(0, 47)])
    with pytest.raises(PredictionError, match="Stopped"):
        list(runner.run(np.zeros((1, 61, 47), np.float32), lambda *_: None, stop))
    assert len(cut) == 1


def test_layers_that_are_short_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InParts, "_slab", None)
    runner = TileRunner(UNet(features=(4, 4, 4)).eval(), PredictConfig(device="cpu"), [slice(0, 61), slice(0, 47)])
    list(runner.run(np.zeros((1, 61, 47), np.float32), lambda *_: None))

"""A stop is noticed wherever a prediction spends its time."""

from __future__ import annotations

import importlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_unet import PredictConfig, Trained, iter_predict
from napari_unet.errors import PredictionError
from napari_unet.models import DecoderSpec
from napari_unet.prediction.instances import decode_blocks
from napari_unet.prediction.linking import link_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

instances = importlib.import_module("napari_unet.prediction.instances")
CPU = PredictConfig(device="cpu", precision="float32")


def stopping(function: Callable[..., Any], stop: threading.Event, calls: list[int]) -> Callable[..., Any]:
    """Return a function that somebody stops while it runs; it notes each call."""

    def run(*arguments: Any) -> Any:
        calls.append(len(calls))
        stop.set()
        return function(*arguments)

    return run


def test_between_two_objects(disc_training: Trained, discs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, calls = threading.Event(), []
    monkeypatch.setattr(instances, "split", stopping(instances.split, stop, calls))
    image = discs((96, 96), 5, count=12)[0]
    with pytest.raises(PredictionError, match="Stopped"):
        list(iter_predict(image, disc_training.model, config=CPU, stop=stop))
    assert calls == [0]


class Watched:
    """An array that is told to stop when it is read; counts how often it is."""

    def __init__(self, array: Any, stop: threading.Event) -> None:
        self.array, self.stop, self.shape, self.reads = array, stop, array.shape, 0

    def __getitem__(self, key: Any) -> Any:
        self.reads += 1
        self.stop.set()
        return self.array[key]

    def __setitem__(self, key: Any, values: Any) -> None:
        self.array[key] = values


@pytest.mark.parametrize("kind", ["seeded_watershed", "components", "argmax"])
def test_between_two_blocks(kind: Any) -> None:
    stop = threading.Event()
    maps = Watched(np.random.default_rng(0).random((3, 40, 40)), stop)
    with pytest.raises(PredictionError, match="Stopped"):
        decode_blocks(maps, DecoderSpec(kind=kind), np.zeros((40, 40), np.int32), (10, 10), stop=stop)
    assert maps.reads == 1


def test_between_two_blocks_that_are_linked() -> None:
    stop = threading.Event()
    planes = [np.random.default_rng(n).integers(0, 5, (40, 40)) for n in range(2)]
    before = Watched(planes[0], stop)
    with pytest.raises(PredictionError, match="Stopped"):
        link_arrays(before, planes[1], (10, 10), min_overlap=0.5, base=0, above=5, stop=stop)
    assert before.reads == 1

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
splitting = importlib.import_module("napari_unet.prediction.splitting")
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


class AsleepError(Exception):
    """Nobody woke it."""


@pytest.mark.parametrize("largest", [2**24, 40 * 40], ids=["whole", "in windows"])
def test_in_the_midst_of_a_component(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    stop, split_on, left_alone = threading.Event(), threading.Event(), threading.Event()

    def endless(*_: Any, **__: Any) -> Any:
        stop.set()
        left_alone.set() if split_on.wait(30) else None
        raise AsleepError

    monkeypatch.setattr(instances, "_LONG", 100)
    monkeypatch.setattr(splitting, "watershed", endless)
    y, x = np.indices((60, 60))
    inward = np.maximum(*(1 - np.hypot(y - 30, x - at) / 30 for at in (18, 42))).clip(0.05, 1)
    maps = np.stack([np.ones((60, 60)), inward, inward])
    with pytest.raises(PredictionError, match="Stopped"):
        decode_blocks(maps, DecoderSpec(), np.zeros((60, 60), np.int32), (60, 60), largest=largest, stop=stop)
    assert not left_alone.is_set(), "the watershed still runs, and nobody waits for it"
    split_on.set()
    assert left_alone.wait(30)


def test_what_goes_wrong_in_a_large_component_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise AsleepError

    monkeypatch.setattr(instances, "_LONG", 100)
    monkeypatch.setattr(instances, "split", fails)
    with pytest.raises(AsleepError):
        decode_blocks(
            np.ones((3, 40, 40)), DecoderSpec(), np.zeros((40, 40), np.int32), (40, 40), stop=threading.Event()
        )


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

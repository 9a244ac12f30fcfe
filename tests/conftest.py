"""What every test gets: no network, few threads, a model library of its own; and small images to work on."""

from __future__ import annotations

import gc
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from napari_unet import Annotated, TrainConfig, Trained, train
from napari_unet.models import Model, ModelSpec, NetworkSpec
from napari_unet.network import valid_input_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("tests")
torch.set_num_threads(1)  # the networks are tiny; on a busy machine more threads wait for each other

os.environ["NAPARI_CONFIG"] = ""  # the settings of the user of this machine are neither read nor written
FROZEN_MODULES = pytest.StashKey[int]()


def pytest_collection_finish() -> None:
    """Leave what was imported out of the collections of garbage from the first test on."""
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Leave what modules hold out of the collections of garbage, for napari makes one whenever a layer goes."""
    if len(sys.modules) > item.session.stash.get(FROZEN_MODULES, 0) + 100:
        gc.collect()
        gc.freeze()
        item.session.stash[FROZEN_MODULES] = len(sys.modules)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may talk to the world; sockets of the machine itself (X11, D-Bus) stay possible."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None):
            raise AssertionError(f"a test wants to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture(scope="session", autouse=True)
def shared_user_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let what is made once for many tests write nothing into the real folder of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_UNET_HOME", str(tmp_path_factory.mktemp("shared user")))
        yield


@pytest.fixture(autouse=True)
def user_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands in for the user's data, with a model library of its own."""
    folder = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("NAPARI_UNET_HOME", str(folder))
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def draw_discs(
    shape: tuple[int, ...], radius: float, *, count: int = 1000, gap: float = 3.0, seed: int = 0
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Return a noisy image of bright discs or balls, and their labels. No two are nearer than `gap`."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    grid = np.indices(shape)
    centres: list[NDArray[Any]] = []
    for _ in range(40 * count):
        centre = np.array([rng.uniform(0, n) for n in shape])
        if len(centres) < count and all(np.linalg.norm(centre - c) >= 2 * radius + gap for c in centres):
            centres.append(centre)
        if len(centres) == count or len(centres) > 4000:
            break
    for number, centre in enumerate(centres, start=1):
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)))
        labels[distance <= radius] = number
    image = 400 + 1500 * (labels > 0) + rng.normal(0, 100, shape)
    return image.clip(0).astype(np.uint16), labels


@pytest.fixture(scope="session")
def discs() -> Callable[..., tuple[NDArray[np.uint16], NDArray[np.int32]]]:
    return draw_discs


def small_spec(**changes: Any) -> ModelSpec:
    """Return the spec of a tiny instance model; `changes` are those of ModelSpec, `features` of its network."""
    network = {"features": (4, 4, 4), **changes.pop("network", {})}
    return ModelSpec(name="tiny", network=NetworkSpec(**network), **changes)


@pytest.fixture(scope="session")
def tiny_spec() -> Callable[..., ModelSpec]:
    return small_spec


def make_model(**changes: Any) -> Model:
    """Return a tiny model with fixed random weights, whose maps of an image of noise go from almost 0 to almost 1."""
    spec = small_spec(**changes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = spec.build_network().eval()
        noise = torch.rand(1, spec.in_channels, *valid_input_size(network, (32,) * spec.spatial_dims))
        spatial = tuple(range(2, noise.ndim))
        spread, mean = torch.std_mean(network(noise), (0, *spatial))
        network.head.weight *= (2 / spread).reshape(-1, *(1,) * (noise.ndim - 1))
        network.head.bias.copy_(-2 * mean / spread)
    return Model(network, spec)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Model]:
    return make_model


@pytest.fixture(scope="session")
def disc_samples() -> Callable[..., list[Annotated]]:
    """Return a maker of annotated images of discs."""

    return annotated_discs


def annotated_discs(count: int, shape: tuple[int, ...] = (64, 64), radius: float = 5, **others: Any) -> list[Annotated]:
    pictures = [draw_discs(shape, radius, count=12, seed=100 + n) for n in range(count)]
    axes = "YX" if len(shape) == 2 else "ZYX"
    return [Annotated(image, labels, axes=axes, name=f"{n}", **others) for n, (image, labels) in enumerate(pictures)]


def quick_config(**changes: Any) -> TrainConfig:
    """Return a training of small patches on one thread of the CPU that learns fast."""
    quick = {"steps": 3, "batch": 4, "patch": 32, "learning_rate": 1e-2, "ema": 0.9, "validation": 0.0}
    # to tune the thresholds would take longer than such a training
    here = {"device": "cpu", "precision": "float32", "threads": 1, "tune_thresholds": False}
    return TrainConfig(**{**quick, **here, **changes})


@pytest.fixture(scope="session")
def quick() -> Callable[..., TrainConfig]:
    return quick_config


@pytest.fixture(scope="session")
def disc_training() -> Trained:
    """Return what a short training on discs gives: a model that really finds them. Do not change it."""
    spec = small_spec(network={"features": (8, 12, 16)})
    return train(annotated_discs(6), quick_config(steps=120, batch=8, tune_thresholds=True), spec=spec)

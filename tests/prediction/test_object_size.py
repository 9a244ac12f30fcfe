"""How large objects are: measured in labels, and found in an image by the model that is to segment it."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

from napari_unet import (
    Model,
    PredictConfig,
    Trained,
    average_precision,
    find_object_size,
    inverted,
    load_model,
    predict,
)
from napari_unet.errors import PredictionError
from napari_unet.generators import drained
from napari_unet.prediction import iter_find_object_size, median_diameter
from napari_unet.samples import load_sample

if TYPE_CHECKING:
    from collections.abc import Callable

ON_CPU = PredictConfig(device="cpu", precision="float32")


@pytest.mark.parametrize(("radius", "shape"), [(16, (256, 256)), (28, (400, 380))])
def test_a_model_finds_out_how_large_objects_are_that_it_does_not_know(
    disc_training: Trained, discs: Callable[..., Any], radius: int, shape: tuple[int, int]
) -> None:
    model = disc_training.model
    image, truth = discs(shape, radius, count=12)
    size = find_object_size(image, model, config=ON_CPU)
    assert size == pytest.approx(2 * radius, rel=0.15)
    assert size == round(size)
    config = ON_CPU.model_copy(update={"object_diameter_px": size})
    assert average_precision(truth, predict(image, model, config=config).labels) > 0.9


def test_a_microscope_of_another_magnification_costs_little() -> None:
    model, sample = load_model("nuclei"), load_sample("nuclei_2d")
    image, truth = (np.kron(one[:112, :112], np.ones((4, 4), one.dtype)) for one in (sample.image, sample.truth))
    size = find_object_size(image, model, config=ON_CPU)
    assert size == pytest.approx(median_diameter(truth), rel=0.2)
    as_it_is, rescaled = (
        predict(image, model, config=ON_CPU.model_copy(update={"object_diameter_px": one})).labels
        for one in (None, size)
    )
    assert average_precision(truth, rescaled) > average_precision(truth, as_it_is) + 0.2


def test_images_that_suit_the_model_stay_as_they_are(disc_training: Trained, discs: Callable[..., Any]) -> None:
    model = disc_training.model
    assert model.spec.object_diameter_px == pytest.approx(10, abs=1)
    for radius in (4, 5, 7):
        assert find_object_size(discs((128, 128), radius, count=12)[0], model, config=ON_CPU) is None


def test_nothing_to_go_by_leaves_the_image_as_it_is(disc_training: Trained, tiny_model: Callable[..., Model]) -> None:
    model = disc_training.model
    for image in (np.zeros((80, 80), np.uint8), np.full((1, 1), 7), np.ones((40, 300), np.float32)):
        assert find_object_size(image, model, axes="YX", config=ON_CPU) is None
    noise = np.random.default_rng(0).normal(0, 1, (64, 64))
    assert find_object_size(noise, tiny_model(), config=ON_CPU) is None, "it does not know a size"
    classes = tiny_model(task="semantic", object_diameter_px=10.0)
    assert find_object_size(noise, classes, config=ON_CPU) is None


def test_it_looks_around_one_place_of_any_image(disc_training: Trained, discs: Callable[..., Any]) -> None:
    model = disc_training.model
    large, _ = discs((256, 256), 20, count=12)
    empty = np.full_like(large, 400)
    stack = np.stack([empty, large, empty, empty])
    assert find_object_size(stack, model, axes="ZYX", config=ON_CPU) is None, "the middle is empty"
    at_one = {"axes": "ZYX", "at": {"Z": 1}, "config": ON_CPU}
    expected = find_object_size(stack, model, **at_one)
    assert expected == pytest.approx(40, rel=0.15)
    assert find_object_size(da.from_array(stack, chunks=(1, 100, 100)), model, **at_one) == expected
    assert find_object_size(stack.astype(">f4"), model, **at_one) == expected
    movie = np.stack([stack, stack])[:, None]
    channel = ON_CPU.model_copy(update={"channels": (1,)})
    both = np.concatenate([np.zeros_like(movie), movie], 1)
    assert find_object_size(both, model, axes="TCZYX", at={"Z": 1, "T": 99}, config=channel) == expected
    dark = inverted(model)
    assert find_object_size(3000 - stack.astype(int), dark, **at_one) == pytest.approx(expected, abs=2)


def test_it_can_be_stopped(disc_training: Trained, discs: Callable[..., Any]) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(PredictionError):
        drained(iter_find_object_size(discs((64, 64), 5)[0], disc_training.model, config=ON_CPU, stop=stop))


@pytest.mark.parametrize("shape", [(60, 60), (40, 40, 40)])
def test_median_diameter_is_that_of_the_objects(shape: tuple[int, ...]) -> None:
    labels = np.zeros(shape, int)
    for number, (start, size) in enumerate(((0, 2), (20, 10), (4, 3)), start=1):
        labels[(slice(start, start + size),) * len(shape)] = number
    volume = 3 ** len(shape)  # the middle one of the three
    expected = (4 * volume / np.pi) ** 0.5 if len(shape) == 2 else (6 * volume / np.pi) ** (1 / 3)
    assert median_diameter(labels) == pytest.approx(expected)
    assert median_diameter(np.zeros(shape, int)) is None


def test_long_objects_are_measured_by_their_width() -> None:
    labels = np.zeros((60, 300), int)
    labels[10:20, 10:290] = 1  # a disc as large would be 60 px wide
    assert 10 <= median_diameter(labels) <= 13
    labels[30:50, 10:40] = 2  # not much longer than wide: as a disc
    labels[30:50, 60:90] = 3
    assert median_diameter(labels) == pytest.approx((4 * 600 / np.pi) ** 0.5, rel=0.1)

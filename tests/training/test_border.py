"""The paper's recipe: borders weigh more, and the network learns to draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from napari_unet import Annotated, DecoderSpec, ModelSpec, NetworkSpec, Status, TrainConfig, predict, train
from napari_unet.training import average_precision, border_weights
from napari_unet.training.border import with_gaps
from napari_unet.training.losses import border_loss
from napari_unet.training.targets import border_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

W0, SIGMA = 10.0, 5.0


def naive_border(labels: NDArray[Any], w0: float, sigma: float) -> NDArray[np.float64]:
    """Return the border part as the paper writes it: one distance transform for each object."""
    ids = [number for number in np.unique(labels) if number]
    if len(ids) < 2:
        return np.zeros(labels.shape)
    distances = np.sort([ndi.distance_transform_edt(labels != number) for number in ids], axis=0)
    border = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return np.where(labels == 0, border, 0)


def border_part(labels: NDArray[Any], w0: float, sigma: float) -> NDArray[np.float32]:
    return border_weights(labels, w0=w0, sigma_px=sigma) - border_weights(labels, w0=0, sigma_px=sigma)


@settings(max_examples=60)
@given(
    labels=arrays(np.int64, st.sampled_from([(1, 1), (40, 7), (24, 31), (5, 12, 14)]), elements=st.integers(0, 40)),
    keep=st.floats(0.0, 0.5), w0=st.sampled_from([1e-4, 1.0, 10.0, 50.0]), sigma=st.sampled_from([0.7, 2.0, 5.0]),
    seed=st.integers(0, 99), factor=st.sampled_from([1, 10**9]),
)  # fmt: skip
def test_border_weights_are_those_of_the_naive_way(
    labels: NDArray[np.int64], keep: float, w0: float, sigma: float, seed: int, factor: int
) -> None:
    labels = np.where(np.random.default_rng(seed).random(labels.shape) < keep, labels, 0) * factor
    np.testing.assert_allclose(border_part(labels, w0, sigma), naive_border(labels, w0, sigma), atol=1.1e-3)


def test_border_weights_of_large_objects_far_apart(rng: np.random.Generator) -> None:
    labels = np.zeros((160, 170), np.uint16)
    for number, (y, x, size) in enumerate([(5, 5, 60), (5, 72, 30), (80, 20, 70), (60, 110, 40), (120, 120, 30)], 1):
        labels[y : y + size, x : x + size] = number
    np.testing.assert_allclose(border_part(labels, W0, SIGMA), naive_border(labels, W0, SIGMA), atol=1.1e-3)
    assert border_part(labels, W0, SIGMA).max() > 0.5


@given(labels=arrays(np.int8, (9, 11), elements=st.integers(0, 2)), learn=arrays(bool, (9, 11)))
def test_classes_are_balanced_where_they_are_learned(labels: NDArray[np.int8], learn: NDArray[np.bool_]) -> None:
    weights = border_weights(labels, w0=0, learn=learn)
    objects, background = weights[learn & (labels > 0)], weights[learn & (labels == 0)]
    if objects.size and background.size:
        assert objects.sum() == pytest.approx(background.sum(), rel=1e-4)
    if learn.any():
        assert weights[learn].mean() == pytest.approx(1, rel=1e-4)


@given(labels=arrays(np.int32, st.sampled_from([(8, 9), (4, 5, 6)]), elements=st.integers(0, 3)))
def test_gaps_leave_no_two_objects_touching(labels: NDArray[np.int32]) -> None:
    apart = with_gaps(labels)
    assert ((apart == labels) | (apart == 0)).all()
    for axis in range(labels.ndim):
        a, b = (np.delete(apart, end, axis) for end in (-1, 0))
        assert not ((a != b) & (a > 0) & (b > 0)).any()
    alone = np.where(labels == 1, 1, 0)
    np.testing.assert_array_equal(with_gaps(alone), alone)


def test_loss_is_the_weighted_cross_entropy_of_what_is_known() -> None:
    logits = torch.randn(2, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(2, 1, 5, 6, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(2, 3, 5, 6)
    masks[:, 0, :2] = masks[:, 1, :4] = 1
    probability = torch.softmax(logits, 1)
    entropy = -torch.where(masks[:, 0] > 0, probability[:, 0], probability[:, 1]).log()[:, :4]
    expected = (entropy * weights[:, 0, :4]).sum() / weights[:, 0, :4].sum()
    torch.testing.assert_close(border_loss(logits, weights, masks)["border"], expected)


@settings(max_examples=50)
@given(
    labels=arrays(np.int32, (9, 11), elements=st.integers(0, 3)),
    other=arrays(np.int32, (9, 11), elements=st.integers(10, 13)),
    status=arrays(np.uint8, (9, 11), elements=st.integers(0, 2)),
)
def test_which_object_an_unchecked_voxel_is_said_to_be_never_changes_a_target(
    labels: NDArray[np.int32], other: NDArray[np.int32], status: NDArray[np.uint8]
) -> None:
    renamed = np.where((status != Status.CHECKED) & (labels > 0), other, labels)
    one, two = (border_targets(x, status, W0, SIGMA) for x in (labels, renamed))
    np.testing.assert_array_equal(one.classes[one.learn], two.classes[two.learn])
    np.testing.assert_array_equal(one.learn, two.learn)
    np.testing.assert_array_equal(one.distances, two.distances)


@pytest.mark.parametrize("dims", [2, 3])
def test_valid_network_learns_objects_apart_by_their_borders(dims: int, discs: Callable[..., Any]) -> None:
    network = NetworkSpec(features=(6, 10), padding="valid", norm="none", spatial_dims=dims)
    spec = ModelSpec(name="paper", network=network, decoder=DecoderSpec(kind="components"))
    shape = (64, 64) if dims == 2 else (10, 40, 40)
    pictures = [discs(shape, 5 if dims == 2 else 4, count=12, gap=1, seed=n) for n in range(3)]
    samples = [Annotated(image, labels, axes="ZYX"[-dims:], name=f"{n}") for n, (image, labels) in enumerate(pictures)]
    steps = 150 if dims == 2 else 40
    config = TrainConfig.ronneberger2015(
        steps=steps, patch=64 if dims == 2 else 40, batch=2, learning_rate=3e-3, device="cpu", threads=1, validation=0
    )
    trained = train(samples, config, spec=spec)
    course = [event.loss for event in trained.history if hasattr(event, "loss")]
    assert np.mean(course[-10:]) < 0.75 * np.mean(course[:5])
    if dims == 2:
        image, labels = discs((96, 96), 5, count=25, seed=77)
        assert average_precision(labels, predict(image, trained.model).labels) > 0.6


def test_recipe_of_the_paper_by_its_name() -> None:
    recipe = TrainConfig.ronneberger2015(minutes=3)
    assert (recipe.optimizer, recipe.momentum, recipe.batch, recipe.patch) == ("sgd", 0.99, 1, 572)
    assert (recipe.border_weight, recipe.border_sigma_px, recipe.minutes) == (10, 5, 3)
    assert recipe.augmentation.elastic_px == 10
    assert recipe.ema == recipe.weight_decay == 0
    assert TrainConfig.ronneberger2015(border_sigma_px=3).border_sigma_px == 3

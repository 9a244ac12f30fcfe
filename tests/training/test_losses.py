"""Losses: what is not checked has no say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi
from torch.nn import functional

from napari_unet import DecoderSpec, ModelSpec, NetworkSpec, Status
from napari_unet.training.losses import instance_loss, loss_of, presumed_loss, semantic_loss
from napari_unet.training.targets import Targets, instance_targets, semantic_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]

SHAPE = (9, 11)
statuses = arrays(np.uint8, SHAPE, elements=st.integers(0, 2))
classes = arrays(np.int32, SHAPE, elements=st.integers(0, 3))


def as_batch(*targets: Targets) -> tuple[Tensor, Tensor]:
    distances = torch.from_numpy(np.stack([t.distances for t in targets]))
    masks = np.stack([np.stack([t.classes, t.learn, t.learn_distances, t.presumed]) for t in targets])
    return distances, torch.from_numpy(masks.astype(np.float32))


def loss_and_gradient(loss: Loss, targets: Targets, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, channels, *targets.learn.shape, generator=generator, requires_grad=True)
    total = torch.stack(list(loss(logits, *as_batch(targets)).values())).sum()
    (gradient,) = torch.autograd.grad(total, logits)
    return total.detach(), gradient


@given(labels=classes, other=classes, status=statuses)
def test_semantic_labels_that_are_not_checked_never_change_loss_or_gradient(
    labels: NDArray[np.int32], other: NDArray[np.int32], status: NDArray[np.uint8]
) -> None:
    elsewhere = np.where(status == Status.CHECKED, labels, other)
    one = loss_and_gradient(semantic_loss, semantic_targets(labels, status), 4)
    two = loss_and_gradient(semantic_loss, semantic_targets(elsewhere, status), 4)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not one[1][0, :, torch.from_numpy(status != Status.CHECKED)].any()


@settings(max_examples=50)
@given(labels=classes, other=classes, status=statuses)
def test_labels_of_far_unchecked_objects_never_change_loss_or_gradient(
    labels: NDArray[np.int32], other: NDArray[np.int32], status: NDArray[np.uint8]
) -> None:
    # far: outside the rings of checked objects; ids of their own, as predictions have
    checked = status == Status.CHECKED
    objects = checked & (labels > 0)
    near = ndi.distance_transform_edt(~objects) <= 3 if objects.any() else np.zeros(SHAPE, bool)
    labels = np.where(checked | near, labels, 0)
    elsewhere = np.where(checked | near, labels, np.where(other > 0, other + 10, 0))
    one = loss_and_gradient(instance_loss, instance_targets(labels, status), 3)
    two = loss_and_gradient(instance_loss, instance_targets(elsewhere, status), 3)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


@pytest.mark.parametrize(("loss", "channels"), [(instance_loss, 3), (semantic_loss, 3)])
@given(seed=st.integers(0, 1000), extra=st.integers(1, 30))
def test_number_of_unchecked_voxels_changes_nothing(loss: Loss, channels: int, seed: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, SHAPE)
    make = instance_targets if loss is instance_loss else semantic_targets
    distances, masks = as_batch(make(labels, np.ones(SHAPE, np.uint8)))
    logits = torch.from_numpy(rng.normal(size=(1, channels, *SHAPE)))
    wide = tuple(functional.pad(x, (0, extra, extra, 0), value=value) for x, value in zip(
        (logits, distances, masks), (3.0, 0.7, 0.0), strict=True))  # fmt: skip
    for name, part in loss(logits, distances, masks).items():
        torch.testing.assert_close(loss(*wide)[name], part, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["seeded_watershed", "components"])
def test_unchecked_voxels_are_drawn_towards_background_a_little_and_ignored_ones_not(kind: Any) -> None:
    spec = ModelSpec(network=NetworkSpec(features=(2,)), decoder=DecoderSpec(kind=kind))
    masks = torch.zeros(1, 4, 6, 6)
    masks[:, :2, :2] = 1  # checked objects
    masks[:, 3, 4:] = 1  # unchecked; between them ignored
    logits = torch.zeros(1, len(spec.maps), 6, 6, requires_grad=True)
    parts = loss_of(spec, 0.25)(logits, torch.ones(1, len(spec.maps) - 1, 6, 6), masks)
    (gradient,) = torch.autograd.grad(parts["presumed"], logits)
    assert (gradient[:, 0, 4:] > 0).all(), "less foreground"
    assert not gradient[:, :, :4].any()
    assert parts["presumed"].item() == pytest.approx(0.25 * np.log(2), rel=1e-5)
    without = loss_of(spec)(logits, torch.ones(1, len(spec.maps) - 1, 6, 6), masks)
    assert "presumed" not in without
    assert without.keys() < parts.keys()


def test_the_weight_of_the_distances_changes_their_part_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, distances = torch.randn(1, 3, 6, 6, generator=generator), torch.rand(1, 2, 6, 6, generator=generator)
    spec, masks = ModelSpec(network=NetworkSpec(features=(2,))), torch.ones(1, 4, 6, 6)
    one, eight = (loss_of(spec, 0.1, weight)(logits, distances, masks) for weight in (1.0, 8.0))
    torch.testing.assert_close(eight.pop("distance"), 8 * one.pop("distance"))
    assert one == eight


def test_how_many_voxels_are_presumed_to_be_background_changes_nothing() -> None:
    logits, masks = torch.ones(1, 3, 4, 4), torch.ones(1, 4, 4, 4)
    wide = torch.ones(1, 3, 40, 40), torch.ones(1, 4, 40, 40)
    torch.testing.assert_close(presumed_loss(logits, masks), presumed_loss(*wide))
    masks[:, 3] = 0
    assert presumed_loss(logits, masks) == 0


def test_foreground_and_background_weigh_the_same() -> None:
    # one object voxel against ninety-nine of background: each mean counts one half
    masks = torch.zeros(1, 3, 10, 10)
    masks[:, 1] = 1
    masks[0, 0, 0, 0] = 1
    logits = torch.zeros(1, 3, 10, 10)
    logits[0, 0] = -2.0
    parts = instance_loss(logits, torch.zeros(1, 2, 10, 10), masks)
    expected = (functional.softplus(torch.tensor(2.0)) + functional.softplus(torch.tensor(-2.0))) / 2
    torch.testing.assert_close(parts["foreground"], expected)


def test_classes_weigh_the_same_however_rare() -> None:
    masks = torch.ones(1, 3, 10, 10)
    masks[:, 0] = 0
    masks[0, 0, 0, :2] = 2
    logits = torch.randn(1, 3, 10, 10)
    entropy = functional.cross_entropy(logits, masks[:, 0].long(), reduction="none")
    rare = masks[:, 0] == 2
    expected = (entropy[rare].mean() + entropy[~rare].mean()) / 2
    torch.testing.assert_close(semantic_loss(logits, logits[:, :0], masks)["classes"], expected)


def test_perfect_answer_costs_nothing_and_the_distance_part_is_least_there() -> None:
    labels = np.zeros((24, 24), np.int32)
    labels[4:15, 6:18] = 1
    distances, masks = as_batch(instance_targets(labels, np.ones(labels.shape, np.uint8)))
    logits = torch.cat([40 * (masks[:, :1] - 0.5), torch.logit(distances, eps=1e-6)], dim=1)
    parts = instance_loss(logits, distances, masks)
    assert all(float(part) == pytest.approx(0, abs=1e-3) for part in parts.values())
    worse = logits.clone()
    worse[:, 1:] += 0.5
    assert instance_loss(worse, distances, masks)["distance"] > parts["distance"] + 1e-3


@pytest.mark.parametrize(("loss", "channels"), [(instance_loss, 3), (semantic_loss, 4)])
def test_batch_without_anything_checked_costs_nothing_and_moves_nothing(loss: Loss, channels: int) -> None:
    logits = torch.randn(2, channels, 5, 5, requires_grad=True)
    total = torch.stack(list(loss(logits, torch.zeros(2, 2, 5, 5), torch.zeros(2, 3, 5, 5)).values())).sum()
    (gradient,) = torch.autograd.grad(total, logits)
    assert float(total.detach()) == pytest.approx(0)
    assert not gradient.any()


def test_loss_of_volumes() -> None:
    labels = np.zeros((6, 12, 12), np.int32)
    labels[2:4, 3:8, 3:8] = 1
    total, gradient = loss_and_gradient(instance_loss, instance_targets(labels, np.ones(labels.shape, np.uint8)), 3)
    assert torch.isfinite(total)
    assert gradient.abs().sum() > 0

"""Sparse truth: what is not checked has no say, and patches are drawn where there is most to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet import Annotated, ClassSpec, DecoderSpec, Model, ModelSpec, NetworkSpec, Status, predict, train
from napari_unet.prediction import PredictConfig
from napari_unet.training import AugmentConfig, TrainConfig, mistakes
from napari_unet.training.losses import loss_of
from napari_unet.training.mistakes import find_mistakes
from napari_unet.training.patches import PatchReader
from napari_unet.training.sampling import Field, PatchSampler, make_fields
from napari_unet.training.targets import instance_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

NETWORK = NetworkSpec(features=(2, 3))
HEADS = {
    "distances": ModelSpec(network=NETWORK),
    "borders": ModelSpec(network=NETWORK, decoder=DecoderSpec(kind="components")),
    "classes": ModelSpec(network=NETWORK, task="semantic", classes=tuple(ClassSpec(name=n) for n in "abc")),
}


def gradients(spec: ModelSpec, labels: NDArray[Any], status: NDArray[np.uint8]) -> list[torch.Tensor]:
    """Return the gradients of a step, from labels to weights, as training takes it."""
    image = np.random.default_rng(0).random(labels.shape)
    sample = Annotated(image, labels, status, intensity_range=((0.0,), (1.0,)))
    fields = make_fields([sample], spec)
    places = PatchSampler(fields, (16, 16), np.random.default_rng(1), presume=True).draw(3)
    generator = torch.Generator().manual_seed(0)
    reader = PatchReader(fields, torch.device("cpu"))
    bent, distances, masks = reader.read(places, (16, 16), AugmentConfig(elastic_px=3), generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = spec.build_network()
    parts = loss_of(spec, 0.1)(network(bent), distances, masks)
    return list(torch.autograd.grad(torch.stack(list(parts.values())).sum(), list(network.parameters())))


@settings(max_examples=20)
@given(head=st.sampled_from(list(HEADS)), seed=st.integers(0, 10_000), checked=st.floats(0.05, 0.9), data=st.data())
def test_whatever_labels_unchecked_voxels_hold_no_gradient_changes(
    head: str, seed: int, checked: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((5, 5)) < checked
    status = np.where(np.kron(coarse, np.ones((6, 6))) > 0, Status.CHECKED, rng.choice([0, 2], (30, 30)))
    status = status.astype(np.uint8)
    status[:2], status[2:8, 2:8] = Status.CHECKED, Status.CHECKED
    labels = np.kron(rng.integers(0, 4, (10, 10)), np.ones((3, 3), int))
    labels[:2], labels[3:6, 3:6] = 0, 1
    known = status == Status.CHECKED
    if head != "classes":
        # by the ring rule an object that is predicted right beside a checked one takes the ring's place; that one
        # is there says the truth about no voxel, so what it is called does not matter either
        known = known | (ndi.distance_transform_edt(~(known & (labels > 0))) <= 3)
        labels = np.where(known, labels, 0)
    highest = 200 if head == "classes" else 40
    garbage = np.random.default_rng(data.draw(st.integers(0, 10_000))).integers(10, highest, labels.shape)
    other = np.where(known, labels, garbage)
    for one, two in zip(gradients(HEADS[head], labels, status), gradients(HEADS[head], other, status), strict=True):
        assert torch.equal(one, two)


@settings(max_examples=20)
@given(head=st.sampled_from(["distances", "borders"]), seed=st.integers(0, 10_000))
def test_what_an_unchecked_object_is_called_changes_no_gradient(head: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    status = (np.kron(rng.random((5, 5)) < 0.5, np.ones((6, 6))) > 0).astype(np.uint8)
    status[:2], status[2:8, 2:8] = 1, 1
    labels = np.kron(rng.integers(0, 2, (10, 10)) * np.arange(1, 101).reshape(10, 10), np.ones((3, 3), int))
    labels[:2], labels[3:6, 3:6] = 0, 101
    partly = np.isin(labels, np.unique(labels[status == 1]))
    renamed = np.where((labels > 0) & ~partly, rng.integers(200, 240, labels.shape), labels)
    for one, two in zip(gradients(HEADS[head], labels, status), gradients(HEADS[head], renamed, status), strict=True):
        assert torch.equal(one, two)


def test_volume_teaches_distances_only_of_objects_checked_in_all_their_planes() -> None:
    labels = np.zeros((6, 20, 20), np.int32)
    labels[1:5, 3:8, 3:8], labels[1:5, 12:17, 12:17] = 1, 2
    status = (labels == 1).astype(np.uint8)
    status[2][labels[2] == 2] = Status.CHECKED
    targets = instance_targets(labels, status)
    np.testing.assert_array_equal(targets.learn_distances, labels == 1)
    assert targets.learn[2, 14, 14], "but that it is an object is taught in the plane that was checked"
    assert not targets.learn[3, 14, 14]


# where patches are drawn


def middle_classes(sampler: PatchSampler, fields: list[Field], count: int = 600) -> NDArray[np.float64]:
    """Return how often each class lies in the middle of a patch."""
    classes = [fields[place.field].targets.classes[tuple(place.centre)] for place in sampler.draw(count)]
    return np.bincount(classes, minlength=4) / count


def test_rare_classes_are_drawn_as_often_as_common_ones() -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[:, 100:] = 1
    labels[60:65, 20:25] = 2  # 25 voxels of 40 000
    rare = np.zeros((200, 200), np.uint8)
    rare[20:23, 20:23] = 3  # in the other image alone
    image = np.zeros((200, 200))
    fields = make_fields([Annotated(image, labels), Annotated(image, rare)], HEADS["classes"])
    shares = middle_classes(PatchSampler(fields, (3, 3), np.random.default_rng(0)), fields)
    np.testing.assert_allclose(shares, 0.25, atol=0.07)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_mistakes_are_favoured(share: float) -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[:, 100:] = 1
    fields = make_fields([Annotated(np.zeros((200, 200)), labels)] * 2, HEADS["distances"])
    wrong = [np.zeros((200, 200), bool) for _ in fields]
    wrong[1][50:53, 50:53] = True
    rng = np.random.default_rng(0)
    sampler = PatchSampler(fields, (3, 3), rng, mistakes=wrong, favour_mistakes=share)
    assert middle_classes(sampler, fields)[0] == pytest.approx(share + (1 - share) * 0.3, abs=0.08)


def test_a_quarter_is_drawn_where_nothing_is_known_and_none_without_the_prior() -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[90:110, 90:110] = 1
    status = np.where(labels > 0, Status.CHECKED, Status.UNCHECKED).astype(np.uint8)
    status[150:] = Status.IGNORE
    for head, share in (("distances", 0.25), ("borders", 0.25), ("classes", 0.0)):
        status[:5] = Status.CHECKED
        fields = make_fields([Annotated(np.zeros((200, 200)), labels, status)], HEADS[head])
        for presume in (True, False):
            sampler = PatchSampler(fields, (3, 3), np.random.default_rng(0), presume=presume)
            places = [tuple(place.centre) for place in sampler.draw(400)]
            unknown = np.mean([fields[0].targets.presumed[place] for place in places])
            assert unknown == pytest.approx(share * presume, abs=0.06)
            assert not any(status[place] == Status.IGNORE for place in places)


def test_the_prior_tells_what_looks_like_nothing_checked_from_what_looks_like_checked_objects() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    number = (y // 20) * 7 + x // 20 + 1
    labels = np.where((y % 20 - 10) ** 2 + (x % 20 - 10) ** 2 < 30, number, 0)
    # clouds, dimmer than objects; nobody has said that they are nothing
    clouds = ndi.gaussian_filter(rng.random((128, 128)), 2)
    clouds = (clouds > np.quantile(clouds, 0.7)) & ~ndi.binary_dilation(labels > 0, iterations=4)
    image = np.where(labels > 0, 1.0, 0.6 * clouds) + rng.normal(0, 0.03, labels.shape)
    checked = (labels > 0) & (labels <= 12)
    status = checked.astype(np.uint8)
    status[62:64] = Status.CHECKED
    sample = Annotated(image, labels * checked, status, intensity_range=((0.0,), (1.0,)))
    unknown = clouds & (status == Status.UNCHECKED) & ~ndi.binary_dilation(checked, iterations=4)
    seen = {}
    for prior in (0.0, 0.5):
        config = TrainConfig(
            steps=150, patch=32, batch=4, validation=0, background_prior=prior, device="cpu", threads=1,
            augmentation=AugmentConfig(shading=0, intensity=False, noise=0, blur_px=0), tune_thresholds=False,
        )  # fmt: skip
        model = train([sample], config, spec=ModelSpec(network=NetworkSpec(features=(6, 8)))).model
        maps = predict(image, model, return_maps=True).maps
        assert maps is not None
        foreground = maps.squeeze()[0]
        seen[prior] = foreground[unknown].mean(), foreground[labels > 12].mean()
    assert seen[0.5][0] < 0.7 * seen[0.0][0], "clouds"
    assert seen[0.5][1] > 0.8, "objects that nobody has checked"


def field_with_model(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, labels: NDArray[Any], status: NDArray[Any] | None, guess: Any
) -> NDArray[np.bool_]:
    """Return where a model that answers `guess` is wrong."""
    truth = np.zeros(labels.shape, bool)
    place = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    sample = Annotated(place, labels, status, intensity_range=((0.0,), (1.0,)))

    def answer(model: Model, field: Any, *_: Any) -> NDArray[np.float32]:
        where = field.image[0].astype(int)  # the intensities tell the place
        guessed = np.asarray(guess).ravel()[where]
        maps = np.stack([guessed == n for n in range(len(spec.maps))]) if spec.task == "semantic" else np.stack(
            [guessed > 0] * 3)  # fmt: skip
        return maps.astype(np.float32)

    monkeypatch.setattr(mistakes, "field_maps", answer)
    model = Model(spec.build_network(), spec)
    (wrong,), _ = find_mistakes(model, make_fields([sample], spec), PredictConfig())
    assert wrong.shape == truth.shape
    return wrong


def test_missed_merged_and_invented_objects_are_mistakes_and_seams_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((80, 80), np.int32)
    labels[5:15, 5:15] = 1  # found, one pixel off
    labels[5:15, 30:40] = 2  # missed
    labels[30:40, 5:15], labels[30:40, 16:26] = 3, 4  # found as one
    guess = np.zeros_like(labels)
    guess[6:16, 5:15] = guess[30:40, 5:26] = 1
    guess[55:62, 55:62] = guess[55:62, 5:12] = 1  # both invented, one of them where nothing is known
    status = np.ones(labels.shape, np.uint8)
    status[50:, :20] = Status.UNCHECKED
    expected = np.isin(labels, [2, 3, 4])
    expected[56:61, 56:61] = True
    wrong = field_with_model(monkeypatch, HEADS["distances"], labels, status, guess)
    assert wrong[expected].all()
    assert wrong.sum() <= expected.sum() + 4 * 6, "and no more than the edge of what was invented"
    assert not wrong[5:16, 5:15].any()
    assert not wrong[status != Status.CHECKED].any()


def test_voxels_of_another_class_are_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[:, 20:40], labels[:, 40:] = 1, 2
    guess = labels.copy()
    guess[:, 39] = 2  # a seam
    guess[10:20, 5:15] = 3
    wrong = field_with_model(monkeypatch, HEADS["classes"], labels, None, guess)
    assert wrong[12:18, 7:13].all()
    assert not wrong[:, 20:].any()

"""Honest scores: what is held out, and how it is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet import Annotated, ClassSpec, Model, ModelSpec, NetworkSpec, Status
from napari_unet.models import DecoderSpec
from napari_unet.network import halo
from napari_unet.training import MIN_HELD_OUT_OBJECTS
from napari_unet.training.sampling import Field, make_fields
from napari_unet.training.targets import instance_targets
from napari_unet.training.validation import Paired, _bootstrap, compare, hold_out, own_scores, score, score_maps

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SPEC = ModelSpec(network=NetworkSpec(features=(2, 2)))
MARGIN = halo(SPEC.build_network())[0]


def dots(shape: tuple[int, ...], spacing: int = 8) -> NDArray[np.int32]:
    """Return 3x3 objects on a grid."""
    labels = np.zeros(shape, np.int32)
    plane = labels.reshape(-1, *shape[-2:])
    for number, (y, x) in enumerate(
        ((y, x) for y in range(2, shape[-2] - 4, spacing) for x in range(2, shape[-1] - 4, spacing)), start=1
    ):
        plane[:, y : y + 3, x : x + 3] = number
    return labels


def sample(labels: NDArray[np.int32], status: Any = None, **others: Any) -> Annotated:
    """Return labels with an image in which every voxel of a plane has another intensity, so that it tells its place."""
    place = np.broadcast_to(np.arange(labels.shape[-2] * labels.shape[-1]).reshape(labels.shape[-2:]), labels.shape)
    axes = "ZYX"[-labels.ndim :]
    return Annotated(place.astype(np.float32), labels, status, axes=axes, intensity_range=((0.0,), (1.0,)), **others)


def objects_in(fields: list[Field]) -> int:
    return sum(int(np.count_nonzero(np.unique(f.targets.objects[f.checked]))) for f in fields)


def split(samples: list[Annotated], fraction: float = 0.2, seed: int = 0) -> tuple[list[Field], list[Field]]:
    return hold_out(make_fields(samples, SPEC), fraction, (MARGIN, MARGIN), np.random.default_rng(seed))


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 5), min_size=4, max_size=10),
    fraction=st.sampled_from([0.1, 0.2, 0.5]),
    seed=st.integers(0, 100),
)
def test_groups_are_never_split_and_nothing_is_lost(sizes: list[int], fraction: float, seed: int) -> None:
    samples = [
        sample(dots((8 + 8 * side, 40)), group=f"well {number // 2}", name=f"{number}")
        for number, side in enumerate(sizes)
    ]
    fields = make_fields(samples, SPEC)
    rest, held = hold_out(fields, fraction, (MARGIN, MARGIN), np.random.default_rng(seed))
    if held:
        assert objects_in(held) >= MIN_HELD_OUT_OBJECTS
        assert objects_in(rest) > 0
    if len({field.group for field in fields}) >= 4:
        assert not {field.group for field in rest} & {field.group for field in held}
        assert len({field.group for field in held}) <= len({field.group for field in fields}) / 2
    assert {field.name for field in rest} | {field.name for field in held} == {field.name for field in fields}


def test_same_seed_holds_out_the_same() -> None:
    samples = [sample(dots((48, 48)), name=f"{n}") for n in range(6)]
    names = [[field.name for field in split(samples, seed=seed)[1]] for seed in (1, 1, 2, 3, 4)]
    assert names[0] == names[1]
    assert len({tuple(n) for n in names}) > 1


@pytest.mark.parametrize("count", [1, 6])
def test_nothing_is_held_out_of_few_objects_or_where_it_is_not_wanted(count: int) -> None:
    few = [sample(dots((16, 16)), name=f"{n}") for n in range(count)]
    many = [sample(dots((96, 96)), name=f"{n}") for n in range(count)]
    for samples, fraction in ((few, 0.2), (many, 0.0)):
        rest, held = split(samples, fraction)
        assert held == []
        assert len(rest) == count
        assert all(field.checked.all() for field in rest)


def place_of(field: Field) -> tuple[slice, slice]:
    """Return where in its image a part of a field lies: its intensities tell."""
    first, last = int(field.image.flat[0]), int(field.image.flat[-1])
    width = 128
    return slice(first // width, last // width + 1), slice(first % width, last % width + 1)


@pytest.mark.parametrize("slices", [1, 3])
def test_blocks_of_one_image_are_held_out_with_a_gap_around_them(slices: int) -> None:
    labels = dots((slices, 128, 128)) if slices > 1 else dots((128, 128))
    rest, held = split([sample(labels)])
    assert len(rest) == slices
    assert objects_in(held) >= MIN_HELD_OUT_OBJECTS
    assert objects_in(rest) >= 0.5 * slices * 225
    forbidden = np.zeros((128, 128), bool)
    blocks = []
    for field in held:
        window = place_of(field)
        checked = np.zeros((128, 128), bool)
        checked[window] = field.checked
        (y0, x0), (y1, x1) = np.argwhere(checked).min(0), np.argwhere(checked).max(0) + 1
        assert checked[y0:y1, x0:x1].all(), "a block, checked completely"
        blocks.append((y0, x0))
        gap = (slice(max(0, y0 - MARGIN), y1 + MARGIN), slice(max(0, x0 - MARGIN), x1 + MARGIN))
        forbidden[gap] = True
        assert field.image.shape[1:] == forbidden[gap].shape, "with all the context that the network needs"
    assert all(blocks.count(block) == slices for block in set(blocks)), "the same places in all slices"
    for field in rest:
        assert not (field.checked & forbidden).any()
        assert not (field.targets.learn & forbidden).any()
        assert (field.checked | forbidden).all(), "and nothing more is taken away"


def test_only_blocks_that_are_checked_completely_are_held_out() -> None:
    labels = dots((128, 128))
    status = np.full(labels.shape, Status.CHECKED)
    status[:64] = Status.UNCHECKED
    status[70, 70] = Status.IGNORE
    _, held = split([sample(labels, status)], 0.1)
    assert held
    for field in held:
        window = place_of(field)
        ys, xs = np.nonzero(field.checked)
        assert (ys + window[0].start).min() >= 64
        block = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
        assert field.checked[block].all()
        assert not field.checked[max(0, 70 - window[0].start), max(0, 70 - window[1].start)]


def test_partly_checked_images_are_not_scored_on() -> None:
    labels = dots((64, 64))
    drawn = np.where((labels > 0) & (labels <= 30), Status.CHECKED, Status.UNCHECKED)
    partly = [sample(labels, drawn, name=f"partly {n}") for n in range(6)]
    complete = [sample(labels, name=f"complete {n}") for n in range(2)]
    rest, held = split([*partly, *complete])
    assert held
    assert all(field.name.startswith("complete") for field in held)
    assert {field.name for field in rest} >= {f"partly {n}" for n in range(6)}


def test_rest_keeps_objects_and_background() -> None:
    empty = [sample(np.zeros((64, 64), np.int32), name=f"empty {n}") for n in range(5)]
    rest, held = split([*empty, sample(dots((64, 64)), name="full")])
    assert held == [], "the only image with objects is needed to learn from"
    assert len(rest) == 6


def test_images_of_different_sizes_in_one_group_are_not_cut_into_blocks() -> None:
    samples = [sample(dots(shape), group="g", name=str(shape)) for shape in ((128, 128), (96, 128))]
    rest, held = split(samples)
    assert held == []
    assert len(rest) == 2


# scores


def field_of(labels: NDArray[np.int32], status: NDArray[np.uint8] | None = None) -> Field:
    return make_fields([sample(labels, status)], SPEC)[0]


def ideal_maps(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    targets = instance_targets(labels, np.ones(labels.shape, np.uint8))
    return np.concatenate([targets.classes[None], targets.distances]).astype(np.float32)


def test_perfect_maps_score_1_and_empty_ones_0() -> None:
    labels = dots((32, 32))
    field, decoder = field_of(labels), DecoderSpec(min_size=0)
    perfect = score_maps([ideal_maps(labels)], [field], decoder)
    assert (perfect.average_precision, perfect.foreground_iou, perfect.objects) == (1, 1, 16)
    nothing = score_maps([np.zeros((3, 32, 32), np.float32)], [field], decoder)
    assert (nothing.average_precision, nothing.foreground_iou) == (0, 0)
    two = make_fields([sample(labels)] * 2, SPEC)
    both = score_maps([ideal_maps(labels), np.zeros((3, 32, 32), np.float32)], two, decoder)
    assert (both.average_precision, both.objects) == (0.5, 32)


def test_what_is_not_checked_is_not_scored() -> None:
    labels = dots((32, 32))
    status = np.full(labels.shape, Status.CHECKED)
    status[16:] = Status.UNCHECKED
    maps = ideal_maps(labels)
    maps[:, 16:] = 0
    partial = score_maps([maps], [field_of(labels, status)], DecoderSpec(min_size=0))
    assert (partial.average_precision, partial.foreground_iou, partial.objects) == (1, 1, 8)


def test_classes_are_scored_by_the_mean_of_their_overlaps() -> None:
    spec = ModelSpec(task="semantic", classes=(ClassSpec(name="a"), ClassSpec(name="b")))
    labels = np.zeros((4, 10), np.int32)
    labels[:, 4:7], labels[:, 7:] = 1, 2
    field = make_fields([sample(labels)], spec)[0]
    guess = labels.copy()
    guess[:, 6] = 2  # one column of three is taken for the other class
    maps = np.eye(3, dtype=np.float32)[guess].transpose(2, 0, 1)
    result = score_maps([maps], [field], spec.decoder)
    assert result.average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert result.foreground_iou == 1


def finders(monkeypatch: pytest.MonkeyPatch, *maps: NDArray[Any], spec: ModelSpec) -> list[Model]:
    """Return models that answer with the maps given."""
    networks = [SPEC.build_network() for _ in maps]
    answers = {id(network): one for network, one in zip(networks, maps, strict=True)}
    monkeypatch.setattr("napari_unet.training.validation.field_maps", lambda model, *_: answers[id(model.network)])
    return [Model(network, spec) for network in networks]


def test_gains_and_losses_are_counted_object_by_object(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = dots((32, 32))  # 16 objects
    old, new = (ideal_maps(np.where(np.isin(labels, found), labels, 0)) for found in ([1, 2, 3], [2, 3, 4, 5, 6]))
    spec = SPEC.model_copy(update={"decoder": DecoderSpec(min_size=0)})
    before, after = finders(monkeypatch, old, new, spec=spec)
    paired = compare(before, after, make_fields([sample(labels)] * 2, SPEC), held_out=True)
    assert (paired.gained, paired.lost, paired.total, paired.held_out) == (6, 2, 32, True)
    assert (paired.false_before, paired.false_after) == (0, 0)


def stack_finders(monkeypatch: pytest.MonkeyPatch, *labels: NDArray[Any]) -> list[Model]:
    """Return models that answer with the labels given, plane after plane."""
    spec = SPEC.model_copy(update={"decoder": DecoderSpec(min_size=0)})
    models = [Model(SPEC.build_network(), spec) for _ in labels]
    planes = {id(model.network): iter(one) for model, one in zip(models, labels, strict=True)}
    monkeypatch.setattr(
        "napari_unet.training.validation.field_maps", lambda model, *_: ideal_maps(next(planes[id(model.network)]))
    )
    return models


@pytest.mark.parametrize("as_planes", [False, True])
def test_objects_through_many_slices_are_counted_once(monkeypatch: pytest.MonkeyPatch, as_planes: bool) -> None:
    labels = dots((5, 24, 24))  # 9 objects, each in 5 slices
    before, after = labels.copy(), labels.copy()
    before[2:][labels[2:] == 1] = 0  # found in 2 of 5 slices: not found
    before[4][labels[4] == 2] = 0  # in 4 of 5: found
    after[:3][labels[:3] == 3] = 0
    # in the panel each slice is a sample of its own
    samples = [sample(plane, group="img", name="img") for plane in labels] if as_planes else [sample(labels)]
    paired = compare(*stack_finders(monkeypatch, before, after), make_fields(samples, SPEC), held_out=False)
    assert (paired.gained, paired.lost, paired.total) == (1, 1, 9)


def test_false_objects_behind_each_other_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = dots((6, 32, 32))
    truth = np.where(labels <= 8, labels, 0)
    false = truth.copy()
    false[:, 30:, :2] = 99
    false[:2, 30:, 20:22], false[4:, 30:, 20:22] = 98, 98  # two pieces
    paired = compare(*stack_finders(monkeypatch, false, truth), make_fields([sample(truth)], SPEC), held_out=True)
    assert (paired.gained, paired.lost, paired.total) == (0, 0, 8)
    assert (paired.false_before, paired.false_after) == (3, 0)


def test_slices_that_were_numbered_on_their_own_are_counted_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = dots((4, 24, 24))
    labels[1::2] = np.where(labels[1::2] > 0, 10 - labels[1::2], 0)
    fields = make_fields([sample(labels)], SPEC)
    paired = compare(*stack_finders(monkeypatch, labels * 0, labels), fields, held_out=False)
    assert (paired.gained, paired.total) == (36, 36)


def test_few_objects_through_many_slices_are_too_few_to_score_on() -> None:
    long = np.zeros((40, 64, 64), np.int32)
    for number, (y, x) in enumerate([(8, 8), (8, 40), (24, 24), (40, 8), (40, 40)], start=1):
        long[:, y : y + 6, x : x + 6] = number
    rest, held = split([sample(long)])
    assert held == [], "200 outlines, but of five objects"
    assert len(rest) == 40


def test_a_score_is_given_up_within_a_tile() -> None:
    field, model, asked = field_of(dots((32, 32))), Model(SPEC.build_network().eval(), SPEC), []

    def at_the(number: int) -> Callable[[], bool]:
        asked.clear()
        return lambda: asked.append(None) or len(asked) == number  # type: ignore[func-returns-value]

    assert score(model, [field], give_up=at_the(0)) is not None
    layers = sum(isinstance(layer, torch.nn.Conv2d) for layer in model.network.modules())
    assert len(asked) >= layers, "before each layer of the one tile"
    assert score(model, [field], give_up=at_the(layers - 2)) is None
    assert len(asked) == layers - 2
    assert own_scores(model, [field], [SPEC.decoder], give_up=at_the(layers - 2)) is None
    assert len(asked) == layers - 2
    assert compare(model, model, [field], held_out=True, give_up=at_the(layers - 2)).total == 0
    assert len(asked) == layers - 2


def test_false_objects_count_against_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = dots((32, 32))
    half = np.where(labels <= 8, labels, 0)
    old, new = ideal_maps(half), ideal_maps(labels)
    spec = SPEC.model_copy(update={"decoder": DecoderSpec(min_size=0)})
    before, after = finders(monkeypatch, old, new, spec=spec)
    paired = compare(before, after, [field_of(half)], held_out=True)
    assert (paired.gained, paired.lost) == (0, 0)
    assert (paired.false_before, paired.false_after) == (0, 8)
    assert paired.advice == "keep"


@pytest.mark.parametrize(
    ("gains", "losses", "total", "held_out", "advice"),
    [
        (12, 1, 40, True, "use"), (12, 1, 40, False, "unsure"), (1, 12, 40, True, "keep"), (1, 12, 40, False, "keep"),
        (3, 2, 40, True, "unsure"), (0, 0, 40, True, "unsure"), (0, 0, 0, True, "unsure"), (1, 0, 40, True, "unsure"),
    ],
)  # fmt: skip
def test_advice_is_given_only_where_it_is_sure(
    gains: int, losses: int, total: int, held_out: bool, advice: str
) -> None:
    better = _bootstrap(gains, losses, total)
    assert Paired(gains, losses, total, held_out, better=better).advice == advice


@given(gains=st.integers(0, 30), losses=st.integers(0, 30), even=st.integers(0, 50))
def test_bootstrap_is_fair(gains: int, losses: int, even: int) -> None:
    total = gains + losses + even
    better = _bootstrap(gains, losses, total)
    assert 0 <= better <= 1
    assert better + _bootstrap(losses, gains, total) == pytest.approx(1, abs=0.05)
    assert (better - 0.5) * (gains - losses) >= -0.05 * abs(gains - losses)


def test_gains_of_classes_are_counted_class_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(task="semantic", classes=(ClassSpec(name="a"), ClassSpec(name="b")))
    labels = np.zeros((4, 10), np.int32)
    labels[:, 4:7], labels[:, 7:] = 1, 2
    swapped = np.array([0, 2, 1])[labels]  # the same regions, the wrong names
    old, new = (np.eye(3, dtype=np.float32)[x].transpose(2, 0, 1) for x in (swapped, labels))
    before, after = finders(monkeypatch, old, new, spec=spec)
    paired = compare(before, after, make_fields([sample(labels)], spec), held_out=False)
    assert (paired.gained, paired.lost, paired.total) == (2, 0, 2)

"""Thresholds that suit what is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet import Annotated, Model, ModelSpec, NetworkSpec, TrainConfig, fine_tune, train
from napari_unet.models import DecoderSpec
from napari_unet.prediction import decode
from napari_unet.training.sampling import Field, make_fields
from napari_unet.training.targets import instance_targets
from napari_unet.training.tuning import suit_holes, tune_decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


def dots(shape: tuple[int, int], spacing: int = 8) -> NDArray[np.int32]:
    """Return objects of 3x3 pixels on a grid."""
    labels = np.zeros(shape, np.int32)
    corners = [(y, x) for y in range(2, shape[0] - 4, spacing) for x in range(2, shape[1] - 4, spacing)]
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + 3, x : x + 3] = number
    return labels


def field_of(labels: NDArray[np.int32], status: NDArray[np.uint8] | None = None) -> Field:
    """Return labels with an image, as training sees them."""
    image = np.arange(labels.size, dtype=np.float32).reshape(labels.shape)
    return make_fields([Annotated(image, labels, status)], ModelSpec(network=NetworkSpec(features=(2, 2))))[0]


def ideal_maps(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return the maps of a network that makes no error."""
    targets = instance_targets(labels, np.ones(labels.shape, np.uint8))
    return np.concatenate([targets.classes[None], targets.distances]).astype(np.float32)


def with_debris(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return maps that also show objects where none are: as surely foreground, but without a peak."""
    maps = ideal_maps(labels)
    debris = np.roll(labels, 4, axis=-1) > 0
    maps[0][debris] = 0.95
    maps[1:, debris] = 0.45
    return maps


def test_thresholds_are_tuned_to_what_separates_best() -> None:
    labels = dots((32, 32))
    maps = ideal_maps(labels)
    maps[0] = np.where(labels > 0, 0.45, 0.25)  # a network that is too careful
    tuned = tune_decoder([maps], [field_of(labels)], DecoderSpec(min_size=0))
    assert tuned.foreground_threshold in (0.3, 0.4)
    assert tuned.min_size == 0


def test_what_the_network_is_not_sure_of_is_left_out() -> None:
    labels = dots((48, 48), 12)
    tuned = tune_decoder([with_debris(labels)], [field_of(labels)], DecoderSpec(min_size=0))
    assert 0.45 <= tuned.peak_threshold < 1


def test_objects_much_smaller_than_the_checked_ones_are_left_out() -> None:
    labels = dots((48, 48), 12)
    maps = ideal_maps(labels)
    maps[:, 0::12, 0::12] = 1  # single voxels, as sure as the objects
    tuned = tune_decoder([maps], [field_of(labels)], DecoderSpec(min_size=0))
    assert 1 < tuned.min_size < 9


def test_what_is_not_checked_moves_no_threshold() -> None:
    labels = dots((48, 48), 12)
    status = np.where(labels > 0, 1, 0).astype(np.uint8)
    decoder = DecoderSpec(min_size=0)
    assert tune_decoder([with_debris(labels)], [field_of(labels, status)], decoder) == decoder


def test_objects_where_nothing_is_checked_are_as_large_as_those_that_are() -> None:
    labels = np.kron(dots((48, 48), 12), np.ones((4, 4), np.int32))
    status = np.where((labels > 0) & (labels <= 8), 1, 0).astype(np.uint8)
    maps = ideal_maps(labels)
    maps[0][labels == 0] = 0.1
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        middle = (box[1].start + box[1].stop) // 2
        if number > 8:
            maps[1:, box[0], middle - 1 : middle + 2] *= 0.45  # a dip through each that is not checked
    decoder = DecoderSpec(min_size=0, min_prominence=0.1)
    assert decode(maps, decoder).max() > labels.max()
    tuned = tune_decoder([maps], [field_of(labels, status)], decoder)
    assert decode(maps, tuned).max() == labels.max()


@pytest.mark.parametrize("is_known", [True, False])
def test_small_objects_of_a_known_kind_stay_where_nothing_is_checked(is_known: bool) -> None:
    labels = np.kron(dots((48, 48), 12), np.ones((4, 4), np.int32))
    small = dots((192, 192), 48)[::-1]
    labels = np.where((labels == 0) & (small > 0), small + labels.max(), labels)
    status = np.where((labels > 0) & (labels <= 8), 1, 0).astype(np.uint8)
    decoder = DecoderSpec(min_size=0)
    tuned = tune_decoder([ideal_maps(labels)], [field_of(labels, status)], decoder, is_known=is_known)
    assert (tuned == decoder) is is_known, "unknown ones may be debris"


@pytest.mark.parametrize(("pairs", "prominence"), [(5, 0.25), (80, 0.15)])
def test_few_objects_are_no_reason_to_divide_more(pairs: int, prominence: float) -> None:
    labels = np.zeros((16 * pairs, 28), np.int32)
    for pair in range(pairs):
        labels[16 * pair + 2 : 16 * pair + 14, 2:26] = np.repeat([2 * pair + 1, 2 * pair + 2], 12)
    dip = 1 - 0.2 * np.exp(-(((np.arange(28) - 13.5) / 3) ** 2))
    maps = np.where(labels > 0, np.stack([np.ones(28), dip, dip])[:, None], 0).astype(np.float32)
    decoder = DecoderSpec(min_prominence=0.25)
    assert decode(maps, decoder).max() == pairs
    assert tune_decoder([maps], [field_of(labels)], decoder).min_prominence == prominence


def test_one_object_more_is_not_worth_many_where_nothing_is_checked() -> None:
    labels = dots((96, 96), 12)
    maps = with_debris(labels)
    maps[1:, labels == 1] *= 0.42  # an object that looks like the debris
    status = np.where((labels > 0) & (labels <= 10), 1, 0).astype(np.uint8)
    decoder = DecoderSpec(min_size=0, peak_threshold=0.6)
    assert tune_decoder([maps], [field_of(labels, status)], decoder) == decoder
    few = np.where(np.isin(labels, [1, 2, 3, 4, 5, 6]), labels, 0)
    complete = tune_decoder([np.where(few > 0, maps, 0)], [field_of(few)], decoder)
    assert complete.peak_threshold < 0.45, "where everything is checked, it is found"


@pytest.mark.parametrize("own", [0.5, 0.42])
def test_thresholds_stay_where_nothing_is_better(own: float) -> None:
    labels = dots((32, 32))
    decoder = DecoderSpec(min_size=0, foreground_threshold=own, min_prominence=own)
    for maps in (ideal_maps(labels), np.zeros((3, 32, 32), np.float32)):
        assert tune_decoder([maps], [field_of(labels)], decoder) == decoder


def test_thresholds_of_classes_are_left_alone() -> None:
    decoder = DecoderSpec(kind="argmax")
    labels = dots((32, 32))
    assert tune_decoder([ideal_maps(labels)], [field_of(labels)], decoder) == decoder


def test_too_few_objects_move_no_threshold() -> None:
    labels = np.where(dots((48, 48), 12) <= 3, dots((48, 48), 12), 0)
    decoder = DecoderSpec(min_size=0)
    assert tune_decoder([with_debris(labels)], [field_of(labels)], decoder) == decoder
    assert tune_decoder([], [], decoder) == decoder


def test_no_time_left_leaves_what_is_best_so_far() -> None:
    labels = dots((48, 48), 12)
    decoder = DecoderSpec(min_size=0)
    assert tune_decoder([with_debris(labels)], [field_of(labels)], decoder, give_up=lambda: True) == decoder


def squares(count: int, with_holes: int, hole: int = 4) -> NDArray[np.int32]:
    """Return objects of 10x10 pixels in a row, the first of them with holes."""
    labels = np.zeros((16, 14 * count + 4), np.int32)
    for number in range(1, count + 1):
        left = 14 * number - 10
        labels[3:13, left : left + 10] = number
        if number <= with_holes:
            labels[5 : 5 + hole, left + 3 : left + 3 + hole] = 0
    return labels


FILLED, LEFT = DecoderSpec(), DecoderSpec(fill_holes=False)


@pytest.mark.parametrize("start", [FILLED, LEFT])
@pytest.mark.parametrize(
    ("count", "with_holes", "hole", "fills"),
    [(20, 0, 0, True), (20, 1, 4, True), (20, 2, 4, False), (20, 20, 2, True), (3, 2, 4, False), (2, 0, 0, None)],
    ids=["none", "an accident", "a tenth", "pinholes", "few, but rings", "few"],
)
def test_holes_are_filled_unless_the_checked_objects_have_some(
    start: DecoderSpec, count: int, with_holes: int, hole: int, fills: bool | None
) -> None:
    found = suit_holes(start, [field_of(squares(count, with_holes, hole))])
    assert found == start.model_copy(update={} if fills is None else {"fill_holes": fills})


def test_holes_of_objects_that_are_not_known_completely_tell_nothing() -> None:
    labels = squares(12, 12)
    assert suit_holes(FILLED, [field_of(labels)]) == LEFT
    status = np.ones(labels.shape, np.uint8)
    status[3] = 0  # a row of each object
    assert suit_holes(FILLED, [field_of(labels, status)]) == FILLED
    assert suit_holes(FILLED, [field_of(labels[3:13])]) == FILLED, "cut by the edge"
    objects_only = (labels > 0).astype(np.uint8)
    assert suit_holes(FILLED, [field_of(labels, objects_only)]) == LEFT, "it is the object that was checked"
    inhabited = labels.copy()
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        inhabited[box][3:5, 4:6] = 20 + number
    assert suit_holes(LEFT, [field_of(inhabited)]) == FILLED, "what lies in it keeps it open"


def model_of(sample: Annotated, start: Model | None = None, *, tune: bool = True) -> Model:
    """Return what a short training gives."""
    config = TrainConfig(steps=2, batch=2, patch=32, device="cpu", threads=1, tune_thresholds=tune)
    if start is None:
        return train([sample], config, spec=ModelSpec(network=NetworkSpec(features=(2, 2)))).model
    return fine_tune(start, [sample], config).model


def test_a_training_finds_out_whether_objects_have_holes() -> None:
    labels = squares(6, 6)
    image = np.asarray(labels > 0, np.float32)
    rings, rounds = Annotated(image, labels), Annotated(image, squares(6, 0))
    model = model_of(rings)
    assert not model.spec.decoder.fill_holes
    model = model_of(rounds, model)
    assert model.spec.decoder.fill_holes
    assert not model_of(rings, model).spec.decoder.fill_holes
    assert model_of(rings, model, tune=False).spec.decoder.fill_holes

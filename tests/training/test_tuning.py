"""Thresholds that suit what is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_unet import Annotated, ModelSpec, NetworkSpec
from napari_unet.models import DecoderSpec
from napari_unet.prediction import decode
from napari_unet.training.sampling import Field, make_fields
from napari_unet.training.targets import instance_targets
from napari_unet.training.tuning import tune_decoder

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

"""What each voxel teaches, by the rules of the brushes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage as ndi

from napari_unet import Status
from napari_unet.training.targets import RING_PX, instance_targets, semantic_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNCHECKED, CHECKED, IGNORE = (np.uint8(status) for status in Status)


def disc(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    distance = sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True))
    return np.asarray(distance <= radius**2)


def scene() -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return one checked disc, 1, with an unchecked neighbour, 2, two pixels beside it."""
    labels = np.zeros((40, 60), np.int32)
    labels[disc(labels.shape, (20, 20), 6)] = 1
    labels[disc(labels.shape, (20, 34), 6)] = 2
    return labels, np.where(labels == 1, CHECKED, UNCHECKED)


# instances


def test_checked_object_teaches_itself_and_a_ring_of_3_pixels() -> None:
    labels, status = scene()
    targets = instance_targets(labels, status)
    distance = ndi.distance_transform_edt(labels != 1)
    expected = (distance <= 3) & (labels != 2)
    assert RING_PX == 3
    np.testing.assert_array_equal(targets.learn, expected)
    np.testing.assert_array_equal(targets.classes[targets.learn], (labels == 1)[targets.learn])


def test_ring_never_lies_on_another_object_drawn_or_predicted() -> None:
    labels, status = scene()
    assert (ndi.distance_transform_edt(labels != 1)[labels == 2] <= 3).any(), "the neighbour reaches into the ring"
    for neighbour in (UNCHECKED, CHECKED):
        status[labels == 2] = neighbour
        targets = instance_targets(labels, status)
        assert not (targets.learn & (labels == 2) & (targets.classes == 0)).any()
        assert (targets.learn[labels == 2] == (neighbour == CHECKED)).all()


def test_ignored_voxels_teach_nothing_not_even_in_a_ring() -> None:
    labels, status = scene()
    status[:, 27:29] = IGNORE
    status[0:3] = IGNORE
    assert not instance_targets(labels, status).learn[status == IGNORE].any()


def test_no_ring_around_what_is_not_checked() -> None:
    labels, status = scene()
    assert not instance_targets(labels, np.full_like(status, UNCHECKED)).learn.any()
    status[...] = UNCHECKED
    status[0, :] = CHECKED  # background that was painted has no ring
    np.testing.assert_array_equal(instance_targets(labels, status).learn, status == CHECKED)


def test_partly_checked_object_teaches_its_checked_part_and_no_distances() -> None:
    labels, status = scene()
    status[(labels == 1) & (np.indices(labels.shape)[1] < 20)] = UNCHECKED
    targets = instance_targets(labels, status)
    inside = labels == 1
    np.testing.assert_array_equal(targets.learn[inside], (status == CHECKED)[inside])
    assert not targets.learn_distances.any()
    assert not targets.distances.any()


@pytest.mark.parametrize("edge", [(0, 20), (39, 20), (20, 0), (20, 59)])
def test_object_cut_by_the_image_teaches_foreground_but_no_distances(edge: tuple[int, int]) -> None:
    labels = disc((40, 60), edge, 6).astype(np.int32)
    targets = instance_targets(labels, np.full(labels.shape, CHECKED))
    assert targets.learn.all()
    assert targets.classes[edge] == 1
    assert not targets.learn_distances.any()


def test_object_that_only_comes_near_the_edge_is_whole() -> None:
    labels = np.zeros((9, 9), np.int32)
    labels[1:-1, 1:-1] = 5
    assert instance_targets(labels, np.full(labels.shape, CHECKED)).learn_distances.sum() == 49


def test_single_plane_of_a_volume_does_not_cut_objects() -> None:
    labels, status = scene()
    targets = instance_targets(labels[None], status[None])
    np.testing.assert_array_equal(targets.learn_distances[0], labels == 1)


def test_volume_cuts_objects_at_its_first_and_last_plane() -> None:
    labels = np.zeros((5, 9, 9), np.int32)
    labels[0:2, 3:6, 3:6] = 1
    labels[3:4, 3:6, 3:6] = 2
    targets = instance_targets(labels, np.full(labels.shape, CHECKED))
    np.testing.assert_array_equal(targets.learn_distances, labels == 2)


def test_distances_of_a_disc() -> None:
    labels, status = scene()
    targets = instance_targets(labels, status)
    boundary, centre = targets.distances
    inside = labels == 1
    np.testing.assert_array_equal(targets.learn_distances, inside)
    assert boundary[20, 20] == centre[20, 20] == 1
    assert centre[20, 26] == 0
    assert centre[20, 23] == pytest.approx(0.5, abs=0.02)
    assert 0 < boundary[20, 26] < 0.2
    assert not targets.distances[:, ~inside].any()


def test_centre_of_a_crescent_lies_inside_it() -> None:
    labels = (disc((60, 60), (30, 30), 22) & ~disc((60, 60), (30, 38), 20)).astype(np.int32)
    assert labels[tuple(np.argwhere(labels).mean(0).round().astype(int))] == 0, "its centre of mass lies outside"
    boundary, centre = instance_targets(labels, np.full(labels.shape, CHECKED)).distances
    peak = np.unravel_index(centre.argmax(), centre.shape)
    assert labels[peak] == 1
    assert centre[peak] == boundary[peak] == 1


def test_ids_of_any_size_and_type() -> None:
    labels, status = scene()
    expected = instance_targets(labels, status)
    for dtype, factor in ((np.uint8, 1), (np.int64, 2**40), (np.uint64, 2**50), (">i4", 1000)):
        targets = instance_targets(labels.astype(dtype) * np.array(factor, dtype), status)
        np.testing.assert_array_equal(targets.distances, expected.distances)
        np.testing.assert_array_equal(targets.learn, expected.learn)


def test_image_without_background_voxel() -> None:
    labels = np.ones((6, 6), np.int32)
    labels[2:4, 2:4] = 7
    targets = instance_targets(labels, np.full(labels.shape, CHECKED))
    assert (targets.classes == 1).all()
    np.testing.assert_array_equal(targets.learn_distances, labels == 7)


any_labels = arrays(np.int32, st.sampled_from([(1, 1), (8, 9), (3, 6, 5)]), elements=st.integers(0, 3))


@given(any_labels, st.data())
def test_targets_of_any_labels(labels: NDArray[np.int32], data: st.DataObject) -> None:
    status = data.draw(arrays(np.uint8, labels.shape, elements=st.integers(0, 2)))
    targets = instance_targets(labels, status)
    assert 0 <= targets.distances.min() <= targets.distances.max() <= 1
    assert targets.learn[status == CHECKED].all()
    assert not targets.learn[status == IGNORE].any()
    extra = targets.learn & (status != CHECKED)
    assert not labels[extra].any()
    assert (status[targets.learn_distances] == CHECKED).all()
    np.testing.assert_array_equal(targets.classes, labels > 0)
    for number in np.unique(labels[targets.learn_distances]):
        assert targets.distances[:, labels == number].max(1).tolist() == [1, pytest.approx(1, abs=0.5)]


@given(any_labels, st.integers(1, 3))
def test_each_object_is_its_own_measure(labels: NDArray[np.int32], number: int) -> None:
    # the distances of an object do not depend on the others
    status = np.full(labels.shape, CHECKED)
    together, alone = (instance_targets(x, status) for x in (labels, np.where(labels == number, number, 0)))
    inside = labels == number
    np.testing.assert_array_equal(together.distances[:, inside], alone.distances[:, inside])


# classes


@given(any_labels, st.data())
def test_classes_teach_exactly_the_checked_voxels(labels: NDArray[np.int32], data: st.DataObject) -> None:
    status = data.draw(arrays(np.uint8, labels.shape, elements=st.integers(0, 2)))
    targets = semantic_targets(labels, status)
    np.testing.assert_array_equal(targets.learn, status == CHECKED)
    np.testing.assert_array_equal(targets.classes[targets.learn], labels[targets.learn])
    assert targets.distances.shape == (0, *labels.shape)
    assert not targets.learn_distances.any()

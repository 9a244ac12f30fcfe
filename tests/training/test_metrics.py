"""Scores, against cases computed by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_unet import average_precision, iou
from napari_unet.errors import AnnotationError
from napari_unet.training import match_objects

Labels = NDArray[np.int_]
labels_2d = arrays(np.int32, st.just((7, 9)), elements=st.integers(0, 5))
thresholds = st.sampled_from([0.5, 0.6, 0.75, 0.9])


def row(text: str) -> Labels:
    return np.array([[int(c) for c in text.replace(".", "0")]])


@pytest.mark.parametrize(
    ("truth", "labels", "threshold", "expected"),
    [
        ("111.22", "555.77", 0.5, 1),  # other numbers, same objects
        ("1111..", "11....", 0.5, 1),  # IoU just 0.5
        ("1111..", "11....", 0.51, 0),
        ("111.22", "111...", 0.5, 1 / 2),  # one missed
        ("111...", "111.22", 0.5, 1 / 2),  # one too many
        ("111222", "111111", 0.5, 1 / 2),  # merged: one match, one missed
        ("1111..", "1122..", 0.5, 1 / 2),  # divided: one half is a match, the other a false positive
        ("111111", "112233", 0.5, 0),
        ("111.22", "......", 0.5, 0),
        ("......", "111.22", 0.5, 0),
        ("......", "......", 0.5, 1),
        ("1111..", ".1111.", 0.5, 1),  # 3 of 5
        ("1111..", "..1111", 0.5, 0),  # 2 of 6
        ("11..33", "11.33.", 0.3, 1),
    ],
)
def test_average_precision_of_cases_counted_by_hand(truth: str, labels: str, threshold: float, expected: float) -> None:
    assert average_precision(row(truth), row(labels), threshold) == pytest.approx(expected)


def test_best_pairs_are_taken_first_below_a_half() -> None:
    truth, labels = row("11112222.."), row("..111111.3")
    # 1 overlaps both: 2 of 8 with the first, 4 of 6 with the second, which takes it
    matches = match_objects(truth, labels, 0.2)
    assert matches.found == {1: False, 2: True}
    assert matches.false_positives == 1


@given(labels_2d, thresholds)
def test_perfect_is_1(truth: Labels, threshold: float) -> None:
    assert average_precision(truth, truth, threshold) == 1
    assert iou(truth, truth) == 1


@given(labels_2d, labels_2d, thresholds)
def test_score_is_symmetric_and_between_0_and_1(a: Labels, b: Labels, threshold: float) -> None:
    assert 0 <= average_precision(a, b, threshold) <= 1
    assert average_precision(a, b, threshold) == average_precision(b, a, threshold)
    assert iou(a, b) == iou(b, a)


@given(labels_2d, labels_2d, thresholds, st.permutations(range(1, 6)), st.sampled_from([1, 7, 2**40]))
def test_numbers_of_the_objects_do_not_matter(
    a: Labels, b: Labels, threshold: float, order: list[int], factor: int
) -> None:
    renumbered = factor * np.array([0, *order])[b]
    assert average_precision(a, b, threshold) == average_precision(a, renumbered, threshold)


@given(labels_2d, labels_2d, thresholds)
def test_score_is_that_of_all_pairs(a: Labels, b: Labels, threshold: float) -> None:
    true_ids, ids = np.setdiff1d(a, 0), np.setdiff1d(b, 0)
    overlaps = [((a == t) & (b == p)).sum() / ((a == t) | (b == p)).sum() for t in true_ids for p in ids]
    table = np.reshape(overlaps, (len(true_ids), len(ids)))
    hits = (table >= threshold).any(1).sum() if table.size else 0
    total = len(true_ids) + len(ids) - hits
    if (np.count_nonzero(table >= threshold, axis=0) <= 1).all():  # exactly at 0.5 two may claim one
        assert average_precision(a, b, threshold) == pytest.approx(hits / total if total else 1)


@given(labels_2d, labels_2d)
def test_higher_threshold_never_scores_better(a: Labels, b: Labels) -> None:
    scores = [average_precision(a, b, t) for t in (0.5, 0.75, 0.9, 1.0)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("truth", "labels", "checked", "found", "false_positives"),
    [
        ("11..22", "33..44", "111111", {1: True, 2: True}, 0),
        ("11..22", "33..44", "111000", {1: True}, 0),  # what is not checked is neither found nor missed
        ("......", "..4444", "111000", {}, 0),  # mostly unchecked: perhaps an object that was not drawn
        ("......", ".444..", "111000", {}, 1),  # mostly on checked background: an error
        ("......", ".44...", "110000", {}, 0),  # just half is not most
        ("11....", "444444", "111000", {1: True}, 0),  # compared on checked voxels alone: 2 of 3
        ("1.....", "444444", "111000", {1: False}, 0),
        ("111...", "......", "000000", {}, 0),
    ],
)
def test_only_checked_voxels_count(
    truth: str, labels: str, checked: str, found: dict[int, bool], false_positives: int
) -> None:
    matches = match_objects(row(truth), row(labels), checked=row(checked) > 0)
    assert matches.found == found
    assert matches.false_positives == false_positives


@given(labels_2d, labels_2d, arrays(bool, (7, 9)), labels_2d)
def test_truth_where_nothing_is_checked_does_not_matter(
    truth: Labels, labels: Labels, checked: NDArray[np.bool_], noise: Labels
) -> None:
    elsewhere = np.where(checked, truth, noise)
    assert match_objects(truth, labels, checked=checked) == match_objects(elsewhere, labels, checked=checked)


@given(labels_2d, labels_2d, thresholds)
def test_all_checked_is_the_same_as_no_mask(truth: Labels, labels: Labels, threshold: float) -> None:
    everything = np.ones(truth.shape, bool)
    assert match_objects(truth, labels, threshold, everything) == match_objects(truth, labels, threshold)


def test_thousands_of_objects_fit_into_memory() -> None:
    blocks = np.arange(1, 40_001).reshape(200, 200).repeat(3, 0).repeat(3, 1)
    assert average_precision(blocks, blocks[::-1, ::-1]) == 1


def test_foreground_overlap() -> None:
    assert iou(row("1122.."), row("..3344")) == pytest.approx(2 / 6)
    assert iou(row("...."), row("....")) == 1
    assert iou(row("1..."), row("....")) == 0


def test_lists_and_volumes_are_taken() -> None:
    assert average_precision([[[1, 1], [0, 2]]], [[[4, 4], [0, 0]]]) == 0.5


@pytest.mark.parametrize("score", [average_precision, iou])
def test_labels_of_another_shape_are_refused(score: type) -> None:
    with pytest.raises(AnnotationError, match="one image"):
        score(np.zeros((3, 3), int), np.zeros((3, 4), int))

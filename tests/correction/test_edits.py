"""Corrections as pure functions: what they change, and above all what they leave alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi

from napari_unet import Status
from napari_unet.correction import (
    ObjectTable,
    Refill,
    complete_area,
    confirm_object,
    delete_object,
    enclosed_holes,
    object_box,
    pieces,
    refill,
    stroke,
    within,
)

UNCHECKED, CHECKED, IGNORE = (np.uint8(one) for one in Status)
SHAPES = st.sampled_from([(1, 1), (7, 9), (3, 6, 7), (2, 2, 5, 5)])


@st.composite
def documents(draw):
    """Labels and status of a plane, a stack or a movie of stacks."""
    shape = draw(SHAPES)
    labels = draw(hnp.arrays(np.int32, shape, elements=st.integers(0, 4)))
    status = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2)))
    return labels, status


@st.composite
def boxes(draw, shape):
    box = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        box.append(slice(start, draw(st.integers(start + 1, n))))
    return tuple(box)


@st.composite
def edits(draw):
    """Any edit of any document, with the document."""
    labels, status = draw(documents())
    box = draw(boxes(labels.shape))
    number = int(draw(st.sampled_from(np.unique(labels[labels > 0]).tolist() or [1])))
    other = draw(hnp.arrays(np.int32, labels[box].shape, elements=st.integers(0, 6)))
    erased = draw(hnp.arrays(bool, labels[box].shape))
    make = {
        "delete": lambda: delete_object(labels, status, number),
        "confirm": lambda: confirm_object(labels, status, number),
        "complete": lambda: complete_area(labels, status, box),
        "stroke": lambda: stroke(labels[box], other, status, box, erased),
        "refill": lambda: refill(labels, status, other, box),
    }
    return labels, status, make[draw(st.sampled_from(sorted(make)))]()


@given(edits())
def test_an_edit_changes_its_box_only_and_can_be_taken_back(case):
    labels, status, edit = case
    if edit is None:
        return
    before = labels.copy(), status.copy()
    edit.apply(labels, status)
    outside = np.ones(labels.shape, bool)
    outside[edit.box] = False
    np.testing.assert_array_equal(labels[outside], before[0][outside])
    np.testing.assert_array_equal(status[outside], before[1][outside])
    changed = not (np.array_equal(labels, before[0]) and np.array_equal(status, before[1]))
    assert edit.changes_nothing is not changed
    once = labels.copy(), status.copy()
    edit.apply(labels, status)
    np.testing.assert_array_equal(labels, once[0])
    np.testing.assert_array_equal(status, once[1])
    edit.revert(labels, status)
    np.testing.assert_array_equal(labels, before[0])
    np.testing.assert_array_equal(status, before[1])
    assert edit.nbytes >= 2 * (labels[edit.box].nbytes + status[edit.box].nbytes)


@given(edits())
def test_an_edit_is_a_copy_that_later_changes_cannot_spoil(case):
    labels, status, edit = case
    if edit is None:
        return
    before = labels.copy(), status.copy()
    labels += 100
    status[...] = 77
    np.testing.assert_array_equal(edit.labels_before, before[0][edit.box])
    np.testing.assert_array_equal(edit.status_before, before[1][edit.box])
    assert edit.status_after.max() <= IGNORE


@given(documents())
def test_a_deleted_object_is_checked_background(case):
    labels, status = case
    for number in range(1, 6):
        inside = labels == number
        edit = delete_object(labels, status, number)
        if not inside.any():
            assert edit is None
            continue
        after, status_after = labels.copy(), status.copy()
        edit.apply(after, status_after)
        assert not (after == number).any()
        np.testing.assert_array_equal(after[~inside], labels[~inside])
        np.testing.assert_array_equal(status_after[~inside], status[~inside])
        assert (status_after[inside & (status != IGNORE)] == CHECKED).all()
        assert (status_after[status == IGNORE] == IGNORE).all()
        assert edit.corrected == {number}


@given(documents())
def test_a_right_object_is_checked_in_all_planes_and_nothing_else_is(case):
    labels, status = case
    for number in range(1, 6):
        inside = labels == number
        edit = confirm_object(labels, status, number)
        if not inside.any():
            assert edit is None
            continue
        after, status_after = labels.copy(), status.copy()
        edit.apply(after, status_after)
        np.testing.assert_array_equal(after, labels)
        np.testing.assert_array_equal(status_after, np.where(inside & (status != IGNORE), CHECKED, status))
        assert edit.corrected == frozenset()


@given(st.data())
def test_a_complete_area_is_checked_but_for_what_is_ignored(data):
    labels, status = data.draw(documents())
    box = data.draw(boxes(labels.shape))
    after, status_after = labels.copy(), status.copy()
    complete_area(labels, status, box).apply(after, status_after)
    np.testing.assert_array_equal(after, labels)
    assert (status_after[box][status[box] != IGNORE] == CHECKED).all()
    assert (status_after[box][status[box] == IGNORE] == IGNORE).all()


@given(documents(), st.integers(1, 5))
def test_object_box_is_the_tightest(case, number):
    labels, _ = case
    box = object_box(labels, number)
    inside = labels == number
    if box is None:
        assert not inside.any()
        return
    assert np.count_nonzero(inside[box]) == np.count_nonzero(inside)
    for axis in range(labels.ndim):
        others = tuple(a for a in range(labels.ndim) if a != axis)
        along = inside[box].any(axis=others)
        assert along[0]
        assert along[-1]


# --- strokes ---------------------------------------------------------------------------------------------


@given(st.data())
def test_a_stroke_checks_what_it_changed_in_the_planes_where_it_did(data):
    labels, status = data.draw(documents())
    box = data.draw(boxes(labels.shape))
    after = data.draw(hnp.arrays(np.int32, labels[box].shape, elements=st.integers(0, 6)))
    before, nowhere = labels[box], np.zeros(labels[box].shape, bool)
    edit = stroke(before, after, status, box, nowhere)
    for plane in np.ndindex(before.shape[:-2]):
        changed = before[plane] != after[plane]
        touched = set(before[plane][changed]) | set(after[plane][changed])
        expected = np.isin(after[plane], list(touched - {0})) | (changed & (after[plane] == 0))
        np.testing.assert_array_equal(edit.status_after[plane][expected], CHECKED)
        np.testing.assert_array_equal(edit.status_after[plane][~expected], status[box][plane][~expected])
    moved = before != after
    assert edit.corrected == (set(before[moved].tolist()) | set(after[moved].tolist())) - {0}


@given(st.data())
def test_the_eraser_checks_the_background_it_went_over(data):
    labels, status = data.draw(documents())
    box = data.draw(boxes(labels.shape))
    erased = data.draw(hnp.arrays(bool, labels[box].shape))
    after = np.where(erased, 0, labels[box])
    edit = stroke(labels[box], after, status, box, erased)
    assert (edit.status_after[erased] == CHECKED).all()
    assert (edit.labels_after[erased] == 0).all()
    untouched = ~erased & ~np.isin(labels[box], labels[box][erased])
    np.testing.assert_array_equal(edit.status_after[untouched], status[box][untouched])


def test_erasing_part_of_an_object_checks_the_rest_of_it():
    labels = np.zeros((2, 8, 8), np.int32)
    labels[:, 2:6, 2:6] = 3
    status = np.zeros(labels.shape, np.uint8)
    box = (slice(0, 1), slice(0, 8), slice(0, 8))
    after = labels[box].copy()
    after[0, 2] = 0
    edit = stroke(labels[box], after, status, box, np.zeros(after.shape, bool))
    np.testing.assert_array_equal(edit.status_after[0] == CHECKED, labels[0] == 3)
    edit.apply(labels, status)
    assert not status[1].any()


# --- outlines --------------------------------------------------------------------------------------------

MASKS = hnp.arrays(bool, (8, 9))


@given(MASKS, MASKS)
def test_holes_are_closed_by_the_stroke_or_stay_open(before, added):
    after = before | added
    closed = enclosed_holes(before, after)
    assert not (closed & after).any()
    inside = ndi.binary_fill_holes(after)
    assert not (closed & ~inside).any()
    # what was a hole before the stroke is the user's: no part of it is filled
    was_hole = ndi.binary_fill_holes(before) & ~before
    assert not (closed & was_hole).any()
    # every hole is either filled whole or left whole
    components, count = ndi.label(inside & ~after)
    for number in range(1, count + 1):
        assert closed[components == number].all() or not closed[components == number].any()


@given(MASKS)
def test_a_stroke_that_closes_nothing_fills_nothing(before):
    assert not enclosed_holes(before, before).any()
    assert not enclosed_holes(np.zeros_like(before), np.zeros_like(before)).any()


def test_a_closed_outline_is_filled_and_an_open_one_is_not():
    ring = np.zeros((7, 7), bool)
    ring[1:6, 1:6] = True
    ring[2:5, 2:5] = False
    nothing = np.zeros_like(ring)
    np.testing.assert_array_equal(enclosed_holes(nothing, ring), ndi.binary_fill_holes(ring) & ~ring)
    ring[1, 3] = False
    assert not enclosed_holes(nothing, ring).any()


# --- segmenting again ------------------------------------------------------------------------------------


@st.composite
def refills(draw):
    labels, status = draw(documents())
    box = draw(boxes(labels.shape))
    predicted = draw(hnp.arrays(np.int32, labels[box].shape, elements=st.integers(0, 5)))
    return labels, status, predicted, box


@given(refills())
def test_refill_changes_no_voxel_that_is_checked_or_ignored(case):
    labels, status, predicted, box = case
    before = labels.copy(), status.copy()
    refill(labels, status, predicted, box).apply(labels, status)
    kept = before[1] != UNCHECKED
    np.testing.assert_array_equal(labels[kept], before[0][kept])
    np.testing.assert_array_equal(status, before[1])


@given(refills())
def test_the_same_prediction_once_more_changes_nothing(case):
    labels, status, predicted, box = case
    refill(labels, status, predicted, box).apply(labels, status)
    again = refill(labels, status, predicted, box)
    np.testing.assert_array_equal(again.labels_after, again.labels_before)


def test_objects_that_were_found_before_keep_their_numbers():
    labels = np.zeros((8, 40), np.int32)
    labels[2:6, 2:10], labels[2:6, 14:22], labels[2:6, 26:34], labels[0, 38] = 7, 3, 5, 9
    status = np.full(labels.shape, UNCHECKED, np.uint8)
    status[0, 38] = CHECKED
    predicted = np.zeros_like(labels)
    predicted[2:6, 3:11] = 1  # moved
    predicted[2:6, 14:19], predicted[2:6, 19:22] = 2, 3  # two of one: the larger part keeps the number
    predicted[2:6, 33:36] = 4  # hardly in common, but what was there is no more
    predicted[6:8, 0:3] = 5  # new
    whole = tuple(slice(0, n) for n in labels.shape)
    after = refill(labels, status, predicted, whole, 20).labels_after
    assert (after[3, 5], after[3, 15], after[3, 20], after[3, 35], after[7, 1]) == (7, 3, 20, 5, 21)
    assert after[0, 38] == 9
    # a number that a checked part has stays with that part
    status[2:6, 2:5] = CHECKED
    predicted[2:6, 3:6] = 0
    after = refill(labels, status, predicted, whole, 20).labels_after
    assert (after[3, 3], after[3, 8]) == (7, 20)


@given(refills(), st.integers(1, 40))
def test_refill_in_pieces_is_refill(case, voxels):
    labels, status, predicted, box = case
    whole = refill(labels, status, predicted, box).labels_after
    parts, filling = list(pieces(box, voxels)), Refill(predicted.shape)
    assert sum(np.prod([s.stop - s.start for s in part]) for part in parts) == predicted.size
    assert all(np.prod([s.stop - s.start for s in part]) <= voxels for part in parts)
    for part in parts:
        filling.look(within(part, box), predicted[within(part, box)], labels[part], status[part])
    free = filling.decide(int(labels.max(initial=0)) + 1)
    filled = labels.copy()
    for part in parts:
        filled[part] = filling.fill(within(part, box), predicted[within(part, box)], labels[part], status[part])
    np.testing.assert_array_equal(filled[box], whole)
    assert whole.max(initial=0) < free
    table = ObjectTable(filled, status)
    in_parts = ObjectTable(filled, status, pieces(tuple(slice(0, n) for n in filled.shape), voxels))
    for number in range(1, free):
        assert in_parts.box(number) == table.box(number)
        assert (in_parts.size(number), in_parts.is_checked(number)) == (table.size(number), table.is_checked(number))


@given(refills(), st.integers(1, 40), st.data())
def test_objects_are_counted_right_wherever_a_change_in_pieces_ends(case, voxels, data):
    labels, status, new, box = case
    table, before, now = ObjectTable(labels, status), ObjectTable(labels, status, ()), ObjectTable(labels, status, ())
    parts = list(pieces(box, voxels))
    for part in parts[: data.draw(st.integers(0, len(parts)))]:
        before.add(labels, status, part)
        labels[part] = new[within(part, box)]
        status[part] = np.where(labels[part] > 3, CHECKED, status[part])
        now.add(labels, status, part)
    known, fresh = table.exchanged(before, now, labels), ObjectTable(labels, status)
    assert sorted(known) == sorted(fresh)
    for number in fresh:
        assert known.box(number) == fresh.box(number)
        assert (known.size(number), known.is_checked(number)) == (fresh.size(number), fresh.is_checked(number))
    some = tuple(slice(0, 1 + n // 2) for n in labels.shape)
    assert known.count_in(labels, some) == fresh.count_in(labels, some)


@given(refills())
def test_refill_gives_each_new_object_an_id_of_its_own(case):
    labels, status, predicted, box = case
    free = status[box] == UNCHECKED
    kept_labels = np.where(free, 0, labels[box])
    after = refill(labels, status, predicted, box).labels_after
    in_force = set(np.unique(labels).tolist())
    owner = {}
    for number in np.unique(predicted[free & (predicted > 0)]):
        given_ids = set(np.unique(after[free & (predicted == number)]).tolist())
        assert len(given_ids) == 1, "one predicted object became several"
        (new,) = given_ids
        if new and new in kept_labels:
            assert new in kept_labels[predicted == number], "it continues an object that it does not touch"
        elif new:
            assert owner.setdefault(new, number) == number, "two predicted objects share an id"
            replaced = labels[box][free & (predicted == number)]
            assert new not in in_force or new in replaced, "it has the id of an object elsewhere"
    # where nothing was predicted there is nothing
    assert not after[free & (predicted == 0)].any()


@given(refills())
def test_refill_lets_no_known_object_grow(case):
    labels, status, predicted, box = case
    free = status[box] == UNCHECKED
    old = labels[box]
    after = refill(labels, status, predicted, box).labels_after
    for number in np.setdiff1d(np.unique(old[~free]), [0]):
        if not (old[free] == number).any():  # known completely
            np.testing.assert_array_equal(after == number, old == number)


@given(refills())
def test_refill_drops_what_mostly_lies_on_checked_background(case):
    labels, status, predicted, box = case
    kept, old = status[box] != UNCHECKED, labels[box]
    after = refill(labels, status, predicted, box).labels_after
    for number in range(1, 6):
        inside = predicted == number
        if inside.any() and not old[kept & inside].any():
            mostly = 2 * np.count_nonzero(inside & kept) > np.count_nonzero(inside)
            assert after[inside & ~kept].all() if not mostly else not after[inside & ~kept].any()


@given(refills())
def test_refill_of_nothing_checked_is_the_prediction(case):
    labels, status, predicted, box = case
    status[...] = UNCHECKED
    after = refill(labels, status, predicted, box).labels_after
    np.testing.assert_array_equal(after > 0, predicted > 0)
    pairs = set(zip(predicted.ravel().tolist(), after.ravel().tolist(), strict=True))
    assert len(pairs) == len(np.unique(predicted)) == len(np.unique(after))


def square(shape, rows, columns, number=1):
    labels = np.zeros(shape, np.int32)
    labels[rows, columns] = number
    return labels


@pytest.mark.parametrize("grow", [1, 2])
def test_no_slivers_beside_an_object_that_is_known(grow):
    """A prediction a bit larger than a checked object, or shifted, leaves nothing beside it."""
    labels = square((20, 20), slice(6, 12), slice(6, 12), 7)
    status = np.where(labels == 7, CHECKED, UNCHECKED).astype(np.uint8)
    whole = (slice(0, 20), slice(0, 20))
    larger = square((20, 20), slice(6 - grow, 12 + grow), slice(6 - grow, 12 + grow))
    shifted = square((20, 20), slice(6 + grow, 12 + grow), slice(6, 12))
    for predicted in (larger, shifted):
        np.testing.assert_array_equal(refill(labels, status, predicted, whole).labels_after, labels)


@pytest.mark.parametrize("is_cut", [False, True])
def test_an_object_that_touches_a_known_one_is_taken_over(is_cut):
    """What is predicted lies a voxel over a neighbour that is known, in whole or in part."""
    labels = square((20, 20), slice(6, 12), slice(2, 8), 7)
    status = np.where((labels == 7) & (np.arange(20) >= 5 * is_cut), CHECKED, UNCHECKED).astype(np.uint8)
    predicted = square((20, 20), slice(6, 12), slice(7, 15)) + square((20, 20), slice(6, 12), slice(2, 7), 2)
    after = refill(labels, status, predicted, (slice(0, 20), slice(0, 20))).labels_after
    np.testing.assert_array_equal(after == 7, labels == 7)
    np.testing.assert_array_equal(after == 8, (predicted == 1) & (labels == 0))
    assert set(np.unique(after)) == {0, 7, 8}


def test_an_object_cut_by_a_checked_area_goes_on_under_its_id():
    old = square((20, 20), slice(6, 12), slice(4, 16), 7)
    status = np.zeros((20, 20), np.uint8)
    status[:, :10] = CHECKED
    predicted = square((20, 20), slice(5, 12), slice(4, 14), 3)
    after = refill(old, status, predicted, (slice(0, 20), slice(0, 20))).labels_after
    np.testing.assert_array_equal(after[:, :10], old[:, :10])
    np.testing.assert_array_equal(after[:, 10:], np.where(predicted[:, 10:], 7, 0))


def test_two_known_objects_are_never_merged():
    """A prediction that runs over two of them cannot join them, whether they are known in whole or in part."""
    labels = square((20, 20), slice(6, 12), slice(2, 8), 1) + square((20, 20), slice(6, 12), slice(12, 18), 2)
    predicted = square((20, 20), slice(6, 12), slice(2, 18))
    for known in (labels > 0, np.arange(20)[None] * np.ones((20, 1)) < 15):
        status = np.where(known, CHECKED, UNCHECKED).astype(np.uint8)
        after = refill(labels, status, predicted, (slice(0, 20), slice(0, 20))).labels_after
        np.testing.assert_array_equal(after[known], labels[known])
        for number in (1, 2):
            _, parts = ndi.label(after == number)
            assert parts <= 1
        assert len(np.unique(after[predicted > 0])) >= 2


def test_new_ids_leave_those_outside_the_box_alone():
    labels = square((20, 20), slice(0, 4), slice(0, 4), 99)
    status = np.zeros((20, 20), np.uint8)
    box = (slice(10, 20), slice(10, 20))
    edit = refill(labels, status, square((10, 10), slice(2, 6), slice(2, 6)), box)
    assert set(np.unique(edit.labels_after)) == {0, 100}


# --- segmenting again, objects linked from planes ---------------------------------------------------------


@st.composite
def linked_refills(draw):
    """A prediction whose objects were linked along some axes, into labels of which some are known."""
    labels, status = draw(documents().filter(lambda one: one[0].ndim > 2))
    box = draw(boxes(labels.shape))
    predicted = draw(hnp.arrays(np.int32, labels[box].shape, elements=st.integers(0, 3)))
    linked = draw(st.sampled_from([tuple(range(labels.ndim - 2)), (0,)]))
    return labels, status, predicted, box, linked


def planes_of(array, linked):
    return [array[(*index, ...)] for index in np.ndindex(array.shape[: len(linked)])]


@given(linked_refills())
def test_each_plane_of_linked_objects_is_filled_as_on_its_own(case):
    """So what is checked stays, and where nothing is, nothing that was predicted is lost, whatever was linked to it."""
    labels, status, predicted, box, linked = case
    after = refill(labels, status, predicted, box, linked=linked).labels_after
    kept = status[box] != UNCHECKED
    np.testing.assert_array_equal(after[kept], labels[box][kept])
    parts = [planes_of(array, linked) for array in (labels[box], status[box], predicted, after)]
    for old, known, new, result in zip(*parts, strict=True):
        alone = refill(old, known, new, tuple(slice(0, n) for n in old.shape)).labels_after
        np.testing.assert_array_equal(result > 0, alone > 0)
        if (known == UNCHECKED).all():
            pairs = set(zip(new.ravel().tolist(), result.ravel().tolist(), strict=True))
            assert len(pairs) == len(np.unique(new))
            np.testing.assert_array_equal(result > 0, new > 0)


@given(linked_refills())
def test_linked_objects_make_no_known_object_grow_where_it_is_known(case):
    labels, status, predicted, box, linked = case
    old, free = labels[box], status[box] == UNCHECKED
    after = refill(labels, status, predicted, box, linked=linked).labels_after
    for before, unknown, result in zip(*(planes_of(one, linked) for one in (old, free, after)), strict=True):
        for number in np.setdiff1d(before[~unknown], [0]):
            is_known_here = not (before[unknown] == number).any()
            if is_known_here:
                np.testing.assert_array_equal(result == number, before == number)
    for number in np.setdiff1d(old[~free], [0]):
        planes = sum((plane == number).any() for plane in planes_of(old, linked))
        if planes > 1 and not (old[free] == number).any():
            np.testing.assert_array_equal(after == number, old == number)


@given(linked_refills())
def test_what_is_left_of_linked_objects_is_never_joined_and_stays_itself(case):
    labels, status, predicted, box, linked = case
    edit = refill(labels, status, predicted, box, linked=linked)
    kept, after = status[box] != UNCHECKED, edit.labels_after
    known = set(labels[box][kept].tolist())
    for number in np.setdiff1d(after[~kept], [*known, 0]):
        assert len(np.unique(predicted[(after == number) & ~kept])) == 1
        assert number not in labels or number in labels[box], "it has the id of an object elsewhere"
    edit.apply(labels, status)
    again = refill(labels, status, predicted, box, linked=linked)
    np.testing.assert_array_equal(again.labels_after, again.labels_before)


@given(linked_refills(), st.integers(1, 40))
def test_linked_objects_are_filled_in_pieces_alike(case, voxels):
    labels, status, predicted, box, linked = case
    whole = refill(labels, status, predicted, box, linked=linked).labels_after
    parts, filling = list(pieces(box, voxels)), Refill(predicted.shape, linked)
    for part in parts:
        inner = within(part, box)
        filling.look(inner, predicted[inner], labels[part], status[part])
    free = filling.decide(int(labels.max(initial=0)) + 1)
    for part in parts:
        inner = within(part, box)
        labels[part] = filling.fill(inner, predicted[inner], labels[part], status[part])
    np.testing.assert_array_equal(labels[box], whole)
    assert whole.max(initial=0) < free


def column(slices, number=1):
    labels = np.zeros((10, 12, 12), np.int32)
    labels[slices, 3:9, 3:9] = number
    return labels


def test_objects_above_and_below_a_checked_one_that_they_were_linked_with_stay():
    labels = column(slice(3, 6), 7)
    status = np.where(labels == 7, CHECKED, UNCHECKED).astype(np.uint8)
    whole = tuple(slice(0, n) for n in labels.shape)
    predicted = column(slice(0, 10))
    predicted[:, 2, 3:9] = 1  # a bit larger than what is checked
    after = refill(labels, status, predicted, whole, linked=(0,)).labels_after
    np.testing.assert_array_equal(after == 7, labels == 7)
    np.testing.assert_array_equal(after == 8, (predicted == 1) & (np.arange(10) < 3)[:, None, None])
    np.testing.assert_array_equal(after == 9, (predicted == 1) & (np.arange(10) > 5)[:, None, None])
    assert not (after[3:6] > 7).any()
    # a model of volumes means one object, which the checked one is
    np.testing.assert_array_equal(refill(labels, status, predicted, whole).labels_after, labels)


def test_an_object_drawn_in_one_slice_goes_on_in_the_others_and_stays_there_as_it_was_drawn():
    labels = column(slice(0, 6), 7)
    labels[3] = 0
    labels[3, 4:8, 4:8] = 7
    status = np.zeros(labels.shape, np.uint8)
    status[3] = np.where(labels[3] == 7, CHECKED, UNCHECKED)
    whole = tuple(slice(0, n) for n in labels.shape)
    after = refill(labels, status, column(slice(1, 9)), whole, linked=(0,)).labels_after
    expected = column(slice(1, 9), 7)
    expected[3] = labels[3]
    np.testing.assert_array_equal(after, expected)

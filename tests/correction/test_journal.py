"""The undo stack: a list of states, walked back and forth."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.correction import Edit, Journal

SHAPE = (4, 5)


def make_edit(labels, status, value, corrected=frozenset()):
    """Return an edit that writes `value` everywhere."""
    return Edit(
        box=(slice(0, 4), slice(0, 5)),
        labels_before=labels.copy(),
        labels_after=np.full(SHAPE, value, np.int32),
        status_before=status.copy(),
        status_after=np.full(SHAPE, value % 3, np.uint8),
        what="stroke",
        corrected=frozenset(corrected),
    )


ACTIONS = st.lists(st.one_of(st.just("undo"), st.just("redo"), st.integers(1, 9)), max_size=30)


@given(ACTIONS)
def test_undo_and_redo_walk_the_states(actions):
    """However one goes back and forth, labels, status and the corrected objects are those of that moment."""
    journal = Journal()
    labels, status = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.uint8)
    states, here = [(labels.copy(), status.copy(), set())], 0
    for action in actions:
        if action == "undo":
            edit = journal.undo()
            assert (edit is None) is (here == 0)
            if edit is not None:
                edit.revert(labels, status)
                here -= 1
        elif action == "redo":
            edit = journal.redo()
            assert (edit is None) is (here == len(states) - 1)
            if edit is not None:
                edit.apply(labels, status)
                here += 1
        else:
            edit = make_edit(labels, status, action, {action})
            edit.apply(labels, status)
            journal.record(edit)
            states = [*states[: here + 1], (labels.copy(), status.copy(), states[here][2] | {action})]
            here += 1
        np.testing.assert_array_equal(labels, states[here][0])
        np.testing.assert_array_equal(status, states[here][1])
        assert journal.corrected == states[here][2]
        assert len(journal) == here


@given(st.integers(1, 40), st.integers(1, 10))
def test_memory_is_bounded_and_the_oldest_go_first(count, room):
    labels, status = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.uint8)
    one = make_edit(labels, status, 0)
    journal = Journal(max_bytes=room * one.nbytes)
    for value in range(1, count + 1):
        edit = make_edit(labels, status, value, {value})
        edit.apply(labels, status)
        journal.record(edit)
    assert len(journal) == min(count, room)
    # what is too old to take back still counts as corrected
    assert journal.corrected == set(range(1, count + 1))
    taken_back = 0
    while (edit := journal.undo()) is not None:
        edit.revert(labels, status)
        taken_back += 1
    assert taken_back == min(count, room)
    np.testing.assert_array_equal(labels, count - taken_back)
    assert journal.corrected == set(range(1, count - taken_back + 1))


def test_the_last_edit_can_be_taken_back_however_large_it_is():
    labels, status = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.uint8)
    journal = Journal(max_bytes=1)
    journal.record(make_edit(labels, status, 1))
    journal.record(make_edit(labels, status, 2))
    assert len(journal) == 1
    assert journal.undo() is not None
    assert journal.undo() is None


def test_what_was_undone_cannot_be_redone_after_another_edit():
    labels, status = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.uint8)
    journal = Journal()
    journal.record(make_edit(labels, status, 1, {1}))
    journal.undo()
    assert journal.corrected == set()
    journal.record(make_edit(labels, status, 2, {2}))
    assert journal.redo() is None
    assert journal.corrected == {2}

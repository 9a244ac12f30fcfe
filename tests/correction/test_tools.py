"""The click tools: what each does, what all of them must never do, and that they look at their boxes alone."""

from __future__ import annotations

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage as ndi

from napari_unet import Status
from napari_unet.correction import (
    ObjectTable,
    accept_proposal,
    confirm_object,
    count_pieces,
    cut_object,
    delete_object,
    extend_object,
    fill_holes,
    interpolate_object,
    mark,
    merge_objects,
    object_box,
    propose,
    refill,
    split_object,
)
from napari_unet.correction import objects as objects_module
from napari_unet.errors import AnnotationError

FRESH = 50
TOOLS = [
    "delete", "confirm", "mark", "merge", "split", "cut", "fill", "interpolate", "extend", "propose", "propose 3-D",
]  # fmt: skip


@st.composite
def scenes(draw):
    """A plane, stack or movie with a few blocky objects, some checked, and what a click needs."""
    shape = draw(st.sampled_from([(14, 16), (4, 12, 13), (2, 3, 10, 11)]))
    labels = np.zeros(shape, np.int32)
    for number in range(1, draw(st.integers(1, 4)) + 1):
        corner = [draw(st.integers(0, n - 1)) for n in shape]
        size = [draw(st.integers(1, max(1, n // 2))) for n in shape]
        labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = number
    status = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2]), fill=st.just(0)))
    maps = draw(hnp.arrays(np.float32, (3, *shape), elements=st.floats(0, 1, width=16), fill=st.just(0.0)))
    points = [tuple(draw(st.integers(0, n - 1)) for n in shape) for _ in range(2)]
    return labels, status, maps if draw(st.booleans()) else None, points


def click(tool, labels, status, maps, points):
    """Return the edit of a tool where the points are, None where it declines."""
    number = int(labels[points[0]]) or 1
    box = object_box(labels, number)
    image = np.random.default_rng(0).random(labels.shape).astype(np.float32)

    def proposed(dims):
        found = propose(labels, status, points[0], maps=maps, image=image, dims=min(labels.ndim, dims))
        return found and accept_proposal(labels, status, found.grow(), FRESH)

    def split():
        seeds = np.argwhere(labels == number)[[0, -1]] if box else points
        return split_object(labels, status, number, seeds, FRESH, maps=maps)

    do = {
        "delete": lambda: delete_object(labels, status, number),
        "confirm": lambda: confirm_object(labels, status, number),
        "mark": lambda: box and mark(labels, status, box, labels[box] == number, Status.UNCHECKED),
        "merge": lambda: merge_objects(labels, status, [1, 2]),
        "split": split,
        "cut": lambda: cut_object(labels, status, number, points, FRESH),
        "fill": lambda: fill_holes(labels, status, number),
        "interpolate": lambda: interpolate_object(labels, status, number),
        "extend": lambda: extend_object(labels, status, number, points[0][:-2], 1, maps=maps, image=image),
        "propose": lambda: proposed(2),
        "propose 3-D": lambda: proposed(3),
    }
    try:
        return do[tool]()
    except AnnotationError:
        return None


@settings(max_examples=60)
@given(scenes(), st.sampled_from(TOOLS))
def test_what_every_tool_must_keep(scene, tool):
    labels, status, maps, points = scene
    if tool in ("interpolate", "extend") and labels.ndim == 2:
        return
    before, known = labels.copy(), status.copy()
    table = ObjectTable(labels, status)
    edit = click(tool, labels, status, maps, points)
    np.testing.assert_array_equal(labels, before)  # a pure function
    np.testing.assert_array_equal(status, known)
    if not edit:
        return
    edit.apply(labels, status)
    table.update(edit, labels)
    outside = np.ones(labels.shape, bool)
    outside[edit.box] = False
    np.testing.assert_array_equal(labels[outside], before[outside])
    np.testing.assert_array_equal(status[outside], known[outside])
    # objects that it does not name, checked or not, keep their voxels and what is known of them
    others = (before > 0) & ~np.isin(before, list(edit.corrected))
    np.testing.assert_array_equal(labels[others], before[others])
    if tool not in ("confirm", "mark"):
        np.testing.assert_array_equal(status[others], known[others])
        np.testing.assert_array_equal(status[known == Status.IGNORE], Status.IGNORE)
    # ids are old ones, or new ones from the fresh one on
    new = np.setdiff1d(labels, before)
    assert set(new.tolist()) <= set(range(FRESH, FRESH + 40))
    # the table follows
    for numbers in (before, labels):
        for number in np.setdiff1d(numbers, [0]):
            assert table.box(int(number)) == object_box(labels, int(number))
            assert table.size(int(number)) == np.count_nonzero(labels == number)
    assert table.checked == len(np.setdiff1d(labels[status == Status.CHECKED], [0]))
    edit.revert(labels, status)
    table.update(edit, labels, reverted=True)
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(status, known)
    assert table._boxes == ObjectTable(before, known)._boxes
    assert table._checked == ObjectTable(before, known)._checked


@given(scenes(), st.integers(0, 6))
def test_the_table_follows_a_new_segmentation(scene, seed):
    labels, status, _, _ = scene
    table = ObjectTable(labels, status)
    predicted = np.random.default_rng(seed).integers(0, 4, labels.shape)
    edit = refill(labels, status, predicted, tuple(slice(0, n) for n in labels.shape))
    edit.apply(labels, status)
    table.update(edit, labels)
    fresh = ObjectTable(labels, status)
    assert (table._boxes, table._sizes, table._checked) == (fresh._boxes, fresh._sizes, fresh._checked)
    assert len(table) == np.count_nonzero(np.unique(labels))


@given(scenes(), st.integers(0, 6), st.data())
def test_objects_in_a_box_are_counted_either_way(scene, seed, data):
    labels, status, _, _ = scene
    table = ObjectTable(labels, status)
    for _ in range(2):
        corners = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in labels.shape]
        box = tuple(slice(*pair) for pair in corners)
        there = np.count_nonzero(np.unique(labels[box]))
        for per_object in (0, 10**9):  # by the boxes, by the voxels
            with mock.patch.object(objects_module, "_VOXELS_PER_OBJECT", per_object):
                assert table.count_in(labels, box) == there
        predicted = np.random.default_rng(seed).integers(0, 4, labels.shape)
        edit = refill(labels, status, predicted, tuple(slice(0, n) for n in labels.shape))
        edit.apply(labels, status)
        table.update(edit, labels)


def two_discs(gap=0):
    """Two discs that touch, as one object in a plane, and the truth."""
    grid = np.indices((40, 60))
    truth = np.zeros((40, 60), np.int32)
    truth[np.hypot(grid[0] - 20, grid[1] - 18) < 11] = 1
    truth[(np.hypot(grid[0] - 20, grid[1] - 39 - gap) < 11) & (truth == 0)] = 2
    return truth


def agreement(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


@pytest.mark.parametrize("by", ["distances", "maps", "image", "line"])
@pytest.mark.parametrize("deep", [False, True])
def test_split_finds_the_two(by, deep):
    truth = two_discs()
    inward = np.where(truth > 0, ndi.distance_transform_edt(truth == 1) + ndi.distance_transform_edt(truth == 2), 0)
    maps = np.stack([(truth > 0).astype(np.float32), inward / 12, inward / 12])
    image = ndi.gaussian_filter(np.where(truth == 2, 300.0, 100.0) * (truth > 0), 1)
    if deep:
        truth, image, maps = np.stack([truth] * 3), np.stack([image] * 3), np.stack([maps] * 3, axis=1)
    labels = (truth > 0) * 7
    status = np.zeros(labels.shape, np.uint8)
    lead = (1,) * deep
    if by == "line":
        edit = cut_object(labels, status, 7, [(*lead, 2, 29), (*lead, 38, 28)], 30)
    else:
        seeds = [(*lead, 20, 16), (*lead, 21, 41)]
        options = {"maps": {"maps": maps}, "image": {"image": image}}.get(by, {})
        edit = split_object(labels, status, 7, seeds, 30, **options)
    edit.apply(labels, status)
    assert set(np.unique(labels)) == {0, 7, 30}
    for number in (1, 2):
        assert max(agreement(truth == number, labels == one) for one in (7, 30)) > 0.93
    assert (status[truth > 0] == Status.CHECKED).all()
    assert edit.corrected == {7, 30}


@pytest.mark.parametrize("by", ["maps", "image", "distances"])
def test_every_click_of_split_gets_its_share_where_nothing_draws_a_border(by):
    rows, columns = np.indices((40, 80))
    level = 1 - np.hypot((rows - 20) / 12, (columns - 40) / 36)  # one smooth hill: the network sees one object
    labels = (level > 0) * 7
    maps, image = np.stack([np.clip(level, 0, 1)] * 3).astype(np.float32), 1000 * np.clip(level, 0, 1)
    options = {"maps": {"maps": maps}, "image": {"image": image}}.get(by, {})
    edit = split_object(labels, np.zeros(labels.shape, np.uint8), 7, [(20, 16), (20, 40), (21, 64)], 30, **options)
    sizes = np.bincount(edit.labels_after.ravel())[[7, 30, 31]]
    assert sizes.min() > 0.2 * sizes.sum()


def test_split_says_what_is_missing():
    labels = (two_discs() > 0).astype(np.int32)
    status = np.zeros(labels.shape, np.uint8)
    with pytest.raises(AnnotationError, match="two or more places"):
        split_object(labels, status, 1, [(20, 16), (0, 0)], 9)
    with pytest.raises(AnnotationError, match="does not cross"):
        cut_object(labels, status, 1, [(20, 16), (21, 18)], 9)
    assert split_object(labels, status, 5, [(20, 16), (20, 40)], 9) is None


def test_merge_closes_the_gap_and_leaves_checked_background():
    labels = two_discs(gap=4)
    status = np.zeros(labels.shape, np.uint8)
    status[20, 29:33] = Status.CHECKED
    edit = merge_objects(labels, status, [2, 1])
    edit.apply(labels, status)
    assert set(np.unique(labels)) == {0, 2}
    assert ndi.label(labels > 0)[1] == 1
    assert (labels[20, 30:32] == 0).all()
    assert merge_objects(labels, status, [2, 9]) is None


def test_merging_in_a_stack_checks_the_planes_that_changed():
    labels = np.zeros((3, 8, 12), np.int32)
    labels[:, 2:6, 1:5] = 1
    labels[1, 2:6, 5:9] = 2
    status = np.zeros(labels.shape, np.uint8)
    merge_objects(labels, status, [1, 2]).apply(labels, status)
    assert (labels[1, 2:6, 1:9] == 1).all()
    assert (status.any((1, 2)) == [False, True, False]).all()


def test_fill_holes_leaves_what_is_in_them():
    labels = np.ones((2, 9, 9), np.int32)
    labels[0, 3:6, 3:6] = 0
    labels[0, 4, 4] = 5
    status = np.zeros(labels.shape, np.uint8)
    status[0, 3, 3] = Status.IGNORE
    edit = fill_holes(labels, status, 1)
    edit.apply(labels, status)
    assert labels[0, 4, 4] == 5
    assert labels[0, 3, 3] == 0
    assert np.count_nonzero(labels[0] == 1) == 79
    assert not status[1].any()
    assert fill_holes(labels, status, 5) is None


def test_interpolating_follows_an_object_that_moves_and_grows():
    grid = np.indices((50, 60))
    labels = np.zeros((5, 50, 60), np.int32)
    truth = [np.hypot(grid[0] - 20, grid[1] - 12 - 8 * z) < 6 + 1.5 * z for z in range(5)]
    for z in (0, 4):
        labels[z][truth[z]] = 3
    labels[2, 20, 20:24] = 8
    status = np.zeros(labels.shape, np.uint8)
    status[2, 22] = Status.CHECKED
    edit = interpolate_object(labels, status, 3)
    edit.apply(labels, status)
    for z in (1, 2, 3):
        assert agreement(labels[z] == 3, truth[z]) > (0.75 if z == 2 else 0.85)
    assert (labels[2, 20, 20:24] == 8).all()
    assert not (labels[2, 22] == 3).any()
    assert not status[[1, 3]].any()
    assert interpolate_object(labels, status, 3) is None
    with pytest.raises(AnnotationError, match="needs a stack"):
        interpolate_object(labels[0], status[0], 3)


def blobs():
    """A foreground map of a stack with two neighbours and a lone object, all smooth."""
    grid = np.indices((5, 60, 90))
    centres = [((2, 30, 20), 9), ((2, 30, 41), 9), ((2, 20, 70), 7)]
    height = [
        r - np.sqrt((2 * (grid[0] - c[0])) ** 2 + (grid[1] - c[1]) ** 2 + (grid[2] - c[2]) ** 2) for c, r in centres
    ]
    truth = np.argmax(height, axis=0) + 1
    truth[np.max(height, axis=0) <= 0] = 0
    return truth.astype(np.int32), (1 / (1 + np.exp(-np.max(height, axis=0)))).astype(np.float32)[None]


@pytest.mark.parametrize("source", ["maps", "image", "dark image"])
def test_the_proposal_is_the_object_under_the_cursor(source):
    truth, maps = blobs()
    options = {"maps": maps} if source == "maps" else {"image": (-1 if "dark" in source else 1) * 900 * maps[0] + 1000}
    labels, status = np.zeros(truth.shape, np.int32), np.zeros(truth.shape, np.uint8)
    for number, point in ((1, (2, 31, 18)), (2, (2, 27, 43)), (3, (2, 20, 70))):
        found = propose(labels, status, point, object_diameter_px=18, **options)
        assert found.mask[tuple(p - s.start for p, s in zip(point, found.box, strict=True))]
        sizes = [dataclasses.replace(found, chosen=k).mask.sum() for k in range(1, found.count + 1)]
        assert sizes == sorted(sizes, reverse=True)
        assert found.shrink().mask.sum() <= found.mask.sum() <= found.grow().mask.sum()
        edit = accept_proposal(labels, status, found, 10 + number)
        edit.apply(labels, status)
        assert agreement(labels[2] == 10 + number, truth[2] == number) > 0.6
        assert (status[labels == 10 + number] == Status.CHECKED).all()
    body = propose(np.zeros_like(labels), np.zeros_like(status), (2, 20, 70), object_diameter_px=14, dims=3, **options)
    assert body.mask.any((1, 2)).sum() > 1


def test_a_proposal_on_an_unchecked_object_gives_it_a_new_outline_and_leaves_checked_ones_alone():
    truth, maps = blobs()
    labels, status = np.zeros(truth.shape, np.int32), np.zeros(truth.shape, np.uint8)
    labels[2, 25:50, 10:25] = 4
    labels[1, 30, 20] = 4
    found = propose(labels, status, (2, 30, 20), maps=maps, object_diameter_px=18)
    accept_proposal(labels, status, found, 99).apply(labels, status)
    assert 99 not in labels
    assert agreement(labels[2] == 4, truth[2] == 1) > 0.6
    assert labels[1, 30, 20] == 4  # in other planes it stays
    assert (status[2, 45:50, 10:25] == Status.CHECKED).all()
    assert propose(labels, status, (2, 30, 20), maps=maps) is None
    status[2, 20, 70] = Status.IGNORE
    assert propose(labels, status, (2, 20, 70), maps=maps) is None
    assert propose(labels, status, (2, 5, 5)) is None


def test_an_object_is_followed_through_the_stack_to_its_end():
    truth, maps = blobs()
    labels, status = np.where(truth * (np.arange(5) == 2)[:, None, None] == 1, 6, 0), np.zeros(truth.shape, np.uint8)
    for plane, step in ((2, 1), (3, 1), (2, -1)):
        edit = extend_object(labels, status, 6, (plane,), step, maps=maps)
        edit.apply(labels, status)
        here = plane + step
        assert agreement(labels[here] == 6, truth[here] == 1) > 0.6
        assert (status[labels == 6] == Status.CHECKED)[np.argwhere(labels == 6)[:, 0] == here].all()
    assert extend_object(labels, status, 6, (4,), 1, maps=maps) is None  # the stack ends
    assert extend_object(labels, status, 6, (3,), 1, maps=maps) is None  # it is there already
    assert extend_object(labels, status, 5, (2,), 1, maps=maps) is None


@pytest.mark.parametrize(("gap", "pieces"), [(0, 1), (4, 1), (12, 2)])
def test_distant_pieces_are_told(gap, pieces):
    labels = np.zeros((1, 10, 40), np.int32)
    labels[0, 3:6, 2:8] = 1
    labels[0, 3:6, 8 + gap : 14 + gap] = 1
    assert count_pieces(labels, 1, object_box(labels, 1)) == pieces

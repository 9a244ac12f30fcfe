"""Where to look next, and whether one is done."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.correction import are_we_done, doubtful_places, is_good_enough, tell_counts


def scene():
    """Nine discs in a plane: number 5 is unsure, 9 is huge, and there is a faint one without an object."""
    grid = np.indices((120, 160))
    labels, maps = np.zeros((120, 160), np.int32), np.zeros((3, 120, 160), np.float32)
    for number in range(1, 10):
        centre = 20 + 40 * ((number - 1) // 4), 20 + 40 * ((number - 1) % 4)
        radius = 18 if number == 9 else 9
        height = radius - np.hypot(grid[0] - centre[0], grid[1] - centre[1])
        labels[height > 0] = number
        sure = 0.62 if number == 5 else 0.98
        maps[0][height > 0] = sure
        maps[1:] = np.maximum(maps[1:], np.clip(height / radius, 0, 1) * (0.5 if number == 5 else 1))
    faint = np.hypot(grid[0] - 100, grid[1] - 140) < 9
    maps[0][faint] = 0.45
    return labels, np.zeros(labels.shape, np.uint8), maps, faint


@pytest.mark.parametrize("deep", [False, True])
def test_the_doubtful_come_first_and_misses_are_among_them(deep):
    labels, status, maps, faint = scene()
    if deep:
        labels, status, faint = (np.stack([one] * 2) for one in (labels, status, faint))
        maps = np.stack([maps] * 2, axis=1)
    places = doubtful_places(labels, status, maps)
    assert {place.number for place in places[:3]} == {5, 9, 0}
    assert len(places) == 10
    for place in places:
        assert labels[place.point] == place.number
        assert faint[place.point] or place.number
    assert [place.doubt for place in places] == sorted((place.doubt for place in places), reverse=True)


def test_what_is_checked_or_ignored_is_not_asked_again():
    labels, status, maps, faint = scene()
    status[labels == 5] = 1
    status[labels == 9] = 2
    status[faint] = 1
    assert {place.number for place in doubtful_places(labels, status, maps)} == {1, 2, 3, 4, 6, 7, 8}
    status[...] = 1
    assert doubtful_places(labels, status, maps) == []


def test_the_foreground_alone_will_do_and_nothing_is_no_problem():
    labels, status, maps, _ = scene()
    assert doubtful_places(labels, status, maps[:1])[0].number in (0, 5, 9)
    empty = np.zeros_like(labels)
    assert doubtful_places(empty, status, np.zeros_like(maps)) == []
    (miss,) = doubtful_places(empty, status, np.where(labels == 3, maps, 0))
    assert miss.number == 0
    assert labels[miss.point] == 3


@pytest.mark.parametrize("deep", [False, True])
def test_what_the_network_says_otherwise_of_the_mirrored_image_is_doubtful(deep):
    labels, status, maps, _ = scene()
    mirrored = maps.copy()
    mirrored[:, labels == 7] -= 0.9
    if deep:
        labels, status = (np.stack([one] * 2) for one in (labels, status))
        maps, mirrored = (np.stack([one] * 2, axis=1) for one in (maps, mirrored))
    before = {place.number: place.doubt for place in doubtful_places(labels, status, maps)}
    assert max(before, key=before.get) != 7
    first, *others = doubtful_places(labels, status, maps, mirrored=mirrored)
    assert first.number == 7
    for place in others:
        assert place.doubt == pytest.approx(before[place.number]), "the same as ever"


def test_objects_that_were_not_mirrored_count_as_ordinary_ones():
    labels, status, maps, _ = scene()
    where = (slice(0, 40), slice(0, 120))  # objects 1 to 3
    mirrored = maps[(slice(None), *where)] - np.float32(0.1)
    mirrored[:, labels[where] == 2] += 0.1
    before = {place.number: place.doubt for place in doubtful_places(labels, status, maps)}
    after = {p.number: p.doubt for p in doubtful_places(labels, status, maps, mirrored=mirrored, where=where)}
    added = {number: round(after[number] - before[number], 2) for number in range(1, 10)}
    assert added[1] == added[3] == added[9] == pytest.approx(0.4, abs=0.02)
    assert 0 < added[2] < 0.3, "the ground around it only"
    assert after[0] == before[0]
    # none of them in view
    nothing = doubtful_places(labels, status, maps, mirrored=maps[:, :2, :2] + 1, where=(slice(0, 2), slice(0, 2)))
    assert {place.number: place.doubt for place in nothing} == before


def test_counts_and_the_sentence():
    assert tell_counts(37, 210, 12) == "37 of 210 objects checked, 12 corrected"
    assert tell_counts(0, 1, 0) == "0 of 1 object checked, 0 corrected"
    decided = list(range(1, 251))
    corrected = {*range(1, 41), *range(101, 119), *range(201, 204)}
    assert are_we_done(decided, corrected) == "corrected per 100 checked: 40 -> 18 -> 6"
    assert are_we_done(decided, {1}).endswith("-> 0. Good enough? Segment the folder.")
    assert are_we_done(decided[:19], corrected) == ""
    assert (
        are_we_done(range(1, 501), {150})
        == "corrected per 100 checked: 0 -> 1 -> 0 -> 0 -> 0. Good enough? Segment the folder."
    )
    many = are_we_done(range(1, 4200), {*range(31), *range(4000, 4050)})
    assert many.startswith("corrected per 100 checked: 30 -> ... -> 1 -> 49 -> 0. Good")
    assert are_we_done(decided[:110], corrected) == "corrected per 100 checked: 40"


@given(st.lists(st.integers(1, 500), unique=True), st.sets(st.integers(1, 500)))
def test_rates_are_percentages(decided, corrected):
    sentence = are_we_done(decided, corrected)
    rates = [int(word.rstrip(".")) for word in sentence.split() if word.rstrip(".").isdigit()][1:]
    assert all(0 <= rate <= 100 for rate in rates)
    assert bool(rates) == (len(decided) >= 20)
    assert is_good_enough(decided, corrected) == (bool(rates) and rates[-1] < 5)
    assert is_good_enough(decided, corrected) == sentence.endswith("Good enough? Segment the folder.")

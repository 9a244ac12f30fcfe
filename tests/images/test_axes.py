"""Axes: what each dimension means."""

from __future__ import annotations

from itertools import permutations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import ImageError
from napari_unet.images import check_axes, from_canonical, guess_axes, label_axes, to_canonical


@st.composite
def named_shapes(draw: st.DrawFn, letters: str = "TCZ") -> tuple[str, tuple[int, ...]]:
    others = draw(st.sets(st.sampled_from(letters)))
    axes = "".join(draw(st.permutations(sorted({"Y", "X"} | others))))
    return axes, tuple(draw(st.integers(1, 4)) for _ in axes)


@given(named_shapes("TZ"))
def test_labels_come_back_in_their_own_axes(named: tuple[str, tuple[int, ...]]) -> None:
    axes, shape = named
    labels = np.arange(np.prod(shape)).reshape(shape)
    canonical = to_canonical(labels, axes)
    assert canonical.ndim == 5
    np.testing.assert_array_equal(from_canonical(canonical[:, 0], axes), labels)


@given(named_shapes("TCZ"))
def test_canonical_image_has_each_length_in_its_place(named: tuple[str, tuple[int, ...]]) -> None:
    axes, shape = named
    canonical = to_canonical(np.zeros(shape), axes)
    assert canonical.shape == tuple(shape[axes.index(letter)] if letter in axes else 1 for letter in "TCZYX")


@given(named_shapes("TCZ"))
def test_voxels_keep_their_neighbours(named: tuple[str, tuple[int, ...]]) -> None:
    axes, shape = named
    image = np.random.default_rng(0).random(shape)
    canonical = to_canonical(image, axes)
    index = tuple(n - 1 for n in shape)
    place = tuple(index[axes.index(letter)] if letter in axes else 0 for letter in "TCZYX")
    assert canonical[place] == image[index]


def test_colours_become_channels() -> None:
    image = np.random.default_rng(0).random((4, 5, 3))
    np.testing.assert_array_equal(to_canonical(image, "YXS")[0, :, 0], np.moveaxis(image, -1, 0))


def test_dask_stays_lazy() -> None:
    assert isinstance(to_canonical(da.zeros((4, 5, 3)), "YXT"), da.Array)


def test_maps_keep_their_channels_in_front_of_space() -> None:
    maps = np.zeros((2, 3, 1, 4, 5))
    assert from_canonical(maps, "TYX").shape == (2, 3, 4, 5)
    assert from_canonical(maps[:1], "YX").shape == (3, 4, 5)
    assert from_canonical(maps[:1], "ZYX").shape == (3, 1, 4, 5)


@pytest.mark.parametrize(
    ("axes", "ndim", "words"),
    [
        ("YQ", 2, "hold Q"),
        ("YXY", 3, "twice"),
        ("ZY", 2, "lack X or Y"),
        ("", 0, "lack X or Y"),
        ("CYXS", 4, "both C and S"),
        ("YX", 3, "name 2 dimensions but the image has 3"),
        ("ZYX", 2, "name 3 dimensions but the image has 2"),
    ],
)
def test_wrong_axes_say_what_is_wrong(axes: str, ndim: int, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        check_axes(axes, ndim)


def test_small_letters_and_blanks_are_fine() -> None:
    assert check_axes(" zyx ", 3) == "ZYX"


@pytest.mark.parametrize("axes", ["".join(p) for p in permutations("CYX")])
def test_labels_have_no_channels(axes: str) -> None:
    assert label_axes(axes) == axes.replace("C", "")
    assert label_axes(axes.replace("C", "S")) == axes.replace("C", "")


def test_axes_are_guessed_only_where_they_are_sure() -> None:
    assert guess_axes((5, 5)) == "YX"
    assert guess_axes((5, 5, 3), rgb=True) == "YXS"
    assert guess_axes((5, 5, 3)) is None
    assert guess_axes((2, 5, 5, 3), rgb=True) is None
    assert guess_axes((5,)) is None

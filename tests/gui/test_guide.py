"""What the tools follow is addressed by the voxels of the whole image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.gui.guide import Gray, Guide


@given(st.data())
def test_a_part_of_the_maps_is_where_it_belongs(data):
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * data.draw(st.integers(2, 3))))
    corners = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n)))) for n in shape]
    box = tuple(slice(a, max(b, a + 1)) for a, b in corners)
    part = np.random.default_rng(0).random((3, *(s.stop - s.start for s in box)), np.float32)
    whole = np.zeros((3, *shape), np.float32)
    whole[(slice(None), *box)] = part
    guide = Guide(part, "ZYX"[-len(shape) :], box, shape)
    assert guide.shape == whole.shape
    point = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    assert guide[(0, *point)] == whole[(0, *point)]
    asked = tuple(slice(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2)))) for n in shape)
    np.testing.assert_array_equal(guide[(slice(1, 3), *asked)], whole[(slice(1, 3), *asked)])
    np.testing.assert_array_equal(guide[(2, *asked)], whole[(2, *asked)])
    np.testing.assert_array_equal(guide[0][asked], whole[0][asked])


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX", "TCZYX"])
def test_maps_come_in_the_axes_of_the_labels(axes):
    letters = [letter for letter in axes if letter != "C"]
    sizes = {"T": 2, "Z": 3, "Y": 4, "X": 5}
    maps = np.random.default_rng(0).random((2, 3, 3, 4, 5))  # (T, maps, Z, Y, X)
    guide = Guide(maps, axes, tuple(slice(0, sizes[one]) for one in letters), tuple(sizes[one] for one in letters))
    point = {"T": 1, "Z": 2, "Y": 3, "X": 4}
    assert guide[(2, *(point[one] for one in letters))] == maps[1, 2, 2, 3, 4]


def test_gray_is_the_mean_of_the_channels():
    pixels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    np.testing.assert_array_equal(Gray(pixels, "CYX")[1:3, :2], pixels.mean(0)[1:3, :2])
    np.testing.assert_array_equal(Gray(pixels, "YXS")[:, 1:], pixels.mean(2)[:, 1:])
    np.testing.assert_array_equal(Gray(pixels, "ZYX")[1:, :2, :1], pixels[1:, :2, :1])

"""Rescaling on one global grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.images import Rescaled, covering, nearest_index, resample_plane, scaled_length

SCALES = st.floats(0.1, 6)


@given(st.integers(1, 40), st.integers(1, 40), SCALES, st.data())
def test_block_is_the_same_whichever_way_it_is_cut_out(
    rows: int, columns: int, scale: float, data: st.DataObject
) -> None:
    image = np.random.default_rng(0).random((2, rows, columns), np.float32)
    rescaled = Rescaled(image, scale)
    whole = rescaled[:, :, :]
    assert whole.shape == rescaled.shape == (2, scaled_length(rows, scale), scaled_length(columns, scale))
    parts = []
    for n in whole.shape[1:]:
        start = data.draw(st.integers(0, n - 1))
        parts.append(slice(start, data.draw(st.integers(start + 1, n))))
    np.testing.assert_allclose(rescaled[:, parts[0], parts[1]], whole[:, parts[0], parts[1]], rtol=0, atol=1e-6)


@given(st.integers(1, 40), SCALES)
def test_constant_stays_constant_and_nothing_leaves_the_range(n: int, scale: float) -> None:
    np.testing.assert_allclose(Rescaled(np.full((1, n, n), 7), scale)[:, :, :], 7, rtol=1e-6)
    noise = np.random.default_rng(n).random((1, n, n), np.float32)
    rescaled = Rescaled(noise, scale)[:, :, :]
    assert noise.min() - 1e-6 <= rescaled.min()
    assert rescaled.max() <= noise.max() + 1e-6


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.8, 1.3, 2.0, 3.7])
def test_there_and_back_keeps_smooth_maps_in_place(scale: float) -> None:
    y, x = np.mgrid[:120, :90]
    image = np.stack([np.sin(y / 25) + np.cos(x / 30)]).astype(np.float32)
    rescaled = Rescaled(image, scale)
    region = [slice(13, 101), slice(0, 77)]
    full = rescaled.shape[1:]
    rows, columns = (covering(part, scale, n) for part, n in zip(region, full, strict=True))
    back = resample_plane(rescaled[:, rows, columns], (rows.start, columns.start), scale, region, full)
    assert back.shape == (1, 88, 77)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(back[inner], image[:, 13:101, :77][inner], atol=0.03)


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((1, 64, 64), np.float32)
    stripes[..., ::2] = 1
    np.testing.assert_allclose(Rescaled(stripes, 0.25)[:, 2:-2, 2:-2], 0.5, atol=0.02)


@given(st.integers(1, 50), SCALES)
def test_labels_are_read_where_the_centres_lie(n: int, scale: float) -> None:
    index = nearest_index(n, scale)
    assert len(index) == scaled_length(n, scale)
    assert (np.diff(index) >= 0).all()
    assert index[0] >= 0
    assert index[-1] <= n - 1
    if scale >= 1:
        assert set(index) == set(range(n))


def test_damaged_pixel_stays_where_it_is() -> None:
    image = np.random.default_rng(0).random((1, 40, 50))
    image[0, 20, 30] = np.nan
    clean = np.nan_to_num(image)
    rescaled = Rescaled(image, 0.7, np.nan_to_num)
    np.testing.assert_array_equal(rescaled[:, :, :], Rescaled(clean, 0.7)[:, :, :])


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.7])
def test_what_a_huge_region_covers_is_known_without_its_weights(scale: float) -> None:
    full = scaled_length(10**9, scale)
    part = covering(slice(10**6, 10**9), scale, full)
    assert part.stop == full
    assert abs(part.start - 10**6 * scale) <= 2 * max(1, scale)

"""Intensities: one scale for an image and all of its parts."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_unet.errors import ImageError
from napari_unet.images import Normalization, measure_normalization, to_canonical

da: Any = dask.array


def test_percentiles_become_0_and_1(rng: np.random.Generator) -> None:
    image = rng.normal(1000, 50, (1, 1, 1, 100, 100))
    normalized = measure_normalization(image, (5, 95)).apply(image[0])
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(np.percentile(normalized, (5, 95)), (0, 1), atol=1e-6)
    default = measure_normalization(image)
    np.testing.assert_allclose((*default.low, *default.high), np.percentile(image, (1, 99.8)))


def test_each_channel_has_its_own_scale(rng: np.random.Generator) -> None:
    image = rng.random((2, 3, 1, 40, 40)) * np.array([1, 100, 1e4]).reshape(1, 3, 1, 1, 1)
    normalized = measure_normalization(image).apply(image[0])
    assert np.ptp(np.percentile(normalized, 90, axis=(1, 2, 3))) < 0.05


def test_a_part_is_scaled_as_the_whole(rng: np.random.Generator) -> None:
    image = rng.integers(0, 60000, (1, 1, 4, 30, 30), np.uint16)
    scale = measure_normalization(image)
    whole = scale.apply(image[0])
    np.testing.assert_array_equal(scale.apply(image[0, :, 2, 5:9, 3:20]), whole[:, 2, 5:9, 3:20])


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i2", "u4", "i8", "u8", "f2", ">f4", "f8", "f16"])
def test_type_does_not_matter(dtype: str, rng: np.random.Generator) -> None:
    image = rng.integers(0, 120, (1, 1, 1, 30, 30))
    expected = measure_normalization(image).apply(image[0])
    typed = image.astype(dtype)
    np.testing.assert_array_equal(measure_normalization(typed).apply(typed[0]), expected)


def test_bool_image(rng: np.random.Generator) -> None:
    image = rng.random((1, 1, 1, 9, 9)) > 0.5
    scale = measure_normalization(image)
    assert scale == Normalization((0.0,), (1.0,))
    np.testing.assert_array_equal(scale.apply(image[0]), image[0])


@pytest.mark.parametrize("dtype", ["u2", "u8", "f4"])
@pytest.mark.parametrize("value", [0, 3, 200])
def test_constant_image_becomes_0(dtype: str, value: int) -> None:
    image = np.full((1, 2, 1, 8, 8), value, dtype)
    scale = measure_normalization(image)
    assert scale.is_constant
    assert (scale.apply(image[0]) == 0).all()


def test_few_bright_spots_on_an_even_ground_are_kept() -> None:
    image = np.zeros((1, 1, 1, 100, 100), np.uint8)
    image[..., 50, 50:53] = 200
    scale = measure_normalization(image)
    assert not scale.is_constant
    assert scale.apply(image[0]).max() == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_damaged_pixels_do_not_move_the_scale(dtype: Any, rng: np.random.Generator) -> None:
    image = rng.random((1, 1, 1, 50, 50)).astype(dtype)
    damaged = image.copy()
    damaged[..., 0, :3] = np.nan, np.inf, -np.inf
    scale = measure_normalization(damaged)
    np.testing.assert_allclose((*scale.low, *scale.high), np.percentile(damaged[..., 1:, :], (1, 99.8)), atol=2e-3)
    normalized = scale.apply(damaged[0])
    assert (normalized[..., 0, :3] == 0).all()
    assert np.isfinite(normalized).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_but_damaged_pixels(value: float) -> None:
    image = np.full((1, 1, 1, 5, 5), value)
    assert (measure_normalization(image).apply(image[0]) == 0).all()


@given(
    st.lists(st.floats(width=64), min_size=1, max_size=30),
    st.sampled_from(["f2", "f4", "f8"]),
)
def test_any_floats_become_finite_without_a_warning(values: list[float], dtype: str) -> None:
    with np.errstate(over="ignore"):
        image = np.array(values).astype(dtype).reshape(1, 1, 1, 1, -1)
    assert np.isfinite(measure_normalization(image).apply(image[0])).all()


def test_sample_of_a_huge_image_is_bounded_and_fixed() -> None:
    read: list[int] = []

    def block(block_info: Any = None) -> Any:
        location = block_info[None]["chunk-location"]
        read.append(1)
        rng = np.random.default_rng(location)
        return rng.integers(0, 1000, (1, 1, 1, 256, 256), np.uint16)

    chunks = ((1,) * 20, (1,), (1,) * 10, (256,) * 4, (256,) * 4)
    image = da.map_blocks(block, chunks=chunks, dtype=np.uint16, meta=np.empty((0,) * 5, np.uint16))
    first = measure_normalization(image)
    assert len(read) == 64
    assert measure_normalization(image) == first
    np.testing.assert_allclose((*first.low, *first.high), (10, 998), atol=3)


def test_sample_of_a_huge_image_is_spread_over_frames_slices_and_places() -> None:
    seen = []

    class Spy:
        shape, dtype = (8, 1, 6, 1000, 1100), np.dtype(np.uint8)

        def __getitem__(self, index: Any) -> Any:
            t, _, z, y, x = index
            seen.append((t, z, y.start, x.start))
            return np.zeros((4, 4), np.uint8)

    measure_normalization(Spy())
    assert len(seen) == len(set(seen)) == 64
    t, z, y, x = (set(places) for places in zip(*seen, strict=True))
    assert t == set(range(8))
    assert z == set(range(6))
    assert y == {0, 256, 512, 768}
    assert x == {0, 256, 512, 768, 1024}


def test_image_on_the_limit_is_measured_whole() -> None:
    image = np.zeros((1, 1, 1, 2048, 2048), np.uint8)
    image[..., -1, -20000:] = 255  # only a sample that holds every pixel finds the last row
    image[..., -5:, :] = 255
    assert measure_normalization(image).high == (255.0,)


@pytest.mark.parametrize("dtype", [complex, "M8[s]", "U2", object])
def test_type_without_order_is_refused(dtype: Any) -> None:
    with pytest.raises(ImageError, match="Convert the image"):
        measure_normalization(to_canonical(np.zeros((4, 4), int).astype(dtype), "YX"))


def test_empty_image_is_refused() -> None:
    with pytest.raises(ImageError, match="empty"):
        measure_normalization(np.zeros((1, 1, 1, 0, 4)))


def test_the_larger_percentile_first_turns_intensities_over(rng: np.random.Generator) -> None:
    image = rng.normal(1000, 50, (1, 1, 1, 100, 100))
    usual, over = (measure_normalization(image, ends) for ends in ((5, 95), (95, 5)))
    np.testing.assert_allclose(over.apply(image[0]), 1 - usual.apply(image[0]), atol=1e-6)
    assert not over.is_constant
    # a few dark spots on an even ground
    spots = np.full((1, 1, 1, 100, 100), 7)
    spots[..., :3, :3] = 2
    assert measure_normalization(spots, (99.8, 1)) == Normalization((7.0,), (2.0,))
    assert measure_normalization(np.full_like(spots, 7), (99.8, 1)).is_constant

"""Labels made block by block are those made in one piece; components too large for memory are still cut in two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.models import DecoderSpec
from napari_unet.prediction import decode
from napari_unet.prediction.components import Grid, find_components
from napari_unet.prediction.instances import decode_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cloudy_maps(shape: tuple[int, ...], seed: int, coarse: float = 1.0) -> NDArray[np.float32]:
    """Return maps with components of every shape, many of which are divided."""
    rng = np.random.default_rng(seed)
    maps = np.stack([ndi.gaussian_filter(rng.random(shape), coarse * sigma) for sigma in (1.0, 0.8, 0.8)])
    low, high = np.percentile(maps.reshape(3, -1), (2, 98), axis=1).reshape(2, 3, *[1] * len(shape))
    return np.asarray(((maps - low) / np.maximum(high - low, 1e-6)).clip(0, 1), np.float32)


@st.composite
def blocked(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    dims = draw(st.sampled_from([2, 3]))
    longest = 30 if dims == 2 else 11
    shape = tuple(draw(st.integers(1, longest)) for _ in range(dims))
    return shape, tuple(draw(st.integers(3, longest)) for _ in range(dims)), draw(st.integers(0, 10**6))


@settings(max_examples=60)
@given(
    blocked(),
    st.builds(
        DecoderSpec,
        kind=st.sampled_from(["seeded_watershed", "components"]),
        min_size=st.sampled_from([0, 9, 30]),
        foreground_threshold=st.sampled_from([0.3, 0.4, 0.5, 0.6]),
        peak_threshold=st.sampled_from([0.0, 0.7]),
        fill_holes=st.booleans(),
    ),
    st.sampled_from([50, 10**6]),
)
def test_labels_do_not_depend_on_the_blocks(
    drawn: tuple[tuple[int, ...], tuple[int, ...], int], decoder: DecoderSpec, largest: int
) -> None:
    shape, block, seed = drawn
    maps = cloudy_maps(shape, seed)
    whole, pieces = np.zeros(shape, np.int32), np.full(shape, -7, np.int32)
    decoded = decode_blocks(maps, decoder, whole, shape, above=5, largest=largest)
    again = decode_blocks(maps, decoder, pieces, block, above=5, largest=largest)
    np.testing.assert_array_equal(pieces, whole)
    assert again == decoded
    assert np.unique(whole[whole > 0]).tolist() == list(range(6, 6 + decoded.objects))
    if largest > 10**5:
        np.testing.assert_array_equal(np.where(whole > 0, whole - 5, 0), decode(maps, decoder))


@settings(max_examples=20)
@given(blocked())
def test_components_of_blocks_are_those_of_the_whole(drawn: tuple[tuple[int, ...], tuple[int, ...], int]) -> None:
    shape, block, seed = drawn
    foreground = np.random.default_rng(seed).random(shape) < 0.6
    grid = Grid(shape, tuple(min(b, n) for b, n in zip(block, shape, strict=True)))
    found = find_components(lambda box: foreground[box], grid)
    expected, count = ndi.label(foreground)
    labels = np.zeros(shape, np.int64)
    for position, box in grid:
        labels[box] = found.numbers[position][ndi.label(foreground[box])[0]]
    assert len(found.size) == count + 1
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(expected))
    for number in range(1, count + 1):
        inside = labels == number
        assert found.size[number] == inside.sum()
        assert found.first[number] == np.flatnonzero(inside)[0]
        assert found.box(number) == ndi.find_objects(inside.astype(int))[0]
    assert (np.diff(found.first[1:]) > 0).all()


def test_ids_follow_the_first_voxels(rng: np.random.Generator) -> None:
    labels = decode(cloudy_maps((60, 60), 3), DecoderSpec(min_size=0))
    _, first = np.unique(labels[labels > 0], return_index=True)
    assert (np.diff(first) > 0).all()


def touching_row(count: int, radius: int = 9) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return discs that touch in a row, and the maps of a network that makes no error."""
    shape = (2 * radius + 6, (2 * radius - 2) * count + 8)
    y, x = np.indices(shape)
    truth = np.zeros(shape, np.int32)
    distance = np.full(shape, np.inf)
    for number in range(count):
        here = np.hypot(y - radius - 3, x - radius - 3 - number * (2 * radius - 2))
        truth[(here < radius) & (here < distance)] = number + 1
        distance = np.minimum(distance, here)
    inward = (1 - distance / radius).clip(0, 1)
    return truth, np.stack([truth > 0, inward, inward]).astype(np.float32)


@pytest.mark.parametrize("largest", [64 * 64, 80 * 80])
def test_component_too_large_for_memory_is_split_in_windows_and_told(largest: int) -> None:
    truth, maps = touching_row(24)
    assert ndi.label(truth)[1] == 1
    labels = np.zeros(truth.shape, np.int32)
    decoded = decode_blocks(maps, DecoderSpec(), labels, (16, 16), largest=largest)
    assert decoded.in_windows == 1
    whole = np.zeros(truth.shape, np.int32)
    assert decode_blocks(maps, DecoderSpec(), whole, (16, 16)).in_windows == 0
    assert decoded.objects == whole.max() == 24
    assert (labels == whole).mean() > 0.97


def test_classes_by_blocks() -> None:
    maps = np.random.default_rng(0).random((4, 17, 23)).astype(np.float32)
    out = np.zeros((17, 23), np.int32)
    decode_blocks(maps, DecoderSpec(kind="argmax"), out, (5, 6))
    np.testing.assert_array_equal(out, maps.argmax(0))


def test_maps_are_read_in_blocks_only() -> None:
    class Guarded:
        def __init__(self, array: Any) -> None:
            self.array, self.shape, self.most = array, array.shape, 0

        def __getitem__(self, key: tuple[slice, ...]) -> Any:
            block = self.array[key]
            self.most = max(self.most, block[0].size)
            return block

    maps = Guarded(cloudy_maps((120, 120), 1))
    maps.array[0][::13] = 0  # no component is longer than 13 rows
    maps.array[0][:, ::13] = 0
    decode_blocks(maps, DecoderSpec(), np.zeros((120, 120), np.int32), (30, 30))
    assert maps.most == 900

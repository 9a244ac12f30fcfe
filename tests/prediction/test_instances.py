"""From maps to labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_unet.models import DecoderSpec
from napari_unet.prediction import decode

Labels = NDArray[np.int32]
WATERSHED = DecoderSpec(min_size=0, peak_threshold=0.3)


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    distance = sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True))
    return np.asarray(distance <= radius**2)


def ideal_maps(labels: Labels) -> NDArray[np.float32]:
    """Return the maps of a network that makes no error."""
    maps = np.zeros((3, *labels.shape), np.float32)
    maps[0] = labels > 0
    for number in range(1, labels.max() + 1):
        inside = labels == number
        depth = ndi.distance_transform_edt(np.pad(inside, 1))[(slice(1, -1),) * labels.ndim]
        points = np.argwhere(inside)
        from_centre = np.linalg.norm(points - points.mean(0), axis=1)
        maps[1][inside] = depth[inside] / depth.max()
        maps[2][inside] = 1 - from_centre / max(from_centre.max(), 1)
    return maps


def same_partition(a: NDArray[Any], b: NDArray[Any]) -> bool:
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    one_to_one = len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    return one_to_one and np.array_equal(a > 0, b > 0)


@pytest.mark.parametrize("dims", [2, 3])
def test_touching_objects_are_divided_where_they_touch(dims: int) -> None:
    shape = (32, 48) if dims == 2 else (24, 24, 40)
    middle = tuple(n / 2 for n in shape[:-1])
    truth = np.zeros(shape, np.int32)
    truth[ball(shape, (*middle, 12), 8)] = 1
    truth[ball(shape, (*middle, 26), 8) & (truth == 0)] = 2
    assert ndi.label(truth > 0)[1] == 1, "they touch"
    labels = decode(ideal_maps(truth), DecoderSpec())
    assert labels.max() == 2
    assert (labels[truth == 1] == labels[truth == 1][0]).mean() > 0.97
    assert (labels[truth == 2] == labels[truth == 2][0]).mean() > 0.97


@pytest.mark.parametrize("radius", [3, 5, 9, 14])
def test_single_objects_stay_whole(radius: float) -> None:
    truth = ball((40, 40), (19.3, 20.4), radius).astype(np.int32)
    np.testing.assert_array_equal(decode(ideal_maps(truth), DecoderSpec()), truth)


def test_object_cut_by_the_edge_of_the_image_stays_whole() -> None:
    truth = ball((40, 40), (1, 20), 9).astype(np.int32)
    np.testing.assert_array_equal(decode(ideal_maps(truth), DecoderSpec()), truth)


def test_elongated_object_with_one_ridge_stays_whole() -> None:
    truth = np.zeros((20, 60), np.int32)
    truth[6:14, 5:55] = 1
    np.testing.assert_array_equal(decode(ideal_maps(truth), DecoderSpec()), truth)


def test_component_without_a_peak_is_left_out_unless_all_are_kept() -> None:
    maps = np.zeros((3, 20, 20), np.float32)
    maps[0, 4:15, 4:15] = 0.9
    maps[1:, 6:13, 6:13] = 0.4
    assert not decode(maps, DecoderSpec(peak_threshold=0.5)).any()
    assert decode(maps, DecoderSpec(peak_threshold=0.3))[10, 10] == 1
    maps[1:] = 0
    assert decode(maps, DecoderSpec())[10, 10] == 1


def test_peak_that_is_not_distinct_does_not_divide_an_object() -> None:
    truth = np.zeros((32, 48), np.int32)
    truth[ball((32, 48), (16, 14), 8)] = 1
    truth[ball((32, 48), (16, 26), 8) & (truth == 0)] = 2
    maps = ideal_maps(truth)
    maps[1:, truth == 2] *= 0.6
    assert decode(maps, DecoderSpec(peak_threshold=0.5)).max() == 2
    labels = decode(maps, DecoderSpec(peak_threshold=0.7))
    np.testing.assert_array_equal(labels > 0, truth > 0)
    assert labels.max() == 1


def test_a_dip_divides_by_its_share_of_the_peak_however_sure_the_network_is() -> None:
    truth = np.zeros((32, 48), np.int32)
    truth[ball((32, 48), (16, 14), 8)] = 1
    truth[ball((32, 48), (16, 26), 8) & (truth == 0)] = 2
    maps = ideal_maps(truth)
    maps[1:] = 0.35 + 0.6 * maps[1:]  # an unsure network: the valley between the two is shallow
    maps[1:, truth == 0] = 0
    for sure in (1.0, 0.5):
        maps[1:] *= sure
        counts = [decode(maps, DecoderSpec(min_prominence=share)).max() for share in (0.05, 0.7)]
        assert counts == [2, 1]


def test_foreground_threshold_is_exclusive_and_small_objects_are_left_out() -> None:
    maps = np.zeros((3, 10, 30), np.float32)
    maps[:, 2:5, 2:5] = 0.9  # 9 voxels
    maps[:, 2:6, 10:14] = 0.9  # 16 voxels
    maps[0, 2:8, 20:26] = 0.5
    labels = decode(maps, DecoderSpec(min_size=16))
    assert np.unique(labels).tolist() == [0, 1]
    assert (labels > 0).sum() == 16
    assert decode(maps, DecoderSpec(min_size=9)).max() == 2
    assert decode(maps, DecoderSpec(min_size=0, foreground_threshold=0.49)).max() == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (16, 16), (1, 4, 4), (3, 4, 5)])
def test_empty_and_full_maps(shape: tuple[int, ...]) -> None:
    assert not decode(np.zeros((3, *shape), np.float32), WATERSHED).any()
    assert (decode(np.ones((3, *shape), np.float32), WATERSHED) == 1).all()


def test_classes_are_the_most_probable_ones() -> None:
    maps = np.random.default_rng(0).random((4, 8, 9)).astype(np.float32)
    labels = decode(maps, DecoderSpec(kind="argmax"))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, maps.argmax(0))


def cloudy_maps(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Return maps with components of every shape, many of which are divided."""
    rng = np.random.default_rng(seed)
    maps = np.stack([ndi.gaussian_filter(rng.random(shape), sigma) for sigma in (1.0, 0.8, 0.8)])
    low, high = np.percentile(maps.reshape(3, -1), (2, 98), axis=1).reshape(2, 3, *[1] * len(shape))
    return np.asarray(((maps - low) / (high - low)).clip(0, 1), np.float16).astype(np.float32)  # as maps are kept


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), dims=st.sampled_from([2, 3]))
def test_component_is_divided_the_same_way_whatever_lies_beside_it(seed: int, dims: int) -> None:
    shape = (48, 56) if dims == 2 else (14, 20, 24)
    maps = cloudy_maps(shape, seed)
    labels = decode(maps, WATERSHED)
    components, count = ndi.label(maps[0] > 0.5)
    assume(count > 0)
    for number in range(1, count + 1):
        inside = components == number
        alone = decode(np.where(inside, maps, 0), WATERSHED)
        # a hole in which something else lies stays open
        assert same_partition(np.where(inside, alone, 0), np.where(inside, labels, 0))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), corner=st.tuples(st.integers(0, 15), st.integers(0, 15)))
def test_part_of_the_maps_gives_what_the_whole_gives_but_for_components_it_cuts(
    seed: int, corner: tuple[int, int]
) -> None:
    maps = cloudy_maps((56, 56), seed)
    window = tuple(slice(start, start + 38) for start in corner)
    labels, components = decode(maps, WATERSHED)[window], ndi.label(maps[0] > 0.5)[0][window]
    edge = np.ones(components.shape, bool)
    edge[1:-1, 1:-1] = False
    uncut = (components > 0) & ~np.isin(components, components[edge])
    part = decode(maps[(slice(None), *window)], WATERSHED)
    assert same_partition(np.where(uncut, part, 0), np.where(uncut, labels, 0))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), min_size=st.integers(0, 60))
def test_ids_have_no_gaps_and_objects_lie_in_the_foreground(seed: int, min_size: int) -> None:
    maps = cloudy_maps((40, 40), seed)
    for fill in (True, False):
        labels = decode(maps, DecoderSpec(min_size=min_size, fill_holes=fill))
        sizes = np.bincount(labels.ravel())[1:]
        assert labels.dtype == np.int32
        assert (sizes >= max(1, min_size)).all()
        assert fill or (maps[0][labels > 0] > 0.5).all()
        if min_size <= 1:
            assert (labels[maps[0] > 0.5] > 0).all()
            assert fill or not labels[maps[0] <= 0.5].any()


def test_components_are_the_objects_where_the_decoder_says_so() -> None:
    foreground = np.zeros((12, 20), np.float32)
    foreground[2:8, 2:8] = foreground[2:8, 9:15] = 0.9
    foreground[10, 18] = 0.9
    labels = decode(np.stack([foreground, 1 - foreground]), DecoderSpec(kind="components", min_size=5))
    assert labels.max() == 2
    assert (labels[2:8, 2:8] == 1).all()
    assert (labels[2:8, 9:15] == 2).all()
    assert not labels[:, 8].any()
    assert labels[10, 18] == 0

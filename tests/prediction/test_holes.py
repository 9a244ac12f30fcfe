"""Holes of objects are filled: those that one object alone encloses, and nothing that lies in them is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_unet.models import DecoderSpec
from napari_unet.prediction import decode, link
from napari_unet.prediction.holes import fill_holes, hole_sizes
from napari_unet.prediction.instances import decode_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("seeded_watershed", "components")


def maps_of(foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return maps in which each component is one object, surely."""
    return np.stack([foreground] * 3).astype(np.float32)


def rings(shape: tuple[int, ...], *radii: float) -> NDArray[np.bool_]:
    """Return what lies between the first and the second distance to the middle, the third and the fourth, ..."""
    away = np.sqrt(sum((axis - n // 2) ** 2 for axis, n in zip(np.indices(shape), shape, strict=True)))
    inside = np.zeros(shape, bool)
    for low, high in zip(radii[::2], radii[1::2], strict=True):
        inside |= (away >= low) & (away <= high)
    return inside


def boxed(labels: NDArray[np.int32]) -> list[int]:
    """Return the labels along the row through the middle, each once in a row."""
    line = labels[tuple(n // 2 for n in labels.shape[:-1])]
    return line[np.flatnonzero(np.diff(line, prepend=-1))].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(40, 40), (20, 20, 20)])
def test_a_hole_becomes_part_of_the_object_around_it(kind: str, shape: tuple[int, ...]) -> None:
    maps = maps_of(rings(shape, 3, 9))
    labels = decode(maps, DecoderSpec(kind=kind))
    np.testing.assert_array_equal(labels, rings(shape, 0, 9))
    kept = decode(maps, DecoderSpec(kind=kind, fill_holes=False))
    np.testing.assert_array_equal(kept, rings(shape, 3, 9))


def test_a_ring_in_a_volume_has_no_hole_but_in_its_planes() -> None:
    tube = np.zeros((9, 30, 30), bool)
    tube[2:7] = rings((30, 30), 4, 9)
    np.testing.assert_array_equal(decode(maps_of(tube), DecoderSpec()), tube)
    plane = decode(maps_of(tube[4]), DecoderSpec())
    np.testing.assert_array_equal(plane, rings((30, 30), 0, 9))


def test_a_hole_at_the_edge_of_the_image_is_open() -> None:
    inside = rings((40, 40), 3, 9)[20:, :]
    np.testing.assert_array_equal(decode(maps_of(inside), DecoderSpec()), inside)


def test_what_several_objects_enclose_together_stays_background() -> None:
    maps = maps_of(rings((40, 40), 6, 14))
    y, x = np.indices((40, 40)) - 20
    across = np.abs(np.where(np.abs(x) > np.abs(y), y, x)) / 14  # dips on both diagonals
    maps[1:] *= np.where(maps[0] > 0, 1 - across, 0)
    labels = decode(maps, DecoderSpec())
    assert labels.max() == 4
    np.testing.assert_array_equal(labels > 0, maps[0] > 0)
    maps[0, 20, 10] = maps[0, 10, 20] = 0  # a pinhole in one of them
    np.testing.assert_array_equal(decode(maps, DecoderSpec()) > 0, labels > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ring_around_an_object_stays_one_and_around_a_speck_does_not(kind: str) -> None:
    maps = maps_of(rings((40, 40), 0, 3, 6, 9))
    voxels = int(rings((40, 40), 0, 3).sum())
    both = decode(maps, DecoderSpec(kind=kind, min_size=voxels))
    assert boxed(both) == [0, 1, 0, 2, 0, 1, 0]
    alone = decode(maps, DecoderSpec(kind=kind, min_size=voxels + 1))
    np.testing.assert_array_equal(alone, rings((40, 40), 0, 9))


@pytest.mark.parametrize("kind", KINDS)
def test_ring_in_ring_in_ring(kind: str) -> None:
    maps = maps_of(rings((60, 60), 2, 5, 9, 13, 18, 22))
    assert boxed(decode(maps, DecoderSpec(kind=kind))) == [0, 1, 0, 2, 0, 3, 0, 2, 0, 1, 0]
    innermost = int(rings((60, 60), 0, 5).sum())
    smallest = DecoderSpec(kind=kind, min_size=innermost)
    assert boxed(decode(maps, smallest)) == [0, 1, 0, 2, 0, 3, 0, 2, 0, 1, 0], "filled it is large enough"
    larger = decode(maps, smallest.model_copy(update={"min_size": innermost + 1}))
    assert boxed(larger) == [0, 1, 0, 2, 0, 1, 0]
    np.testing.assert_array_equal(larger == 2, rings((60, 60), 0, 13))


def test_size_of_an_object_is_that_with_its_holes() -> None:
    maps = maps_of(rings((30, 30), 5, 6))
    filled = int(rings((30, 30), 0, 6).sum())
    assert decode(maps, DecoderSpec(min_size=filled)).any()
    assert not decode(maps, DecoderSpec(min_size=filled + 1)).any()
    assert not decode(maps, DecoderSpec(min_size=filled, fill_holes=False)).any()


def test_what_the_network_is_not_sure_of_leaves_no_hole() -> None:
    maps = maps_of(rings((40, 40), 0, 3, 6, 9))
    maps[1:, rings((40, 40), 0, 3)] = 0.4
    np.testing.assert_array_equal(decode(maps, DecoderSpec(peak_threshold=0.5)), rings((40, 40), 0, 9))
    assert decode(maps, DecoderSpec()).max() == 2


def test_a_part_that_is_too_small_leaves_no_hole_in_the_object_around_it() -> None:
    inside = rings((40, 40), 0, 12)
    maps = maps_of(inside)
    maps[1:, rings((40, 40), 3, 6)] = 0.1  # a peak of its own in the middle
    assert decode(maps, DecoderSpec(min_size=0)).max() == 2
    np.testing.assert_array_equal(decode(maps, DecoderSpec(min_size=100)), inside)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    dims=st.sampled_from([2, 3]),
    share=st.floats(0.3, 0.8),
    kind=st.sampled_from(KINDS),
    min_size=st.integers(0, 20),
)
def test_no_object_has_a_hole_in_which_there_is_nothing(
    seed: int, dims: int, share: float, kind: str, min_size: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 45) if dims == 2 else (12, 13, 14)
    foreground = rng.random(shape) < share
    maps = np.stack([foreground, *rng.random((2, *shape))]).astype(np.float32)
    spec = DecoderSpec(kind=kind, min_size=min_size)
    labels, plain = decode(maps, spec), decode(maps, spec.model_copy(update={"fill_holes": False}))
    filled = fill_holes(labels)
    regions, _ = ndi.label(filled != labels)
    for box in ndi.find_objects(regions):
        assert foreground[box].any(), "a hole that is left holds something"
    assert (labels[plain > 0] > 0).all()
    for number, box in enumerate(ndi.find_objects(labels), start=1):
        inside = labels[box] == number
        solid = ndi.binary_fill_holes(inside & foreground[box])
        assert not (inside & ~solid).any(), "nothing was added that it does not enclose"


@settings(max_examples=40)
@given(
    radii=st.lists(st.floats(0.6, 3), min_size=2, max_size=8),
    shape=st.sampled_from([(29, 31), (9, 15, 14)]),
    block=st.integers(3, 9),
    kind=st.sampled_from(KINDS),
    min_size=st.sampled_from([0, 15, 60]),
    largest=st.sampled_from([80, 400, 10**6]),
)
def test_nested_rings_do_not_depend_on_the_blocks(
    radii: list[float], shape: tuple[int, ...], block: int, kind: str, min_size: int, largest: int
) -> None:
    maps = maps_of(rings(shape, *np.cumsum(radii[: len(radii) // 2 * 2])))
    decoder = DecoderSpec(kind=kind, min_size=min_size)
    whole, pieces = np.zeros(shape, np.int32), np.full(shape, -7, np.int32)
    decoded = decode_blocks(maps, decoder, whole, shape, above=5, largest=largest)
    again = decode_blocks(maps, decoder, pieces, (block,) * len(shape), above=5, largest=largest)
    np.testing.assert_array_equal(pieces, whole)
    assert again == decoded
    assert np.unique(whole[whole > 0]).tolist() == list(range(6, 6 + decoded.objects))


def test_a_hole_larger_than_the_blocks_is_filled() -> None:
    maps = maps_of(rings((80, 80), 30, 34))
    labels = np.full((80, 80), -7, np.int32)
    decode_blocks(maps, DecoderSpec(), labels, (9, 9))
    np.testing.assert_array_equal(labels, rings((80, 80), 0, 34))


def test_in_a_component_too_large_for_memory_holes_are_filled_where_a_window_shows_them_whole() -> None:
    inside = np.zeros((30, 900), bool)
    inside[8:22, 5:-5] = True
    pinholes = np.zeros_like(inside)
    pinholes[14:16, 20:-20:9] = True
    maps = maps_of(inside & ~pinholes)
    labels = np.zeros(inside.shape, np.int32)
    assert decode_blocks(maps, DecoderSpec(), labels, (16, 16), largest=64 * 64).in_windows == 1
    open_ones = pinholes & (labels == 0)
    assert 0 < open_ones.sum() < pinholes.sum() / 4
    regions, count = ndi.label(pinholes)
    for number in range(1, count + 1):
        assert len(np.unique(labels[regions == number])) == 1, "none is filled in part"
    assert not labels[~inside].any()


def test_planes_are_linked_by_their_filled_objects() -> None:
    ring, disc = (decode(maps_of(rings((30, 30), low, 8)), DecoderSpec()) for low in (6, 0))
    np.testing.assert_array_equal(link(7 * disc, ring, min_overlap=0.9), 7 * disc)


def test_sizes_of_holes() -> None:
    labels = np.zeros((30, 60), np.int32)
    labels[:, :30][rings((30, 30), 3, 8)] = 2
    labels[:, 30:][rings((30, 30), 0, 8)] = 5
    assert hole_sizes(labels).tolist() == [0, 0, int(rings((30, 30), 0, 2.9).sum()), 0, 0, 0]
    labels[15, 15] = 1
    assert not hole_sizes(labels).any(), "another object lies in it"

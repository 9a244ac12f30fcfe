"""What training gets: copies of what is checked, in the order that its model wants."""

import numpy as np
import pytest

from napari_unet import Status
from napari_unet.correction import checked_parts, snapshot
from napari_unet.images import Normalization, label_axes

SIZES = {"T": 3, "C": 2, "Z": 4, "Y": 6, "X": 7, "S": 3}
NORMALIZATION = Normalization((10.0,), (50.0,))


def make(axes, rng):
    image = rng.integers(0, 100, [SIZES[letter] for letter in axes]).astype(np.uint16)
    shape = [SIZES[letter] for letter in label_axes(axes)]
    labels = rng.integers(0, 5, shape).astype(np.int32)
    status = rng.integers(0, 3, shape).astype(np.uint8)
    return image, labels, status


def take(image, labels, status, axes, dims):
    return snapshot(image, labels, status, axes, spatial_dims=dims, normalization=NORMALIZATION, name="img")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "CYX", "YXS", "TZYX", "ZCYX", "TCZYX"])
def test_every_axes_order(axes, dims, rng):
    image, labels, status = make(axes, rng)
    samples = take(image, labels, status, axes, dims)
    letters = label_axes(axes)
    single = [letter for letter in ("T" if dims == 3 else "TZ") if letter in letters]
    frames = list(np.ndindex(*(SIZES[letter] for letter in single)))
    assert len(samples) == len(frames)
    for sample, frame in zip(samples, frames, strict=True):
        here = dict(zip(single, frame, strict=True))
        pick = tuple(here.get(letter, slice(None)) for letter in letters)
        expected = labels[pick] if dims == 2 or "Z" in letters else labels[pick][None]
        np.testing.assert_array_equal(sample.labels, expected)
        np.testing.assert_array_equal(np.asarray(sample.status).squeeze(), status[pick].squeeze())
        assert sample.axes == ("CYX" if dims == 2 else "CZYX")
        channels = SIZES[next((letter for letter in axes if letter in "CS"), "")] if set(axes) & set("CS") else 1
        assert sample.image.shape == (channels, *sample.labels.shape)
        for channel in range(channels):
            place = tuple(here.get(a, channel if a in "CS" else slice(None)) for a in axes)
            np.testing.assert_array_equal(sample.image[channel].squeeze(), image[place].squeeze())
        assert sample.intensity_range == ((10.0,), (50.0,))
        assert sample.name == sample.group == "img"


@pytest.mark.parametrize(("axes", "dims"), [("YX", 2), ("ZYX", 2), ("ZYX", 3), ("TYX", 2), ("TZYX", 3)])
def test_copies_share_nothing_with_labels_and_status(axes, dims, rng):
    image, labels, status = make(axes, rng)
    samples = take(image, labels, status, axes, dims)
    kept = [(sample.labels.copy(), sample.status.copy()) for sample in samples]
    for sample in samples:
        assert not np.shares_memory(sample.labels, labels)
        assert not np.shares_memory(sample.status, status)
    labels[...] = 77
    status[...] = 0
    for sample, (was_labels, was_status) in zip(samples, kept, strict=True):
        np.testing.assert_array_equal(sample.labels, was_labels)
        np.testing.assert_array_equal(sample.status, was_status)


def test_only_planes_with_something_checked(rng):
    image, labels, status = make("ZYX", rng)
    status[...] = Status.UNCHECKED
    assert take(image, labels, status, "ZYX", 2) == []
    assert take(image, labels, status, "ZYX", 3) == []
    status[1] = Status.IGNORE
    status[2, 3, 4] = Status.CHECKED
    (plane,) = take(image, labels, status, "ZYX", 2)
    np.testing.assert_array_equal(plane.image[0], image[2])
    (volume,) = take(image, labels, status, "ZYX", 3)
    np.testing.assert_array_equal(volume.status, status)


@pytest.mark.parametrize("dims", [2, 3])
def test_only_the_parts_that_are_asked_for_are_copied(dims, rng):
    image, labels, status = make("TZYX", rng)
    status[1] = 0
    status[2, 3] = 2
    parts = checked_parts(status, "TZYX", dims)
    planes = [(t, z) for t in (0, 2) for z in range(4) if (t, z) != (2, 3)]
    assert parts == (planes if dims == 2 else [(0,), (2,)])
    normal = {"spatial_dims": dims, "normalization": NORMALIZATION, "name": "img"}
    samples = snapshot(image, labels, status, "TZYX", parts=parts[::-2], **normal)
    for sample, part in zip(samples, parts[::-2], strict=True):
        np.testing.assert_array_equal(sample.labels, labels[part])
        np.testing.assert_array_equal(sample.image[0], image[part])

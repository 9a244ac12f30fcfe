"""Which images have dark objects on bright ground."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest

from napari_unet.images import has_bright_ground, to_canonical
from napari_unet.samples import load_sample, sample_names

da: Any = dask.array


def spots(dtype: str = "uint8") -> np.ndarray:
    """Return a third of bright ground on dark: `TCZYX`."""
    image = np.full((3, 1, 2, 90, 90), 20)
    image[..., :30, :] = 200
    return image.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32"])
def test_bright_ground_is_told_from_dark_ground(dtype: str) -> None:
    assert not has_bright_ground(spots(dtype))
    assert has_bright_ground((220 - spots(dtype).astype(int)).astype(dtype))


def test_a_window_in_the_middle_is_read() -> None:
    large = da.zeros((1, 1, 1, 4096, 4096), chunks=(1, 1, 1, 512, 512), dtype=np.uint8)
    read: list[tuple[slice, ...]] = []

    class Watched:
        shape, dtype = large.shape, large.dtype

        def __getitem__(self, key: Any) -> Any:
            read.append(key)
            return large[key]

    assert not has_bright_ground(Watched())
    ((_, _, _, rows, columns),) = read
    assert (rows, columns) == (slice(1792, 2304),) * 2


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 1, 0, 5)),
        np.full((1, 1, 1, 9, 9), 7),
        np.full((1, 1, 1, 9, 9), np.nan),
        np.ones((1,) * 5, complex),
    ],
)
def test_images_without_objects_are_on_no_ground(image: np.ndarray) -> None:
    assert not has_bright_ground(image)


@pytest.mark.parametrize("name", sample_names())
def test_fluorescence_is_on_dark_ground(name: str) -> None:
    sample = load_sample(name)
    assert not has_bright_ground(to_canonical(sample.image, sample.axes))
    assert has_bright_ground(to_canonical(sample.image.max() - sample.image, sample.axes))

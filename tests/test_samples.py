from pathlib import Path

import numpy as np
import pytest

from napari_unet import samples
from napari_unet.errors import ImageError
from napari_unet.images import read_image
from napari_unet.samples import load_sample, sample_names

FOLDER = Path(samples.__file__).parent


@pytest.mark.parametrize(
    ("name", "axes", "shape", "objects"),
    [("nuclei_2d", "YX", (288, 288), 45), ("nuclei_3d", "ZYX", (24, 128, 128), 20)],
)
def test_sample(name, axes, shape, objects):
    sample = load_sample(name)
    assert sample.axes == axes
    assert sample.image.shape == sample.truth.shape == shape
    assert sample.image.dtype == np.uint16
    assert np.array_equal(np.unique(sample.truth), np.arange(objects + 1))
    assert sample.pixel_size is None or len(sample.pixel_size) == len(axes)
    # true labels lie on the bright voxels
    assert sample.image[sample.truth > 0].mean() > 2 * sample.image[sample.truth == 0].mean()


@pytest.mark.parametrize("name", sample_names())
def test_files_tell_their_axes_to_any_reader(name):
    file = read_image(FOLDER / f"{name}.tif")
    assert file.axes == load_sample(name).axes
    assert np.array_equal(file.data, load_sample(name).image)


def test_unknown_sample_lists_those_there_are():
    with pytest.raises(ImageError, match="nuclei_2d, nuclei_3d"):
        load_sample("cats")


def test_samples_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.tif")) < 600_000

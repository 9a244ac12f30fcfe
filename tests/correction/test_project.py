"""A folder of images: order, progress, settings, labels from elsewhere, and what training gets."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_unet import Status
from napari_unet.correction import Edit, Project, identify, open_store
from napari_unet.errors import ImageError


def write(folder, name, shape=(40, 50), seed=0, **options):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 900, shape).astype(np.uint16)
    tifffile.imwrite(folder / name, pixels, **options)
    return pixels


@pytest.fixture
def folder(tmp_path):
    for number, shape in ((10, (40, 50)), (2, (60, 30)), (1, (300, 400))):
        write(tmp_path / "images", f"img_{number}.tif", shape, number)
    return tmp_path / "images"


def check_a_corner(path, axes="YX", channel=None, kind="object", **facts):
    """Draw one checked object in the top left of an image, or of one of its channels, which come first."""
    pixels = tifffile.imread(path)
    own = pixels if channel is None else pixels[channel]
    store = open_store(identify(own, axes, path=path, channel=channel), kind=kind)
    labels, status = store.load()
    box = (*(slice(0, 1) for _ in labels.shape[:-2]), slice(5, 15), slice(4, 16))
    size = labels[box].shape
    edit = Edit(box, labels[box], np.full(size, 3, np.int32), status[box], np.ones(size, np.uint8), "stroke")
    store.journal.record(edit)
    store.remember(**facts)
    store.close()
    return pixels


def test_images_in_natural_order_and_the_way_through_them(folder):
    project = Project(folder)
    assert [path.name for path in project.images] == ["img_1.tif", "img_2.tif", "img_10.tif"]
    first, second, third = project.images
    assert project.strip(second) == "2/3 img_2.tif"
    assert project.neighbour(second, 1) == third
    assert project.neighbour(second, -1) == first
    assert project.neighbour(third, 1) is None
    assert project.neighbour(first, -1) is None
    with pytest.raises(ImageError, match="is not in"):
        project.neighbour(folder / "new.tif", 1)
    with pytest.raises(ImageError, match="No images"):
        Project(folder.parent)


def test_progress_and_what_to_segment_next(folder):
    project = Project(folder)
    assert all(entry.store is None for entry in project.entries())
    check_a_corner(project.images[1], objects=210, checked=37, corrected=12)
    first, second, third = Project(folder).entries()
    assert (second.objects, second.checked, second.corrected) == (210, 37, 12)
    assert first.store is None
    assert third.checked == 0
    assert project.next_to_segment(project.images[0]) == project.images[2]
    assert project.next_to_segment(project.images[2]) is None


def test_settings_are_there_again_with_a_base_model_for_each_kind(folder):
    assert Project(folder, "nucleus").base_model is None
    Project(folder, "nucleus").choose_base_model("nuclei")
    Project(folder, "gland, stroma").choose_base_model("tissue")
    assert Project(folder, "nucleus").base_model == "nuclei"
    assert Project(folder, "cell").base_model is None
    assert Project(folder, "gland, stroma, debris").base_model == "tissue", "a class was added"
    Project(folder, "gland, stroma, debris").choose_base_model("tissue-2")
    Project(folder).set(object_size=24.0)
    bases = {"nucleus": "nuclei", "gland, stroma, debris": "tissue-2"}
    assert Project(folder).settings == {"base_models": bases, "object_size": 24.0}


def test_training_gets_the_checked_areas_of_all_images(folder):
    project = Project(folder)
    pixels = check_a_corner(project.images[0])
    check_a_corner(project.images[2])
    first, last = project.samples(spatial_dims=2, object_diameter_px=12, margin=20)
    assert first.labels.shape == (35, 36)  # not the whole image
    np.testing.assert_array_equal(first.image, pixels[None, :35, :36])
    assert np.count_nonzero(first.status == Status.CHECKED) == 120
    assert (first.labels[5:15, 4:16] == 3).all()
    assert (first.name, last.name) == ("img_1.tif", "img_10.tif")
    low, high = first.intensity_range
    assert low[0] == pytest.approx(np.percentile(pixels, 1), abs=2)
    assert high[0] == pytest.approx(np.percentile(pixels, 99.8), abs=2)
    assert [sample.name for sample in project.samples(spatial_dims=2, skip=[project.images[0]])] == ["img_10.tif"]


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_of_a_stack_only_what_is_checked_is_copied(tmp_path, spatial_dims):
    write(tmp_path, "stack.tif", (5, 60, 70), imagej=True, metadata={"axes": "ZYX"})
    check_a_corner(tmp_path / "stack.tif", "ZYX")
    (sample,) = Project(tmp_path).samples(spatial_dims=spatial_dims, margin=10)
    assert sample.labels.shape == ((25, 26) if spatial_dims == 2 else (5, 25, 26))


def test_channels_that_were_corrected_on_their_own_are_seen(tmp_path):
    pixels = write(tmp_path, "cells.tif", (2, 60, 70), imagej=True, metadata={"axes": "CYX"})
    check_a_corner(tmp_path / "cells.tif", channel=1, objects=5, checked=4, corrected=2)
    check_a_corner(tmp_path / "cells.tif", channel=0, objects=3, checked=1, corrected=1)
    names = sorted(path.name for path in (tmp_path / "napari-unet").iterdir())
    assert names == ["cells channel 1.zarr", "cells channel 2.zarr"]
    project = Project(tmp_path)
    (entry,) = project.entries()
    assert (entry.objects, entry.checked, entry.corrected) == (8, 5, 3)
    first, second = project.samples(spatial_dims=2, margin=10)
    np.testing.assert_array_equal(first.image, pixels[:1, :25, :26])
    np.testing.assert_array_equal(second.image, pixels[1:, :25, :26])
    assert second.intensity_range[0][0] == pytest.approx(np.percentile(pixels[1], 1), abs=2)
    # a model that sees both, whichever of them was corrected
    for sample in project.samples(spatial_dims=2, margin=10, channels=[1, 0]):
        np.testing.assert_array_equal(sample.image, pixels[::-1, :25, :26])
    # the caller has one of them in memory
    (other,) = project.samples(spatial_dims=2, margin=10, skip=[entry.store])
    np.testing.assert_array_equal(other.image, second.image)
    with pytest.raises(ImageError, match="has 2 channels, the model needs number 3"):
        list(project.samples(spatial_dims=2, channels=[2]))


def test_of_colours_a_model_of_one_channel_sees_the_brightness(tmp_path):
    pixels = write(tmp_path, "stained.tif", (60, 70, 3), photometric="rgb", metadata={"axes": "YXS"})
    check_a_corner(tmp_path / "stained.tif", "YXS")
    project = Project(tmp_path)
    (grey,) = project.samples(spatial_dims=2, margin=10, in_channels=1)
    np.testing.assert_allclose(np.squeeze(grey.image), pixels[:25, :26].mean(-1), rtol=1e-6)
    assert len(grey.intensity_range[0]) == 1
    (colours,) = project.samples(spatial_dims=2, margin=10, in_channels=3)
    np.testing.assert_array_equal(np.squeeze(colours.image), np.moveaxis(pixels, -1, 0)[:, :25, :26])
    (red,) = project.samples(spatial_dims=2, margin=10, in_channels=1, channels=[0])
    np.testing.assert_array_equal(np.squeeze(red.image), pixels[:25, :26, 0])


def test_a_coarser_level_that_was_corrected_is_seen(tmp_path):
    import zarr

    group = zarr.open_group(tmp_path / "large.zarr", mode="w", zarr_format=2)
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 900, (side, side)).astype(np.uint16) for side in (80, 40)]
    for number, data in enumerate(levels):
        group.create_array(str(number), shape=data.shape, dtype=data.dtype, chunks=(40, 40))[:] = data
    axes = [{"name": one, "type": "space"} for one in "yx"]
    described = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [n + 1, n + 1]}]} for n in (0, 1)
    ]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": described}]
    store = open_store(identify(levels[1], "YX", path=tmp_path / "large.zarr", level=1))
    assert store.path == tmp_path / "napari-unet" / "large level 1.zarr"
    labels, status = store.load()
    whole = (slice(0, 40), slice(0, 40))
    store.journal.record(Edit(whole, labels, labels + 1, status, status + 1, "stroke"))
    store.close()
    (sample,) = Project(tmp_path).samples(spatial_dims=2)
    np.testing.assert_array_equal(sample.image, levels[1][None])


def test_what_could_not_be_kept_beside_its_image_is_seen(folder):
    (folder / "napari-unet").write_text("")  # nothing can be made there
    check_a_corner(folder / "img_2.tif", checked=7)
    project = Project(folder)
    assert [entry.checked for entry in project.entries()] == [0, 7, 0]
    assert [sample.name for sample in project.samples(spatial_dims=2)] == ["img_2.tif"]

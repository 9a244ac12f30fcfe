"""Label files: whole or not at all, and readable by others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.errors import ImageError
from napari_unet.images import open_image, read_image, read_provenance, write_labels, written_at_once

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"Z": 2.0, "Y": 0.5, "X": 0.25}
MADE = {"model": "nuclei", "decoder": {"min_size": 15}, "text": "µ <&>"}


def some_labels(shape: tuple[int, ...] = (2, 3, 40, 50)) -> Any:
    labels = np.zeros(shape, np.int32)
    labels[..., 5:9, 4:7] = np.arange(1, 1 + np.prod(shape[:-2], dtype=int)).reshape(*shape[:-2], 1, 1)
    return labels


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".ome.zarr"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_come_back_with_axes_sizes_and_provenance(tmp_path: Path, suffix: str, version: Any) -> None:
    labels = some_labels()
    path = write_labels(
        tmp_path / f"a{suffix}",
        labels.transpose(3, 1, 0, 2),
        "XZTY",
        pixel_size_um=SIZES,
        provenance=MADE,
        frame_interval_s=90.0,
        version=version,
    )
    opened = open_image(path)
    assert opened.axes == "TZYX"
    assert opened.pixel_size_um == SIZES
    assert opened.frame_interval_s == 90
    assert opened.data.dtype == np.uint16
    np.testing.assert_array_equal(np.asarray(opened.data), labels)
    assert read_provenance(path) == MADE
    assert [one.name for one in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("kind", ["dask", "zarr"])
@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_labels_that_are_not_in_memory(tmp_path: Path, kind: str, suffix: str) -> None:
    labels = some_labels((40, 50)) * 70_000
    lazy = da.from_array(labels, chunks=16) if kind == "dask" else zarr.create_array({}, data=labels, chunks=(16, 16))
    read = read_image(write_labels(tmp_path / f"a{suffix}", lazy, "YX"))
    assert read.data.dtype == np.uint32
    np.testing.assert_array_equal(read.data, labels)


def test_fiji_and_others_find_what_they_look_for(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.tif", some_labels(), "TZYX", pixel_size_um=SIZES, provenance=MADE)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        document = file.ome_metadata
        assert file.series[0].axes == "TZYX"
    assert document is not None
    for word in ('PhysicalSizeX="0.25"', 'PhysicalSizeXUnit="µm"', 'PhysicalSizeZ="2.0"', "<Description>"):
        assert word in document


@pytest.mark.parametrize("um", [1e-9, 1e-6, 0.1625, 333.3, 1e8])
def test_pixel_size_is_told_to_programs_that_read_no_ome(tmp_path: Path, um: float) -> None:
    path = write_labels(tmp_path / "a.tif", some_labels((40, 50)), "YX", pixel_size_um={"Y": 2 * um, "X": um})
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        sizes = {x: tags[f"{x}Resolution"].value for x in "YX"}
        unit = tags["ResolutionUnit"].value
    if um > 1e-5:
        assert unit == tifffile.RESUNIT.CENTIMETER
        assert {x: 1e4 * n / pixels for x, (pixels, n) in sizes.items()} == pytest.approx({"Y": 2 * um, "X": um})
    else:
        assert unit == tifffile.RESUNIT.NONE, "no room for it in the tags"
    assert open_image(path).pixel_size_um == {"Y": 2 * um, "X": um}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_library_reads_it(tmp_path: Path, version: Any) -> None:
    pytest.importorskip("ome_zarr", reason="pip install ome-zarr: it reads what we wrote")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    labels = some_labels()
    path = write_labels(tmp_path / "a.ome.zarr", labels, "TZYX", pixel_size_um=SIZES, version=version)
    location = parse_url(path)
    assert location is not None
    assert location.fmt.version == version
    (node,) = Reader(location)()
    assert {type(spec).__name__ for spec in node.specs} >= {"Label", "Multiscales"}
    assert [axis["name"] for axis in node.metadata["axes"]] == ["t", "z", "y", "x"]
    assert node.metadata["coordinateTransformations"] == [[{"type": "scale", "scale": [1.0, 2.0, 0.5, 0.25]}]]
    np.testing.assert_array_equal(np.asarray(node.data[0]), labels)


def test_empty_places_of_zarr_take_no_space(tmp_path: Path) -> None:
    labels = np.zeros((1, 2048, 2048), np.int32)
    labels[0, 1500, 700] = 5
    path = write_labels(tmp_path / "a.zarr", labels, "ZYX")
    chunks = [one for one in (path / "0").rglob("*") if one.is_file() and not one.name.startswith(".z")]
    assert [str(one.relative_to(path / "0")) for one in chunks] == ["0/2/1"]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("failure", [MemoryError(), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_is_left(tmp_path: Path, suffix: str, failure: BaseException) -> None:
    class Breaks:
        """Labels whose third plane cannot be computed, the second time they are read."""

        shape, seen = (4, 40, 50), 0

        def __getitem__(self, key: Any) -> Any:
            self.seen += 1
            if self.seen > 4 + (suffix == ".tif") * 2:
                raise failure
            return np.ones((4, 40, 50), np.int32)[key]

    path = tmp_path / f"a{suffix}"
    for existed in (False, True):
        with pytest.raises(ImageError if isinstance(failure, OSError) else type(failure)):
            write_labels(path, Breaks(), "ZYX", provenance={"new": True})
        assert list(tmp_path.iterdir()) == [path] * existed
        if existed:
            assert read_provenance(path) == MADE
            assert (read_image(path).data == 7).all()
        else:
            write_labels(path, np.full((4, 40, 50), 7), "ZYX", provenance=MADE)


def test_what_is_there_is_replaced_whatever_its_kind(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.zarr", some_labels((40, 50)), "YX", version="0.5")
    write_labels(path, np.full((4, 4), 9), "YX")
    assert (read_image(path).data == 9).all()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_folder_of_other_things_is_never_replaced(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.mkdir()
    (path / "a.tif").write_text("hours of work")
    with pytest.raises(ImageError, match=r"a folder of that name is there.*Choose another"):
        write_labels(path, some_labels((40, 50)), "YX")
    zarr_there = write_labels(tmp_path / "b.zarr", some_labels((40, 50)), "YX")
    with pytest.raises(ImageError, match=r"a folder of that name is there"), written_at_once(zarr_there) as temporary:
        temporary.write_text("a table")
    assert (path / "a.tif").read_text() == "hours of work"
    assert open_image(zarr_there).shape == (40, 50)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.zarr", f"images{suffix}"]


def test_no_provenance_where_nothing_tells_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    tifffile.imwrite(tmp_path / "other.tif", np.zeros((4, 4), np.uint8), ome=True, metadata={"Description": "hello"})
    (tmp_path / "text.tif").write_text("hello")
    zarr.open_group(tmp_path / "a.zarr", mode="w")
    for name in ("plain.tif", "other.tif", "text.tif", "a.zarr", "missing.tif"):
        assert read_provenance(tmp_path / name) is None

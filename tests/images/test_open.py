"""Images as microscopes and other programs write them: axes, pixel sizes and channels as the file itself tells."""

from __future__ import annotations

import logging
import tracemalloc
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet.errors import ImageError
from napari_unet.images import (
    Level,
    explain_axes,
    image_files,
    image_stem,
    layer_axes,
    micrometres,
    nearest_level,
    open_image,
    read_image,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def quiet_tifffile() -> Iterator[None]:
    logging.getLogger("tifffile").disabled = True
    yield
    logging.getLogger("tifffile").disabled = False


def pixels(*shape: int, dtype: str = "u2") -> Any:
    return (np.arange(np.prod(shape)) % 251).astype(dtype).reshape(shape)


def ome_zarr(path: Path, data: Any, axes: str, *, version: str = "0.4", levels: int = 1, **told: Any) -> Path:
    """Write an OME-Zarr image by the words of the specification."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version < "0.5" else 3)
    datasets = []
    for level in range(levels):
        step = tuple(slice(None, None, 2**level if letter in "YX" else 1) for letter in axes)
        group.create_array(str(level), data=data[step], chunks=tuple(min(n, 16) for n in data[step].shape))
        scale = [2.0**level * 0.5 if letter in "YX" else 2.0 for letter in axes]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    kinds = {"T": "time", "C": "channel"}
    units = {"Z": "micrometer", "Y": "micrometer", "X": "micrometer", "T": "second"}
    described = [
        {"name": x.lower(), "type": kinds.get(x, "space")} | ({"unit": units[x]} if x in units else {}) for x in axes
    ]
    document = {"multiscales": [{"axes": described, "datasets": datasets, "version": version}], **told}
    group.attrs.update(document if version < "0.5" else {"ome": {"version": version, **document}})
    return path


# TIFF


def test_ome_tiff_tells_axes_pixel_sizes_and_channels(tmp_path: Path) -> None:
    image = pixels(3, 2, 8, 10)
    metadata = {
        "axes": "ZCYX", "PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 0.001, "PhysicalSizeZUnit": "mm", "Channel": {"Name": ["DAPI", "actin"]},
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", image, ome=True, compression="zlib", metadata=metadata)
    opened = open_image(tmp_path / "a.ome.tif")
    assert (opened.axes, opened.name, opened.channel_names) == ("ZCYX", "a", ("DAPI", "actin"))
    assert opened.pixel_size_um == {"Z": 1.0, "Y": 0.5, "X": 0.25}
    assert opened.axes_why == "ZCYX: from the OME metadata of the file."
    np.testing.assert_array_equal(np.asarray(opened.data), image)


@pytest.mark.parametrize(
    ("unit", "expected"), [("um", 0.2), ("micron", 0.2), ("\\u00B5m", 0.2), ("nm", 0.0002), ("pixel", None)]
)
def test_imagej_tiff_tells_axes_and_pixel_sizes(tmp_path: Path, unit: str, expected: float | None) -> None:
    image = pixels(3, 2, 8, 10)
    metadata = {"axes": "ZCYX", "spacing": 5 * 0.2, "unit": unit, "Labels": ["DAPI", "actin"] * 3}
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, resolution=(5, 5), metadata=metadata)
    opened = open_image(tmp_path / "a.tif")
    assert opened.axes == "ZCYX"
    assert opened.axes_why == "ZCYX: from the ImageJ metadata of the file."
    assert opened.channel_names == ("DAPI", "actin")
    known = {} if expected is None else {"Z": 5 * expected, "Y": expected, "X": expected}
    assert opened.pixel_size_um == pytest.approx(known)
    np.testing.assert_array_equal(np.asarray(opened.data), image)


def test_plain_tiff_tells_centimetres_but_dots_per_inch_are_a_default(tmp_path: Path) -> None:
    for name, unit in (("cm", "CENTIMETER"), ("inch", "INCH")):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels(8, 10), resolution=(40000, 20000), resolutionunit=unit)
    assert open_image(tmp_path / "cm.tif").pixel_size_um == {"Y": 0.5, "X": 0.25}
    assert open_image(tmp_path / "inch.tif").pixel_size_um == {}


def test_pyramid_of_a_tiff(tmp_path: Path) -> None:
    image = pixels(64, 96)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        options: dict[str, Any] = {"tile": (16, 16), "compression": "zlib"}
        file.write(image, subifds=2, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **options)
        for step in (2, 4):
            file.write(image[::step, ::step], subfiletype=1, **options)
    opened = open_image(tmp_path / "a.ome.tif", level=1)
    assert [level.shape for level in opened.levels] == [(64, 96), (32, 48), (16, 24)]
    assert [level.pixel_size_um["X"] for level in opened.levels] == [0.5, 1.0, 2.0]
    assert opened.pixel_size_um == {"Y": 1.0, "X": 1.0}
    np.testing.assert_array_equal(np.asarray(opened.data), image[::2, ::2])
    with pytest.raises(ImageError, match=r"has 3 levels, numbered from 0; there is no 3"):
        open_image(tmp_path / "a.ome.tif", level=3)


@pytest.mark.parametrize("kind", ["mapped", "pages", "tiles", "zarr"])
def test_large_image_is_never_read_whole(tmp_path: Path, kind: str) -> None:
    shape = (40, 256, 256)
    image = np.random.default_rng(0).integers(0, 2**16, shape, np.uint16)
    path = tmp_path / ("a.ome.zarr" if kind == "zarr" else "a.ome.tif")
    if kind == "zarr":
        ome_zarr(path, image, "ZYX")
    else:
        options: dict[str, Any] = {"mapped": {}, "pages": {"compression": "zlib"}, "tiles": {"tile": (64, 64)}}[kind]
        tifffile.imwrite(path, image, ome=True, metadata={"axes": "ZYX"}, **options)
    open_image(path).data[0, :2, :2].sum()  # what is loaded once
    tracemalloc.start()
    opened = open_image(path)
    part = np.asarray(opened.data[20, 100:120, 200:220])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(part, image[20, 100:120, 200:220])
    assert peak < image.nbytes / 5


def test_page_is_decoded_once_for_all_its_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pixels(5, 2, 64, 64)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, ome=True, compression="zlib", metadata={"axes": "ZCYX"})
    data = open_image(tmp_path / "a.ome.tif").data
    decoded = []
    real = tifffile.TiffPage.decode.func  # type: ignore[attr-defined]

    def decode(page: Any) -> Any:
        run = real(page)

        def count(*arguments: Any, **others: Any) -> Any:
            decoded.append(arguments)
            return run(*arguments, **others)

        return count

    monkeypatch.setattr(tifffile.TiffPage, "decode", property(decode))
    for z in range(2):
        for y in range(0, 64, 16):
            np.testing.assert_array_equal(np.asarray(data[z, :, y : y + 16, 3:60]), image[z, :, y : y + 16, 3:60])
    once = len(decoded)
    assert once
    np.asarray(data[3, :, :16, :16])
    assert 2 * (len(decoded) - once) == once, "two planes of two channels took as often as one plane, twice"
    np.testing.assert_array_equal(np.asarray(data[[0, 4], 1, 5]), image[[0, 4], 1, 5])


def test_files_are_closed_when_the_image_is_let_go_of(tmp_path: Path) -> None:
    import psutil

    tifffile.imwrite(tmp_path / "a.tif", pixels(5, 8, 10), compression="zlib", metadata={"axes": "ZYX"})
    opened = open_image(tmp_path / "a.tif")
    assert np.asarray(opened.data[2]).shape == (8, 10)
    del opened
    assert str(tmp_path / "a.tif") not in [file.path for file in psutil.Process().open_files()]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("kind", ["u1", "i2", "u4", "i4", "f4", "f8"])
def test_every_type_of_number(tmp_path: Path, byteorder: str, compression: str | None, kind: str) -> None:
    image = (pixels(3, 8, 10).astype("f8") - 100).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=byteorder, compression=compression, photometric="minisblack")
    opened = open_image(tmp_path / "a.tif")
    assert opened.axes is None
    np.testing.assert_array_equal(np.asarray(opened.data), image)


def test_nan_and_infinity_come_through(tmp_path: Path) -> None:
    image = np.array([[np.nan, np.inf], [-np.inf, 1]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").data, image)


def test_of_several_images_in_a_file_the_first_is_read_and_it_says_so(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(pixels(8, 10), metadata={"axes": "YX", "PhysicalSizeX": 0.5})
        file.write(pixels(3, 6, 7), metadata={"axes": "ZYX", "PhysicalSizeX": 0.25}, photometric="minisblack")
    opened = open_image(tmp_path / "a.ome.tif")
    assert (opened.shape, opened.pixel_size_um) == ((8, 10), {"X": 0.5})
    (note,) = opened.notes
    assert note.startswith("a.ome.tif holds 2 images; the first is read")


def ome_set(folder: Path, planes: int = 3) -> list[Path]:
    """Write an OME-TIFF that is spread over several files, one plane in each."""
    paths = [folder / f"z{n}.ome.tif" for n in range(planes)]
    entries = "".join(
        f'<TiffData FirstZ="{n}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:{n:032d}</UUID></TiffData>'
        for n, path in enumerate(paths)
    )
    for n, path in enumerate(paths):
        document = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{n:032d}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="10" SizeY="8" SizeZ="{planes}" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{entries}</Pixels></Image></OME>"
        )
        tifffile.imwrite(path, np.full((8, 10), n + 1, np.uint16), description=document, metadata=None)
    return paths


def test_ome_tiff_over_several_files_is_one_image(tmp_path: Path) -> None:
    paths = ome_set(tmp_path)
    opened = open_image(paths[1])
    assert opened.axes == "ZYX"
    assert sorted(opened.files) == paths
    np.testing.assert_array_equal(np.asarray(opened.data)[:, 0, 0], [1, 2, 3])


def test_missing_files_of_a_set_are_told_and_not_shown_black(tmp_path: Path) -> None:
    paths = ome_set(tmp_path)
    paths[2].unlink()
    with pytest.raises(ImageError, match=r"1 of its 3 planes are missing. Put all files of the set into one folder"):
        open_image(paths[0])


def test_channels_and_colours_at_once_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(pixels(2, 8, 10, 3, dtype="u1"), photometric="rgb", metadata={"axes": "CYXS"})
    with pytest.raises(ImageError, match=r"holds channels and colours at once .*Split Channels"):
        open_image(tmp_path / "a.ome.tif")


def test_dimension_that_is_no_axis_of_ours_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(5, 8, 10), metadata={"axes": "EYX"}, photometric="minisblack")
    with pytest.raises(ImageError, match=r"has a dimension 'lambda' of length 5 .*Save each lambda"):
        open_image(tmp_path / "a.tif")


def test_damage_inside_is_told_when_it_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(5, 64, 64), compression="zlib", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        start = file.pages[2].dataoffsets[0]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[start : start + 20] = b"\xff" * 20
    (tmp_path / "a.tif").write_bytes(content)
    opened = open_image(tmp_path / "a.tif")
    assert np.asarray(opened.data[0]).any()
    with pytest.raises(ImageError, match=r"a.tif cannot be read"):
        np.asarray(opened.data[2])


# zarr


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_tells_all_and_lists_its_levels(tmp_path: Path, version: str) -> None:
    image = pixels(2, 3, 32, 48)
    omero = {"channels": [{"label": "DAPI"}, {"label": "actin"}]}
    path = ome_zarr(tmp_path / "a.ome.zarr", image, "CZYX", version=version, levels=3, omero=omero)
    opened = open_image(path, level=1)
    assert (opened.axes, opened.name, opened.channel_names) == ("CZYX", "a", ("DAPI", "actin"))
    assert opened.axes_why == "CZYX: from the OME-Zarr metadata."
    assert [level.shape[-2:] for level in opened.levels] == [(32, 48), (16, 24), (8, 12)]
    assert [level.scale["X"] for level in opened.levels] == [1, 2, 4]
    assert opened.pixel_size_um == {"Z": 2.0, "Y": 1.0, "X": 1.0}
    np.testing.assert_array_equal(np.asarray(opened.data), image[:, :, ::2, ::2])
    np.testing.assert_array_equal(read_image(path).data, image)
    with pytest.raises(ImageError, match=r"has 3 levels, numbered from 0; there is no 7"):
        open_image(path, level=7)


def test_image_inside_a_bioformats2raw_file_and_levels_by_path(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    ome_zarr(tmp_path / "a.zarr" / "0", pixels(8, 10), "YX")
    opened = open_image(tmp_path / "a.zarr")
    assert (opened.axes, opened.shape, opened.name) == ("YX", (8, 10), "a")
    array = open_image(tmp_path / "a.zarr" / "0" / "0")
    assert array.axes is None
    assert array.shape == (8, 10)


@pytest.mark.parametrize(
    ("names", "axes"), [(["t", "y", "x"], "TYX"), (["time", "y", "x"], "TYX"), (["a", "b", "c"], None), (None, None)]
)
def test_plain_zarr_arrays(tmp_path: Path, names: list[str] | None, axes: str | None) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=pixels(3, 8, 10), dimension_names=names)
    opened = open_image(tmp_path / "a.zarr")
    assert opened.axes == axes
    np.testing.assert_array_equal(np.asarray(opened.data), pixels(3, 8, 10))
    old = zarr.create_array(tmp_path / "old.zarr", data=pixels(3, 8, 10), zarr_format=2)
    if names:
        old.attrs["_ARRAY_DIMENSIONS"] = names
    assert open_image(tmp_path / "old.zarr").axes == axes


def test_zarr_that_is_no_image_is_told(tmp_path: Path) -> None:
    plate = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    plate.attrs["plate"] = {"wells": []}
    with pytest.raises(
        ImageError, match=r"is a plate of many images. Give the images in it, for example .*plate.zarr/A/1/0"
    ):
        open_image(tmp_path / "plate.zarr")
    other = zarr.open_group(tmp_path / "other.zarr", mode="w")
    other.create_array("pixels", data=pixels(4, 4))
    with pytest.raises(ImageError, match=r"no 'multiscales'. It holds pixels: give one of them"):
        open_image(tmp_path / "other.zarr")
    (tmp_path / "other.zarr" / "zarr.json").write_text("{")
    with pytest.raises(ImageError, match=r"other.zarr cannot be read .*Copy it again"):
        open_image(tmp_path / "other.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"is a folder but no zarr image"):
        open_image(tmp_path / "empty")


def test_axes_of_ome_zarr_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", pixels(3, 8, 10), "QYX".replace("Q", "C"))
    group = zarr.open_group(path)
    scales = dict(group.attrs)["multiscales"]
    scales[0]["axes"][0] = {"name": "angle"}
    group.attrs["multiscales"] = scales
    with pytest.raises(ImageError, match=r"has the axes angle, y, x for 3 dimensions"):
        open_image(path)


def test_damaged_chunk_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = ome_zarr(tmp_path / "a.zarr", pixels(32, 32), "YX")
    chunk = next(one for one in (path / "0").iterdir() if one.name in ("1.1", "1"))
    (chunk if chunk.is_file() else chunk / "1").write_bytes(b"hello")
    opened = open_image(path)
    assert np.asarray(opened.data[:16, :16]).any()
    with pytest.raises(ImageError, match=r"a\.zarr cannot be read .*Copy it again"):
        np.asarray(opened.data)
    with pytest.raises(ImageError, match=r"a\.zarr cannot be read"):
        read_image(path)


# pictures


def test_transparency_is_no_channel(tmp_path: Path) -> None:
    imageio.imwrite(tmp_path / "a.png", pixels(8, 10, 4, dtype="u1"))
    opened = open_image(tmp_path / "a.png")
    assert (opened.axes, opened.shape) == ("YXS", (8, 10, 3))
    assert opened.notes == ("a.png: its transparency is left out.",)
    imageio.imwrite(tmp_path / "b.png", pixels(8, 10, 2, dtype="u1"), mode="LA")
    assert open_image(tmp_path / "b.png").axes == "YX"
    with pytest.raises(ImageError, match=r"has 1 level"):
        open_image(tmp_path / "a.png", level=1)


# what is worked out


def test_axes_are_guessed_with_the_reason() -> None:
    told = {
        shape: explain_axes(shape)
        for shape in [(5, 6), (60, 9, 9), (3, 9, 9), (9, 9, 3), (7, 8, 9, 9), (60, 2, 9, 9), (2, 60, 9, 9)]
    }
    assert [guess.axes for guess in told.values()] == ["YX", "ZYX", "CYX", "YXS", "TZYX", "ZCYX", "CZYX"]
    assert told[(60, 9, 9)].why == "60 planes: taken as Z. If they are frames of a movie, say TYX."
    assert told[(3, 9, 9)].why.startswith("3 planes, too few for a stack: taken as channels.")
    assert "taken as colours" in told[(9, 9, 3)].why
    assert [guess.sure for guess in told.values()] == [True] + [False] * 6
    assert explain_axes((2, 9, 9, 3), rgb=True).axes == "ZYXS"
    assert explain_axes((4, 5, 6, 7, 8)).axes == "TCZYX"
    assert explain_axes((4, 50, 2, 7, 8)).axes == "TZCYX"
    for shape in [(5,), (1,) * 6]:
        with pytest.raises(ImageError, match=r"is no image. Give one with 2 to 5"):
            explain_axes(shape)


def test_what_the_file_tells_wins_over_the_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(3, 7, 8, 10), imagej=True, metadata={"axes": "TZYX"})
    assert explain_axes((3, 7, 8, 10)).axes == "CZYX"
    told = layer_axes((3, 7, 8, 10), path=path)
    assert (told.axes, told.why, told.sure) == ("TZYX", "TZYX: from the ImageJ metadata of the file.", True)
    assert layer_axes((7, 8, 10), path=path).axes == "ZYX", "one frame of it"
    image = ome_zarr(tmp_path / "b.zarr", pixels(2, 5, 32, 48), "CTYX", levels=2)
    assert layer_axes((5, 32, 48), path=image).why == "TYX: from the OME-Zarr metadata."
    assert layer_axes((2, 5, 16, 24), path=image).axes == "CTYX", "a level of it"
    for other in (path, tmp_path / "missing.tif", tmp_path, None):
        assert layer_axes((60, 20, 20), path=other) == explain_axes((60, 20, 20))
    assert layer_axes((20, 20, 3), rgb=True, path=path).sure


def test_level_is_the_one_with_objects_of_the_size_that_the_model_knows() -> None:
    levels = [Level((4096 // 2**n,) * 2, {"Y": 2.0**n, "X": 2.0**n}, {}) for n in range(4)]
    assert [nearest_level(levels, size, 25) for size in (10, 25, 40, 100, 190, 5000)] == [0, 0, 1, 2, 3, 3]
    assert nearest_level(levels, None, 25) == nearest_level(levels, 100, None) == 0
    assert nearest_level(levels, 50 * 2**0.5, 50) == 0, "the finer of two that are equally near"


def test_lengths_in_micrometres() -> None:
    assert [micrometres(1, unit) for unit in ("nm", "Å", "μm", "millimetre", "inch")] == [1e-3, 1e-4, 1, 1e3, 25400]
    assert [micrometres(value, "um") for value in (0, -1, "x", None, float("nan"), float("inf"))] == [None] * 6
    assert micrometres(1, None) is None


def test_folders_patterns_and_zarr_are_found(tmp_path: Path) -> None:
    for name in ("b.png", "a.tif", "a-labels.ome.tif", "deep/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    ome_zarr(tmp_path / "c.ome.zarr", pixels(4, 4), "YX")
    ome_zarr(tmp_path / "c-labels.ome.zarr", pixels(4, 4), "YX")
    assert [path.name for path in image_files([tmp_path])] == ["a.tif", "b.png", "c.ome.zarr"]
    assert [path.name for path in image_files([tmp_path / "*.png", tmp_path / "b.png"])] == ["b.png"]
    assert [path.name for path in image_files([tmp_path / "**" / "*.tif"])] == ["a.tif", "d.tif"]
    assert image_files([tmp_path / "c.ome.zarr"]) == [tmp_path / "c.ome.zarr"]
    assert [image_stem(name) for name in ("a.ome.tif", "b.c.zarr", ".ome.tif")] == ["a", "b.c", ".ome"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"TimeIncrement": 2.5, "TimeIncrementUnit": "min"}, 150),
        ({"TimeIncrement": 40}, 40),
        ({"TimeIncrement": 0}, None),
        ({}, None),
    ],
)
def test_time_between_frames_of_an_ome_tiff(tmp_path: Path, metadata: dict[str, Any], expected: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels(3, 6, 7), metadata={"axes": "TYX", **metadata})
    assert open_image(tmp_path / "a.ome.tif").frame_interval_s == expected


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"finterval": 5.0}, 5),
        ({"finterval": 2, "tunit": "min"}, 120),
        ({"finterval": 2, "tunit": "frame"}, None),
        ({}, None),
    ],
)
def test_time_between_frames_of_imagej(tmp_path: Path, metadata: dict[str, Any], expected: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(3, 6, 7), imagej=True, metadata={"axes": "TYX", **metadata})
    assert open_image(tmp_path / "a.tif").frame_interval_s == expected

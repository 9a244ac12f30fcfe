"""Images of every kind, through the command line: each is segmented, or one line says what is wrong and what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
import zarr

from napari_unet import Model, save_model
from napari_unet.images import open_image, read_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def quiet_tifffile() -> Iterator[None]:
    logging.getLogger("tifffile").disabled = True
    yield
    logging.getLogger("tifffile").disabled = False


@pytest.fixture
def segment(run: Run, tiny_file: Path, tmp_path: Path) -> Callable[..., Any]:
    def call(path: Path, *arguments: object, model: Path = tiny_file) -> Any:
        return run("predict", path, "-m", model, "-o", tmp_path / "out", "--device", "cpu", *arguments)

    return call


def noise(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 100, shape)


# what works


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]
)
def test_every_type_of_number_gives_the_same_labels(segment: Callable[..., Any], tmp_path: Path, dtype: str) -> None:
    image = noise(24, 30)
    if dtype == "?":
        image = image > 50
    zarr.create_array(tmp_path / "a.zarr", data=image.astype(dtype))
    zarr.create_array(tmp_path / "b.zarr", data=image.astype("f8"))
    for name in "ab":
        assert segment(tmp_path / f"{name}.zarr", "--min-size", 0).code == 0
    labels = [read_image(tmp_path / "out" / f"{name}.tif").data for name in "ab"]
    assert labels[0].any()
    np.testing.assert_array_equal(*labels)


@pytest.mark.parametrize("axes", ["XY", "ZXY", "XYT", "YTXZ", "YXC", "CZXY", "YSX"])
def test_axes_in_any_order(segment: Callable[..., Any], tmp_path: Path, axes: str) -> None:
    order = [letter for letter in "TZCSYX" if letter in axes]
    image = noise(*({"T": 2, "Z": 3, "Y": 20, "X": 26}.get(letter, 2) for letter in order))
    moved = image.transpose([order.index(letter) for letter in axes])
    outer = [letter for letter in order if letter not in "CS"]
    zarr.create_array(tmp_path / "a.zarr", data=np.ascontiguousarray(moved))
    zarr.create_array(tmp_path / "b.zarr", data=image)
    channel = ("--channels", "1") if set(axes) & set("CS") else ()
    assert segment(tmp_path / "a.zarr", "--axes", axes, *channel).code == 0
    assert segment(tmp_path / "b.zarr", "--axes", "".join(order), *channel).code == 0
    found, expected = (open_image(tmp_path / "out" / f"{name}.tif") for name in "ab")
    assert found.axes == expected.axes == "".join(outer)
    np.testing.assert_array_equal(np.asarray(found.data), np.asarray(expected.data))


def test_nan_and_infinity_are_dark_places(segment: Callable[..., Any], tmp_path: Path) -> None:
    image = noise(24, 30).astype("f4")
    image[3:6, 3:6], image[10], image[:, 20] = np.nan, np.inf, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", image)
    assert segment(tmp_path / "a.tif").code == 0


@pytest.mark.parametrize("value", [0, 7, np.nan, np.inf])
def test_image_of_one_value_is_segmented_and_told(segment: Callable[..., Any], tmp_path: Path, value: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((24, 30), value, np.float32))
    answer = segment(tmp_path / "a.tif")
    assert answer.code == 0
    assert "a.tif has one value everywhere: there is nothing to see. Check the file and the channel." in answer.out


def test_image_of_one_pixel(segment: Callable[..., Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((1, 1), 3, np.uint8))
    assert segment(tmp_path / "a.tif").code == 0
    assert read_image(tmp_path / "out" / "a.tif").shape == (1, 1)


def test_nothing_found_points_to_the_object_size(segment: Callable[..., Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(24, 30).astype("u1"))
    answer = segment(tmp_path / "a.tif", "--min-size", 10_000)
    assert answer.code == 0
    assert "a.tif: No objects. Check the object size, or try another model." in answer.out


def test_volumes_are_segmented_by_a_model_of_volumes(
    segment: Callable[..., Any], tmp_path: Path, tiny_model: Callable[..., Model]
) -> None:
    model = save_model(tiny_model(network={"spatial_dims": 3}), tmp_path / "volumes")
    tifffile.imwrite(tmp_path / "a.tif", noise(6, 20, 20).astype("u1"), imagej=True, metadata={"axes": "ZYX"})
    answer = segment(tmp_path / "a.tif", "--measure", tmp_path / "t.csv", "--min-size", 0, model=model)
    assert answer.code == 0
    header, *rows = (tmp_path / "t.csv").read_text().splitlines()
    assert "volume_px" in header
    assert rows


# what does not


def empty_tiff(path: Path) -> None:
    path.with_suffix(".tif").write_bytes(b"")


CASES: dict[str, tuple[Callable[[Path], Any], tuple[object, ...], list[str]]] = {
    "stack without a word": (
        lambda p: zarr.create_array(p, data=noise(60, 8, 9)),
        (),
        ["The file does not tell its axes (shape (60, 8, 9)).", "for example --axes ZYX (60 planes: taken as Z."],
    ),
    "too many dimensions": (
        lambda p: zarr.create_array(p, data=noise(2, 2, 2, 2, 2, 2)), (), ["6 dimensions is no image"],
    ),
    "one dimension": (lambda p: zarr.create_array(p, data=noise(9)), (), ["1 dimension is no image"]),
    "axes of another length": (
        lambda p: zarr.create_array(p, data=noise(8, 9)), ("--axes", "ZYX"), ["name 3 dimensions but the image has 2"],
    ),
    "axes with unknown letters": (
        lambda p: zarr.create_array(p, data=noise(8, 9)), ("--axes", "YQ"), ["hold Q: use the letters TCZYXS"],
    ),
    "axes twice": (lambda p: zarr.create_array(p, data=noise(8, 9)), ("--axes", "XX"), ["name a letter twice"]),
    "axes without Y": (
        lambda p: zarr.create_array(p, data=noise(8, 9)), ("--axes", "ZX"), ["lack X or Y: an image needs both"],
    ),
    "channels and colours": (
        lambda p: zarr.create_array(p, data=noise(2, 8, 9, 3)),
        ("--axes", "CYXS"),
        ["hold both C and S: split the colours into channels first"],
    ),
    "too many channels": (
        lambda p: zarr.create_array(p, data=noise(3, 8, 9)),
        ("--axes", "CYX"),
        ["The image has 3 channels but the model 'tiny' takes 1 (image). Choose the channels to use"],
    ),
    "channel that is not there": (
        lambda p: zarr.create_array(p, data=noise(3, 8, 9)),
        ("--axes", "CYX", "--channels", "3"),
        ["The image has 3 channels, numbered from 0; there is none for (3,)"],
    ),
    "channel by a name": (
        lambda p: zarr.create_array(p, data=noise(3, 8, 9)),
        ("--axes", "CYX", "--channels", "DAPI"),
        ["has no channel 'DAPI' of its own", "none: give a number, from 0"],
    ),
    "empty": (lambda p: zarr.create_array(p, shape=(0, 9), dtype="u1"), (), ["The image is empty (shape (0, 9))"]),
    "complex numbers": (
        lambda p: zarr.create_array(p, data=noise(8, 9).astype("c8")),
        (),
        ["Images of type complex64 cannot be segmented. Convert the image to integers or floats"],
    ),
    "level that is not there": (
        lambda p: imageio.imwrite(p.with_suffix(".png"), noise(8, 9).astype("u1")), ("--level", "2"), ["has 1 level"],
    ),
    "empty file": (empty_tiff, (), ["a.tif is empty, it has 0 bytes. Copy it again"]),
    "text": (lambda p: p.with_suffix(".png").write_text("hello"), (), ["a.png cannot be read"]),
    "another kind": (
        lambda p: p.with_suffix(".czi").write_text("hello"),
        (),
        ["not of a kind that can be read here. Open it in Fiji (Plugins > Bio-Formats"],
    ),
    "missing": (lambda p: None, (), ["There is no image", "Check the path."]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_segmented_is_told_in_one_line(segment: Callable[..., Any], tmp_path: Path, case: str) -> None:
    make, arguments, words = CASES[case]
    make(tmp_path / "a.zarr")
    path = next(tmp_path.glob("a.*"), tmp_path / "a.tif")
    answer = segment(path, *arguments)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith(f"{path}: ")
    for word in words:
        assert word in line
    assert not (tmp_path / "out").exists()

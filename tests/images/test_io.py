"""Image files: real ones, written by other programs' rules, and damaged ones."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.errors import ImageError
from napari_unet.images import image_files, open_image, read_image, say_passed_over, write_labels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def quiet_tifffile() -> Iterator[None]:
    logging.getLogger("tifffile").disabled = True
    yield
    logging.getLogger("tifffile").disabled = False


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f4", "f2", "i2", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_plain_tiff_is_yx(tmp_path: Path, dtype: str, compression: str | None) -> None:
    image = np.arange(48).reshape(6, 8).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, compression=compression)
    read = read_image(tmp_path / "a.tif")
    assert (read.axes, read.name) == ("YX", "a")
    np.testing.assert_array_equal(read.data, image)


@pytest.mark.parametrize(("axes", "shape"), [("ZYX", (3, 6, 8)), ("TZCYX", (2, 3, 2, 6, 8)), ("CYX", (2, 6, 8))])
def test_imagej_hyperstack_tells_its_axes(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    image = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", image, imagej=True, metadata={"axes": axes})
    read = read_image(tmp_path / "a.tif")
    assert read.axes == axes
    np.testing.assert_array_equal(read.data, image)


def test_ome_tiff_tells_its_axes(tmp_path: Path) -> None:
    image = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint8).reshape(2, 3, 4, 5, 6)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "TCZYX"}, photometric="minisblack")
    read = read_image(tmp_path / "a.ome.tif")
    assert read.axes == "TCZYX"
    np.testing.assert_array_equal(read.data, image)


def test_stack_of_pages_without_a_word_leaves_the_axes_open(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(3):
            file.write(np.zeros((6, 8), np.uint8), contiguous=False, metadata=None, photometric="minisblack")
    read = read_image(tmp_path / "a.tif")
    assert read.data.shape == (3, 6, 8)
    assert read.axes is None


def test_rgb_files_are_yxs(tmp_path: Path, rng: np.random.Generator) -> None:
    image = rng.integers(0, 255, (6, 8, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    imageio.imwrite(tmp_path / "b.png", image)
    for name in ("a.tif", "b.png"):
        read = read_image(tmp_path / name)
        assert read.axes == "YXS"
        np.testing.assert_array_equal(read.data, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_keeps_its_depth(tmp_path: Path, dtype: Any) -> None:
    image = (np.arange(48).reshape(6, 8) * (1000 if dtype == np.uint16 else 1)).astype(dtype)
    imageio.imwrite(tmp_path / "a.png", image)
    read = read_image(str(tmp_path / "a.png"))
    assert read.axes == "YX"
    np.testing.assert_array_equal(read.data, image)


def test_capital_suffix(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "A.TIF", np.zeros((4, 4), np.uint8))
    assert read_image(tmp_path / "A.TIF").axes == "YX"
    assert image_files([tmp_path]) == [tmp_path / "A.TIF"]


# labels


@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "TZYX", "XY", "XYZ", "YXT", "ZTYX"])
def test_labels_come_back_with_their_axes(tmp_path: Path, axes: str) -> None:
    shape = [{"T": 2, "Z": 3, "Y": 7, "X": 9}[letter] for letter in axes]
    labels = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    read = read_image(write_labels(tmp_path / "new" / "a.tif", labels, axes))
    assert read.axes == "".join(letter for letter in "TZYX" if letter in axes)
    np.testing.assert_array_equal(read.data, labels.transpose([axes.index(letter) for letter in read.axes]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (5, 3), (3, 4), (2, 5, 3), (3, 5, 6), (4, 5, 4)])
@pytest.mark.parametrize("highest", [1, 100_000])
def test_labels_of_odd_shapes_are_not_taken_for_colours(tmp_path: Path, shape: tuple[int, ...], highest: int) -> None:
    labels = np.full(shape, highest, np.int32)
    read = read_image(write_labels(tmp_path / "a.tif", labels, "ZYX"[-len(shape) :]))
    assert read.axes == "ZYX"[-len(shape) :]
    np.testing.assert_array_equal(read.data, labels)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(0, np.uint16), (65535, np.uint16), (65536, np.uint32), (2**31 - 1, np.uint32)]
)
def test_ids_are_kept_whole(tmp_path: Path, highest: int, dtype: Any) -> None:
    labels = np.array([[0, highest], [1, 0]], np.int32)
    read = read_image(write_labels(tmp_path / "a.tif", labels, "YX"))
    assert read.data.dtype == dtype
    np.testing.assert_array_equal(read.data, labels)


def test_labels_replace_a_file_at_once_and_leave_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_labels(tmp_path / "a.tif", np.ones((4, 4), np.int32), "YX")

    def fail(file: Path, *args: Any, **kwargs: Any) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(ImageError, match="No space left on device"):
        write_labels(path, np.zeros((4, 4), np.int32), "YX")
    assert (read_image(path).data == 1).all()
    assert list(tmp_path.iterdir()) == [path]


def test_labels_to_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="Choose another folder"):
        write_labels(tmp_path / "file" / "a.tif", np.zeros((4, 4), np.int32), "YX")


# what can go wrong


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"There is no image .*a\.tif"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "cure"),
    [("a.czi", "Bio-Formats"), ("a.ND2", "Bio-Formats"), ("a.txt", "Save it as TIFF or PNG"), ("a", "Save it"),
     ("a.zarr.zip", "Unpack it")],
)  # fmt: skip
def test_other_kinds_of_files(tmp_path: Path, name: str, cure: str) -> None:
    (tmp_path / name).write_text("hello")
    with pytest.raises(ImageError, match=cure):
        read_image(tmp_path / name)


def test_folder_of_files_of_a_microscope(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_text("hello")
    with pytest.raises(ImageError, match=r"No images in .*a\.nd2 cannot be read here\. Open it in Fiji"):
        image_files([tmp_path])
    with pytest.raises(ImageError, match=r"a\.nd2 cannot be read here"):
        image_files([tmp_path / "*.nd2"])
    for name in ("b.tif", "c.nd2", "c.ome.tif"):
        (tmp_path / name).write_text("hello")
    assert [path.name for path in image_files([tmp_path])] == ["b.tif", "c.ome.tif"]
    assert say_passed_over([tmp_path]).startswith("a.nd2 cannot be read here"), "of c there is an image"
    assert not say_passed_over([tmp_path / "*.tif", tmp_path / "a.nd2"]), "a file that is asked for fails"
    (tmp_path / "d.czi").write_text("hello")
    assert say_passed_over([tmp_path]).startswith("a.nd2 and 1 more cannot be read here")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.bmp"])
@pytest.mark.parametrize("content", [b"hello", b"II*\0", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_renamed_and_empty_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{name} cannot be read"):
        read_image(tmp_path / name)


def example(kind: str, folder: Path) -> bytes:
    image = np.random.default_rng(0).integers(1, 255, (40, 50), np.uint8)
    path = folder / f"whole-{kind}"
    if kind == "ome.tif":
        stack = np.stack([image] * 3)
        tifffile.imwrite(path, stack, ome=True, compression="zlib", metadata={"axes": "ZYX"})
    elif kind == "tif":
        tifffile.imwrite(path, image)
    else:
        imageio.imwrite(path, image, extension=f".{kind}")
    return path.read_bytes()


@settings(max_examples=40)
@given(data=st.data(), kind=st.sampled_from(["tif", "ome.tif", "png", "jpg"]))
def test_damaged_file_is_told_or_read_but_never_crashes(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(example(kind, folder))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 20))]
    else:
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, min(500, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path = folder / f"a.{kind}"
    path.write_bytes(content)
    with suppress(ImageError):
        assert read_image(path).data.ndim >= 2


@pytest.mark.parametrize("kind", ["tif", "png", "jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_file_that_was_cut_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    content = example(kind, tmp_path)
    (tmp_path / f"a.{kind}").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImageError, match=r"cannot be read|was cut off"):
        read_image(tmp_path / f"a.{kind}")


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_empty_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ImageError, match=f"{name} is empty, it has 0 bytes. Copy it again"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("kind", ["pages", "mapped", "compressed"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_stack_that_was_cut_off_is_not_a_shorter_stack(tmp_path: Path, kind: str, bigtiff: bool) -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 40, 50), np.uint8)
    path = tmp_path / "a.tif"
    if kind == "mapped":
        tifffile.imwrite(path, image, bigtiff=bigtiff, photometric="minisblack")
    else:
        options: dict[str, Any] = {"compression": "zlib"} if kind == "compressed" else {}
        with tifffile.TiffWriter(path, bigtiff=bigtiff) as file:
            for plane in image:
                file.write(plane, contiguous=False, metadata=None, photometric="minisblack", **options)
    whole = path.read_bytes()
    assert read_image(path).shape == (9, 40, 50)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ImageError, match=r"a\.tif was cut off: its last pixels are missing\. Copy it again"):
        read_image(path)


def test_image_without_pixels(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="zero-size"):
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((0, 5), np.uint8))
    with pytest.raises(ImageError, match=r"has no pixels \(shape \(0, 5\)\)"):
        read_image(tmp_path / "a.tif")


def test_of_several_pictures_in_a_file_the_first_is_read_and_it_says_so(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 20, 24), np.uint8)
    imageio.imwrite(tmp_path / "a.png", frames, plugin="pillow")
    opened = open_image(tmp_path / "a.png")
    assert (opened.axes, opened.shape) == ("YX", (20, 24))
    assert opened.notes == ("a.png holds 3 pictures; the first is read. Save them as a TIFF stack.",)
    np.testing.assert_array_equal(opened.data, frames[0])


def test_picture_may_be_larger_than_pillow_thinks_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imageio.imwrite(tmp_path / "a.png", np.ones((40, 50), np.uint8))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 500)
    assert read_image(tmp_path / "a.png").shape == (40, 50)


def test_colour_table_is_left_out_and_it_says_so(tmp_path: Path) -> None:
    indices = np.arange(48, dtype=np.uint8).reshape(6, 8)
    table = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=table)
    opened = open_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(opened.data, indices)
    assert opened.notes == ("a.tif: its colour table is left out, the numbers behind the colours are read.",)


def test_folders_with_brackets_in_their_names_and_patterns_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "day [1]"
    folder.mkdir()
    for name in ("a.tif", "b[2].tif"):
        (folder / name).touch()
    assert [path.name for path in image_files([folder / "*.tif"])] == ["a.tif", "b[2].tif"]
    assert image_files([folder / "b[2].tif"]) == [folder / "b[2].tif"]
    assert image_files([folder, folder / "a.tif", tmp_path / "day [1]" / ".." / "day [1]" / "a.tif"]) == [
        folder / "a.tif", folder / "b[2].tif",
    ]  # fmt: skip


def test_folders_are_opened_one_level_deep_in_order_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.png", "a.tif", "c.txt", "._a.tif", "deep/d.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in image_files([tmp_path])] == ["a.tif", "b.png"]
    assert image_files([tmp_path / "c.txt", str(tmp_path / "b.png")]) == [tmp_path / "c.txt", tmp_path / "b.png"]


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"No images in .*Give files, folders or patterns"):
        image_files(path for path in [tmp_path])

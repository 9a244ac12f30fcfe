"""Image files of all kinds: found, opened, with what they tell about themselves."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from glob import escape, glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
from PIL import Image

from napari_unet.errors import ImageError
from napari_unet.images.axes import AxesGuess, explain_axes
from napari_unet.images.omezarr import is_zarr, open_zarr
from napari_unet.images.opened import Level, OpenedImage
from napari_unet.images.tiff import open_tiff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = [
    "IMAGE_SUFFIXES",
    "full_stem",
    "image_files",
    "image_stem",
    "layer_axes",
    "open_image",
    "read_image",
    "say_passed_over",
]

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")

_MICROSCOPES = {
    ".czi", ".dv", ".gel", ".ims", ".ipw", ".lif", ".liff", ".lsm", ".mrxs", ".mvd2", ".nd", ".nd2", ".ndpi", ".oib",
    ".oif", ".oir", ".qptiff", ".r3d", ".scn", ".sld", ".slidebook", ".stk", ".svs", ".vms", ".vsi", ".xdce", ".zvi",
}  # fmt: skip
"""Files as the programs of microscopes save them: Fiji opens those with Bio-Formats."""

_CONVERT = "Open it in Fiji (Plugins > Bio-Formats > Bio-Formats Importer) and save it as OME-TIFF."

_OWN_LABELS = "-labels"


def open_image(path: str | Path, level: int | None = None) -> OpenedImage:
    """Open TIFF (OME, ImageJ, plain), OME-Zarr, zarr, PNG, JPEG or BMP without reading what is not needed yet.

    Parameters
    ----------
    path : path
        A file, or the folder of a zarr array or group.
    level : int, optional
        Resolution of a pyramid. None: the full one, 0.

    Returns
    -------
    OpenedImage

    Raises
    ------
    ImageError
        If it is missing, damaged or of another kind; or when its pixels are read, where only they are damaged.

    Examples
    --------
    >>> image = open_image("cells.ome.tif")  # doctest: +SKIP
    >>> image.axes, image.shape, image.pixel_size_um  # doctest: +SKIP
    ('CYX', (2, 2048, 2048), {'Y': 0.325, 'X': 0.325})
    """
    path = Path(path)
    name, level = image_stem(path), level or 0
    zarr = path.is_dir() and is_zarr(path)
    if path.is_dir() and not zarr:
        raise ImageError(f"{path} is a folder but no zarr image. Give the images in it.")
    if not path.exists():
        raise ImageError(f"There is no image {path}. Check the path.")
    if not zarr and path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"{path.name} is not of a kind that can be read here. {_cure(path)}")
    if not zarr and not path.stat().st_size:
        raise ImageError(f"{path.name} is empty, it has 0 bytes. Copy it again, or save it again.")
    try:
        if zarr:
            return open_zarr(path, name, level)
        if path.suffix.lower() in (".tif", ".tiff"):
            return open_tiff(path, name, level)
        opened = _open_picture(path, name)
    except ImageError:
        raise
    except Exception as error:  # a damaged file can make its decoder raise almost anything
        cure = "Copy it again." if zarr else "Open and save it again in Fiji, as TIFF."
        raise ImageError(f"{path.name} cannot be read ({error}). {cure}") from error
    if level:
        raise ImageError(f"{path.name} has 1 level, numbered from 0; there is no {level}.")
    return opened


def read_image(path: str | Path) -> OpenedImage:
    """Open an image as `open_image` does, and read all its pixels into memory.

    A two-dimensional image that does not tell its axes is YX.

    Raises
    ------
    ImageError
        If the file is missing, damaged or of another kind.
    """
    opened = open_image(path)
    data = np.array(opened.data)
    axes = opened.axes or ("YX" if data.ndim == 2 else None)
    return replace(opened, data=data, axes=axes)


def layer_axes(shape: tuple[int, ...], *, rgb: bool = False, path: str | Path | None = None) -> AxesGuess:
    """Return the axes of an array that was opened elsewhere, such as a layer of napari, and why.

    What its file tells wins, where the array is that file's image or one channel or level of it; else they are guessed
    from the shape.

    Parameters
    ----------
    shape : tuple of int
    rgb : bool
        The last dimension is known to be colours.
    path : path, optional
        The file that it came from. One that cannot be read is passed over.

    Raises
    ------
    ImageError
        If an array of that shape is no image.
    """
    if path is not None:
        with suppress(ImageError, OSError):
            opened = open_image(path)
            axes = opened.axes or ""
            for level in opened.levels:
                for left_out in ("", "C", "T", "Z"):
                    kept = [n for n, letter in enumerate(axes) if letter != left_out]
                    if kept and tuple(level.shape[n] for n in kept) == tuple(shape):
                        found = "".join(axes[n] for n in kept)
                        return AxesGuess(found, opened.axes_why.replace(axes, found, 1), True)
    return explain_axes(shape, rgb=rgb)


def image_stem(path: str | Path) -> str:
    """Return the name of an image file without its suffix: ``a`` of ``a.ome.tif``."""
    stem = Path(path).stem
    return stem[:-4] if stem.lower().endswith(".ome") and len(stem) > 4 else stem


def full_stem(path: str | Path) -> str:
    """Return the name of an image as `image_stem` does, after those of the zarr groups that it lies in.

    An image of a plate has a number for a name: ``plate-A-1-0``.
    """
    inside = [Path(path).absolute()]
    while is_zarr(inside[0].parent):
        inside.insert(0, inside[0].parent)
    return "-".join(map(image_stem, inside))


def image_files(paths: Iterable[str | Path], *, own_labels: bool = False) -> list[Path]:
    """Return the images among `paths`, folders opened one level deep, patterns filled in, in the order of their names.

    Hidden files, such as the ``._name`` that macOS leaves, and labels that this program wrote beside images
    (``name-labels``) are passed over in folders and patterns; with `own_labels` those are what is looked for, where a
    folder has any.

    Raises
    ------
    ImageError
        If there is none.
    """
    asked = [Path(path) for path in paths]
    found: list[Path] = []
    for path in asked:
        inside = _inside(path)
        found += [path] if inside is None else _images(inside, own_labels)
    if not found:
        others = _passed_over(asked)
        cure = _cannot_be_read(others) if others else "Give files, folders or patterns of TIFF, PNG or OME-Zarr."
        raise ImageError(f"No images in {', '.join(map(str, asked))}. {cure}")
    once: dict[tuple[str, str], Path] = {}
    for path in found:
        once.setdefault((os.path.realpath(path.parent), path.name), path)
    return list(once.values())


def _passed_over(paths: Iterable[str | Path]) -> list[Path]:
    inside = [one for path in paths for one in _inside(Path(path)) or ()]
    there = {(one.parent, image_stem(one)) for one in inside if _is_image(one)}
    others = (one for one in inside if one.suffix.lower() in _MICROSCOPES and not one.name.startswith("."))
    return sorted(one for one in others if (one.parent, one.stem) not in there)


def say_passed_over(paths: Iterable[str | Path]) -> str:
    """Return a sentence about the files of microscopes that `image_files` leaves out of folders and patterns.

    It is empty where there are none, or an image of the same name beside each.
    """
    others = _passed_over(paths)
    return _cannot_be_read(others) if others else ""


def _cannot_be_read(files: list[Path]) -> str:
    first, more = files[0].name, len(files) - 1
    if not more:
        return f"{first} cannot be read here. {_CONVERT}"
    return f"{first} and {more} more cannot be read here. {_CONVERT}"


def _inside(path: Path) -> list[Path] | None:
    """Return what is in a folder or fits a pattern; None for a file."""
    if path.is_dir() and not is_zarr(path):
        return list(path.iterdir())
    return _fitting(path) if has_magic(str(path)) and not path.exists() else None


def _fitting(pattern: Path) -> list[Path]:
    """Return what fits a pattern; a folder that is there means itself, also where its name has brackets."""
    there = next(folder for folder in pattern.parents if folder.exists())
    rest = pattern.relative_to(there)
    return [Path(one) for one in glob(os.path.join(escape(str(there)), str(rest)), recursive=True)]


def _images(paths: Iterable[Path], own_labels: bool) -> list[Path]:
    every = sorted(path for path in paths if _is_image(path))
    own = [path for path in every if image_stem(path).endswith(_OWN_LABELS)]
    return (own or every) if own_labels else [path for path in every if path not in own]


def _is_image(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    return is_zarr(path) if path.is_dir() else path.suffix.lower() in IMAGE_SUFFIXES


def _cure(path: Path) -> str:
    if path.suffix.lower() in _MICROSCOPES:
        return _CONVERT
    return "Unpack it." if path.suffix.lower() == ".zip" else "Save it as TIFF or PNG."


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Let Pillow read pictures of more than 89 million pixels: what is too much tells the memory."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _open_picture(path: Path, name: str) -> OpenedImage:
    notes = []
    with _of_any_size():
        with Image.open(path) as picture:
            frames, colours = getattr(picture, "n_frames", 1), "RGB" if picture.mode == "CMYK" else None
        data: NDArray[Any] = np.asarray(imageio.imread(path, plugin="pillow", index=0, mode=colours))
    if frames > 1:
        notes.append(f"{path.name} holds {frames} pictures; the first is read. Save them as a TIFF stack.")
    if data.ndim == 3 and data.shape[-1] in (2, 4):
        notes.append(f"{path.name}: its transparency is left out.")
        data = data[..., 0] if data.shape[-1] == 2 else data[..., :3]
    if data.ndim not in (2, 3):
        raise ValueError("there is no image in it")
    axes = "YXS" if data.ndim == 3 else "YX"
    why = f"{axes}: a picture {'in colours' if axes == 'YXS' else 'without colours'}."
    levels = (Level(data.shape, {}, {}),)
    return OpenedImage(data, axes, why, path, name, levels=levels, files=(path,), notes=tuple(notes))

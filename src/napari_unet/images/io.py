"""Image files: pixels, axes and pixel size, as the file itself tells them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as imageio
import numpy as np
import tifffile

from napari_unet.errors import ImageError
from napari_unet.images.axes import CANONICAL, guess_axes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["IMAGE_SUFFIXES", "ImageFile", "image_files", "read_image", "write_labels"]

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, eq=False)
class ImageFile:
    """What was read from a file.

    Attributes
    ----------
    data : ndarray
    axes : str or None
        Letters of ``TCZYXS``; None where the file does not tell.
    name : str
        File name without its suffix.
    """

    data: NDArray[Any]
    axes: str | None
    name: str


def read_image(path: str | Path) -> ImageFile:
    """Read TIFF (OME, ImageJ, plain), PNG, JPEG or BMP.

    Raises
    ------
    ImageError
        If the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"There is no image {path}. Check the path.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"{path.name} is not of a kind that can be read here. Save it as TIFF or PNG.")
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as file:
                series = file.series[0]
                data, axes = series.asarray(), series.axes.upper()
        else:
            data = np.asarray(imageio.imread(path, plugin="pillow"))
            axes = "YXS" if data.ndim == 3 else "YX"
        if data.ndim < 2:
            raise ValueError("there is no image in it")
    except Exception as error:  # a damaged file can make its decoder raise almost anything
        raise ImageError(f"{path.name} cannot be read ({error}). Open and save it again in Fiji, as TIFF.") from error
    known = set(axes) <= set("TCZYXS") and len(axes) == data.ndim and {"X", "Y"} <= set(axes)
    return ImageFile(data, axes if known else guess_axes(data.shape), path.stem)


def image_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the image files among `paths`, folders opened one level deep, in the order of their names.

    Hidden files, such as the ``._name`` that macOS leaves, are passed over in folders.

    Raises
    ------
    ImageError
        If there is none.
    """
    asked = [Path(path) for path in paths]
    found: list[Path] = []
    for path in asked:
        if path.is_dir():
            found += sorted(
                p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
            )
        else:
            found.append(path)
    if not found:
        raise ImageError(f"No images in {', '.join(map(str, asked))}. Give files or folders of TIFF or PNG.")
    return found


def write_labels(path: str | Path, labels: NDArray[Any], axes: str) -> Path:
    """Write labels as a compressed OME-TIFF with its axes, first under a temporary name.

    16 bits where the ids fit, else 32. The axes are written in the order TZYX, whatever theirs is: the format
    wants Y and X last.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    path = Path(path)
    order = [axes.index(letter) for letter in CANONICAL if letter in axes]
    small = labels.max(initial=0) < 2**16
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            temporary,
            labels.transpose(order).astype(np.uint16 if small else np.uint32),
            ome=True,
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": "".join(axes[axis] for axis in order)},
        )
        temporary.replace(path)
    except OSError as error:
        raise ImageError(
            f"The labels cannot be written to {path} ({error.strerror or error}). Choose another folder."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path

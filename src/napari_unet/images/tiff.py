"""TIFF: plain, ImageJ and OME. Pixels are mapped or read page by page, never the whole file."""

from __future__ import annotations

import struct
import weakref
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_unet.errors import ImageError
from napari_unet.images.lazy import lazy_array
from napari_unet.images.opened import Level, OpenedImage, micrometres, seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["open_tiff"]

_Told = tuple[dict[str, float], tuple[str, ...], float | None]
"""Micrometres per voxel, names of the channels, seconds between frames."""

_LARGE_PAGE = 2**28
"""Bytes above which a page is read in strips; below, whole pages decode much faster."""

_CENTIMETRE = 3


def open_tiff(path: Path, name: str, level: int = 0) -> OpenedImage:
    """Open a TIFF. Raises anything that a damaged file makes its decoder raise."""
    file = tifffile.TiffFile(path)
    try:
        _check_pages(file, path)
        series = _choose(file)
        files = _files_of(series, path)
        count = len(series.levels)
        if not 0 <= level < count:
            raise ImageError(
                f"{path.name} has {count} level{'s' * (count != 1)}, numbered from 0; there is no {level}."
            )
        data = _pixels(file, series, level, path)
    except BaseException:
        file.close()
        raise
    axes, why = _axes(file, series, path)
    size, channels, interval = _metadata(file, series)
    levels = tuple(_level(one.shape, series.shape, axes, size) for one in series.levels)
    notes = []
    if len(file.series) > 1:
        notes.append(
            f"{path.name} holds {len(file.series)} images; the first is read (shape {series.shape}). "
            "Save the others as files of their own."
        )
    if series.keyframe.photometric == tifffile.PHOTOMETRIC.PALETTE:
        notes.append(f"{path.name}: its colour table is left out, the numbers behind the colours are read.")
    return OpenedImage(data, axes, why, path, name, channels, levels, level, files, tuple(notes), interval)


class _Pages:
    """One level of a series; the file is closed when nobody needs it any more.

    The pages that were decoded last are kept: tiles are cut from one page after the other, and a page is decoded whole.
    """

    def __init__(self, file: tifffile.TiffFile, series: tifffile.TiffPageSeries, level: int) -> None:
        import zarr

        pages = series.levels[level].keyframe
        mode = "strile" if pages.is_tiled or pages.nbytes > _LARGE_PAGE else "page"
        self._array: Any = zarr.open_array(series.aszarr(level=level, chunkmode=mode), mode="r")
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.chunks: tuple[int, ...] = tuple(self._array.chunks)
        self.dtype, self.ndim = np.dtype(self._array.dtype), len(self.shape)
        self._outer = len(self.shape) - pages.ndim
        self._kept: dict[tuple[int, ...], NDArray[Any]] = {}
        self._room = _LARGE_PAGE // max(1, pages.nbytes) if mode == "page" else 0
        self._lock = Lock()
        weakref.finalize(self, file.close)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        outer = key[: self._outer]
        if self._room and all(isinstance(one, int) or _is_single(one) for one in outer):
            page = self._page(tuple(one if isinstance(one, int) else one.start for one in outer))
            kept = tuple(None for one in outer if not isinstance(one, int))
            return page[kept + key[self._outer :]]
        return np.asarray(self._array[key])

    def _page(self, where: tuple[int, ...]) -> NDArray[Any]:
        with self._lock:
            page = self._kept.pop(where, None)
        if page is None:
            page = np.asarray(self._array[where])
        with self._lock:
            self._kept[where] = page
            while len(self._kept) > self._room:
                del self._kept[next(iter(self._kept))]
        return page


def _is_single(part: Any) -> bool:
    """Tell whether a part of an axis is one place of it, as a slice."""
    return isinstance(part, slice) and part.start is not None and part.start >= 0 and part.stop == part.start + 1


def _pixels(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, level: int, path: Path) -> Any:
    chosen = series.levels[level]
    if chosen.dataoffset is not None and not chosen.is_multifile:
        if not chosen.nbytes:
            raise ImageError(f"{path.name} has no pixels (shape {tuple(chosen.shape)}). Open one that has some.")
        if chosen.dataoffset + chosen.nbytes > file.filehandle.size:
            raise _cut_off(path)
        dtype = np.dtype(file.byteorder + chosen.dtype.char)
        mapped = np.memmap(file.filehandle.path, dtype, "r", chosen.dataoffset, tuple(chosen.shape))
        file.close()
        return mapped
    pages = _Pages(file, series, level)
    return lazy_array(pages, pages.chunks, Path(file.filehandle.name).name)


def _check_pages(file: tifffile.TiffFile, path: Path) -> None:
    """Raise where the next page would lie behind the end of the file: tifffile leaves it and all others out."""
    file.filehandle.seek(file.pages[-1].offset)
    layout = file.tiff
    (tags,) = struct.unpack(layout.tagnoformat, file.filehandle.read(layout.tagnosize))
    file.filehandle.seek(layout.tagsize * tags, 1)
    (following,) = struct.unpack(layout.offsetformat, file.filehandle.read(layout.offsetsize))
    if following > file.filehandle.size:
        raise _cut_off(path)


def _cut_off(path: Path) -> ImageError:
    return ImageError(f"{path.name} was cut off: its last pixels are missing. Copy it again.")


def _choose(file: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    if not file.series or len(file.series[0].shape) < 2:
        raise ValueError("there is no image in it")
    return file.series[0]


def _files_of(series: tifffile.TiffPageSeries, path: Path) -> tuple[Path, ...]:
    """Return the files that an OME series is spread over; tifffile would show missing ones as black planes."""
    if series.kind != "ome" or series.dataoffset is not None:
        return (path,)
    pages = list(series)
    missing = sum(page is None for page in pages)
    if missing:
        raise ImageError(
            f"{path.name} is one of several files, or was cut off: {missing} of its {len(pages)} planes are missing. "
            "Put all files of the set into one folder, under the names that they were written with."
        )
    return tuple(dict.fromkeys(path.with_name(page.parent.filehandle.name) for page in pages if page is not None))


def _axes(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> tuple[str | None, str]:
    axes = series.axes.upper()
    if {"C", "S"} <= set(axes):
        raise ImageError(
            f"{path.name} holds channels and colours at once (axes {axes}, shape {series.shape}). Split the colours "
            "into channels, in Fiji: Image > Color > Split Channels."
        )
    strange = [(letter, n) for letter, n in zip(axes, series.shape, strict=True) if letter not in "TCZYXSIQ"]
    if strange:
        letter, n = strange[0]
        kind = tifffile.TIFF.AXES_NAMES.get(letter, letter)
        raise ImageError(
            f"{path.name} has a dimension {kind!r} of length {n} (axes {axes}) beside time, channel, Z, Y and X. "
            f"Save each {kind} as a file of its own."
        )
    if set(axes) <= set("TCZYXS") and {"X", "Y"} <= set(axes):
        source = "OME" if series.kind == "ome" else "ImageJ" if file.is_imagej else "TIFF"
        return axes, f"{axes}: from the {source} metadata of the file."
    return None, "The file does not tell its axes."


def _metadata(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> _Told:
    if series.kind == "ome" and file.ome_metadata:
        return _ome(file.ome_metadata, series.name)
    if file.is_imagej:
        return _imagej(file, series)
    tags = series.keyframe.tags
    if "ResolutionUnit" in tags and tags["ResolutionUnit"].value == _CENTIMETRE:
        # dots per inch are a printer's default, and so is anything coarser than a microscope sees
        sizes = {letter: _resolution(tags, f"{letter}Resolution", "cm") for letter in "YX"}
        return {letter: size for letter, size in sizes.items() if size is not None and size < 100}, (), None
    return {}, (), None


def _resolution(tags: Any, name: str, unit: str | None) -> float | None:
    pixels, length = tags[name].value if name in tags else (0, 0)
    return micrometres(length / pixels, unit) if pixels else None


def _imagej(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> _Told:
    told = file.imagej_metadata or {}
    unit, tags = told.get("unit"), series.keyframe.tags
    sizes = {
        "Z": micrometres(told.get("spacing"), unit),
        **{letter: _resolution(tags, f"{letter}Resolution", unit) for letter in "YX"},
    }
    count = told.get("channels", 1)
    labels = told.get("Labels") or []
    names = tuple(str(label) for label in labels[:count]) if count > 1 and len(set(labels[:count])) == count else ()
    interval = seconds(told.get("finterval"), str(told.get("tunit", "sec")))
    return {letter: size for letter, size in sizes.items() if size is not None}, names, interval


def _ome(document: str, name: str) -> _Told:
    try:
        images = ElementTree.fromstring(document).findall("{*}Image")
    except ElementTree.ParseError:
        return {}, (), None
    image = next((image for image in images if image.get("Name") == name), images[0] if images else None)
    pixels = None if image is None else image.find("{*}Pixels")
    if pixels is None:
        return {}, (), None
    sizes = {
        letter: micrometres(pixels.get(f"PhysicalSize{letter}"), pixels.get(f"PhysicalSize{letter}Unit", "µm"))
        for letter in "ZYX"
    }
    names = [channel.get("Name", "") for channel in pixels.findall("{*}Channel")]
    known = {letter: size for letter, size in sizes.items() if size is not None}
    interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return known, tuple(names) if all(names) else (), interval


def _level(shape: tuple[int, ...], full: tuple[int, ...], axes: str | None, size: dict[str, float]) -> Level:
    scale = {letter: n / m for letter, n, m in zip(axes or "", full, shape, strict=bool(axes)) if letter in "ZYX"}
    return Level(tuple(shape), scale, {letter: um * scale.get(letter, 1.0) for letter, um in size.items()})

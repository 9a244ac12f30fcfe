"""Labels and status as OME-Zarr 0.5, written chunk by chunk."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from napari_unet.correction.places import sync_folder
from napari_unet.images import CANONICAL

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.correction.edits import Box

__all__ = ["LabelArrays", "Make"]

Make = Callable[[tuple[int, ...], Any], Any]

_SIDE = 512
"""Chunks are planes of at most this many pixels a side."""

_CHUNKS_HELD = 256
_OBJECTS, _STATUS = "objects", "status"
_STATUS_COLORS = [
    {"label-value": 1, "rgba": [48, 209, 88, 255]},
    {"label-value": 2, "rgba": [255, 159, 10, 255]},
]


class LabelArrays:
    """The two arrays of a store. On disk their axes are in the order TZYX, whatever that of the document is.

    Parameters
    ----------
    path : Path
        The ``.zarr`` folder.
    axes : str
        Of the labels in the document.
    """

    def __init__(self, path: Path, axes: str) -> None:
        self._path = path
        self._order = [axes.index(letter) for letter in CANONICAL if letter in axes]
        self._back = [int(place) for place in np.argsort(self._order)]
        root = zarr.open_group(path, mode="r+")
        self._labels: Any = root[f"{_OBJECTS}/0"]
        self._status: Any = root[f"{_STATUS}/0"]

    @classmethod
    def create(
        cls, path: Path, axes: str, shape: tuple[int, ...], pixel_size_um: dict[str, float], source: str
    ) -> LabelArrays:
        """Make empty arrays.

        Parameters
        ----------
        path : Path
        axes : str
            Of the labels.
        shape : tuple of int
            Of the labels, in the order of `axes`.
        pixel_size_um : dict
            Micrometres by axis; what is missing has no unit.
        source : str
            The image, for other programs.
        """
        letters = [letter for letter in CANONICAL if letter in axes]
        sizes = tuple(shape[axes.index(letter)] for letter in letters)
        chunks = tuple(1 for _ in sizes[:-2]) + tuple(min(n, _SIDE) for n in sizes[-2:])
        names = [_OBJECTS, _STATUS]
        root = zarr.create_group(path, zarr_format=3, attributes={"ome": {"version": "0.5", "labels": names}})
        for name, dtype in ((_OBJECTS, np.int32), (_STATUS, np.uint8)):
            meta = _multiscales(name, letters, pixel_size_um)
            meta["image-label"] = {"version": "0.5", "source": {"image": source}}
            if name == _STATUS:
                meta["image-label"]["colors"] = _STATUS_COLORS
            group = root.create_group(name, attributes={"ome": meta})
            group.create_array(
                "0",
                shape=sizes,
                dtype=dtype,
                chunks=chunks,
                fill_value=0,
                compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                dimension_names=[letter.lower() for letter in letters],
            )
        root.create_group("journal")
        return cls(path, axes)

    def load(self, make: Make = np.zeros) -> Generator[float, None, tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Return the work of reading labels and status in the axes of the document; yields how far it is, 0 to 1.

        Only chunks that exist are read. `make` gives an array of zeros of a shape and a type.
        """
        loaded: list[NDArray[Any]] = []
        for half, (array, folder) in enumerate(((self._labels, _OBJECTS), (self._status, _STATUS))):
            whole = make(tuple(array.shape[place] for place in self._back), array.dtype)
            in_order = whole.transpose(self._order)
            there = sorted(self._chunks_on_disk(self._path / folder / "0" / "c", array.ndim))
            for number, coordinates in enumerate(there, start=1):
                box = self._chunk_box(coordinates)
                in_order[box] = array[box]
                yield (half + number / len(there)) / 2
            loaded.append(whole)
        return loaded[0], loaded[1]

    @property
    def is_empty(self) -> bool:
        """Whether no chunk was written."""
        folders = ((self._labels, _OBJECTS), (self._status, _STATUS))
        return not any(
            True for array, name in folders for _ in self._chunks_on_disk(self._path / name / "0" / "c", array.ndim)
        )

    def fold(self, changes: Iterable[tuple[Box, NDArray[Any], NDArray[np.uint8]]]) -> None:
        """Write boxes of labels and status, in order, and have the disk confirm them."""
        held: dict[tuple[int, ...], tuple[NDArray[Any], NDArray[Any]]] = {}
        for box_given, labels_given, status_given in changes:
            box = tuple(box_given[place] for place in self._order)
            labels, status = labels_given.transpose(self._order), status_given.transpose(self._order)
            for coordinates in self._chunks_of(box):
                chunk_box = self._chunk_box(coordinates)
                overlap = [
                    slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, chunk_box, strict=True)
                ]
                if coordinates not in held:
                    held[coordinates] = self._read(chunk_box, whole=overlap == list(chunk_box))
                there, here = _inside(overlap, chunk_box), _inside(overlap, box)
                held[coordinates][0][there] = labels[here]
                held[coordinates][1][there] = status[here]
                if len(held) >= _CHUNKS_HELD:
                    self._write(held)
                    held.clear()
        self._write(held)

    def _read(self, box: Box, *, whole: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        if whole:  # all of it is going to be written
            shape = tuple(s.stop - s.start for s in box)
            return np.empty(shape, self._labels.dtype), np.empty(shape, np.uint8)
        return np.array(self._labels[box]), np.array(self._status[box])

    def _write(self, held: dict[tuple[int, ...], tuple[NDArray[Any], NDArray[Any]]]) -> None:
        folders = set()
        for coordinates, chunk in held.items():
            box = self._chunk_box(coordinates)
            for array, name, values in zip((self._labels, self._status), (_OBJECTS, _STATUS), chunk, strict=True):
                array[box] = values
                file = self._path / name / "0" / array.metadata.encode_chunk_key(coordinates)
                if file.exists():  # a chunk of zeros is no file
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
                    folders.add(file.parent)
        for folder in folders:
            sync_folder(folder)

    def _chunks_of(self, box: Box) -> Iterator[tuple[int, ...]]:
        ranges = (range(s.start // n, -(-s.stop // n)) for s, n in zip(box, self._labels.chunks, strict=True))
        return product(*ranges)

    def _chunk_box(self, coordinates: tuple[int, ...]) -> Box:
        sizes = zip(coordinates, self._labels.chunks, self._labels.shape, strict=True)
        return tuple(slice(c * side, min((c + 1) * side, n)) for c, side, n in sizes)

    @staticmethod
    def _chunks_on_disk(folder: Path, ndim: int) -> Iterator[tuple[int, ...]]:
        for file in folder.glob("/".join("*" * ndim)):
            parts = file.relative_to(folder).parts
            if all(part.isdecimal() for part in parts):
                yield tuple(int(part) for part in parts)


def _inside(inner: Iterable[slice], outer: Box) -> Box:
    return tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))


def _multiscales(name: str, letters: list[str], pixel_size_um: dict[str, float]) -> dict[str, Any]:
    """Return the metadata of OME-Zarr 0.5 for an array of one scale."""
    axes: list[dict[str, str]] = []
    for letter in letters:
        axis = {"name": letter.lower(), "type": "time" if letter == "T" else "space"}
        if letter != "T" and letter in pixel_size_um:
            axis["unit"] = "micrometer"
        axes.append(axis)
    scale = [1.0 if letter == "T" else float(pixel_size_um.get(letter, 1.0)) for letter in letters]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}

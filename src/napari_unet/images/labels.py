"""Label files: OME-TIFF and OME-Zarr, written at once, with axes, pixel sizes and how they were made."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import numpy as np
import tifffile

from napari_unet.images.atomic import written_at_once
from napari_unet.images.axes import CANONICAL, label_planes
from napari_unet.images.omezarr import is_zarr

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_provenance", "write_labels"]

_KEY = "napari-unet"
_CHUNK = {"T": 1, "Z": 16, "Y": 512, "X": 512}
_CLASSIC_TIFF = 2**32 - 2**25
_UM_PER_CM = 1e4
_SMALLEST = 1e-5
"""Pixels of fewer micrometres have no room in the tags of a TIFF."""


def write_labels(
    path: str | Path,
    labels: Any,
    axes: str,
    *,
    pixel_size_um: Mapping[str, float] | None = None,
    provenance: Mapping[str, Any] | None = None,
    frame_interval_s: float | None = None,
    version: Literal["0.4", "0.5"] = "0.4",
) -> Path:
    """Write labels as a compressed OME-TIFF or, where the name ends in ``.zarr``, as OME-Zarr.

    They appear under their name when they are complete. 16 bits where the ids fit, else 32. The axes are written in the
    order TZYX, whatever theirs is: the formats want Y and X last. Only a plane or a row of chunks is in memory at a
    time; in OME-Zarr, chunks without objects are not stored.

    Parameters
    ----------
    path : path
    labels : array of integers
        NumPy, dask or zarr, not negative.
    axes : str
        Its axes, letters of ``TZYX``.
    pixel_size_um : mapping, optional
        Micrometres per voxel of those of ``ZYX`` that are known.
    provenance : mapping, optional
        How they were made, as JSON can hold it: the description of the OME-TIFF, an attribute of the OME-Zarr.
        `read_provenance` reads it back.
    frame_interval_s : float, optional
        Seconds from one frame to the next, where that is known.
    version : {"0.4", "0.5"}
        Of OME-Zarr. The default, 0.4, is read by more programs.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    path = Path(path)
    highest = max((int(plane.max(initial=0)) for _, plane in label_planes(labels, axes)), default=0)
    dtype = np.dtype(np.uint16 if highest < 2**16 else np.uint32)
    sizes = {letter: float(size) for letter, size in (pixel_size_um or {}).items()}
    if frame_interval_s and "T" in axes:
        sizes["T"] = float(frame_interval_s)
    with written_at_once(path) as temporary:
        if path.suffix.lower() == ".zarr":
            _write_zarr(temporary, labels, axes, dtype, sizes, provenance, version)
        else:
            _write_tiff(temporary, labels, axes, dtype, sizes, provenance)
    return path


def read_provenance(path: str | Path) -> dict[str, Any] | None:
    """Return how a label file was made, as `write_labels` was told; None where there is no such file or word."""
    path = Path(path)
    document: Any = None
    with suppress(Exception):  # a file of another kind, or half a file: it does not say
        if path.is_dir() and is_zarr(path):
            import zarr

            document = dict(zarr.open_group(path, mode="r").attrs).get(_KEY)
        elif path.is_file():
            with tifffile.TiffFile(path) as file:
                told = ElementTree.fromstring(file.ome_metadata or "").find("{*}Image/{*}Description")
            document = None if told is None else json.loads(told.text or "")
    return document if isinstance(document, dict) else None


def _ordered(axes: str) -> str:
    return "".join(letter for letter in CANONICAL if letter in axes)


def _write_tiff(
    path: Path,
    labels: Any,
    axes: str,
    dtype: np.dtype[Any],
    sizes: Mapping[str, float],
    provenance: Mapping[str, Any] | None,
) -> None:
    order = _ordered(axes)
    shape = tuple(labels.shape[axes.index(letter)] for letter in order)
    metadata: dict[str, Any] = {"axes": order}
    for letter, size in sizes.items():
        if letter == "T":
            metadata |= {"TimeIncrement": size, "TimeIncrementUnit": "s"}
        else:
            metadata |= {f"PhysicalSize{letter}": size, f"PhysicalSize{letter}Unit": "µm"}
    if provenance is not None:
        metadata["Description"] = json.dumps(provenance)
    tags: dict[str, Any] = {}
    if all(sizes.get(letter, 0) > _SMALLEST for letter in "XY"):
        # Fiji opens a file that is dropped on it without a look at the OME metadata
        per_centimetre = (_UM_PER_CM / sizes["X"], _UM_PER_CM / sizes["Y"])
        tags = {"resolution": per_centimetre, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        path,
        (np.ascontiguousarray(plane, dtype) for _, plane in label_planes(labels, axes)),
        shape=shape,
        dtype=dtype,
        ome=True,
        bigtiff=int(np.prod(shape)) * dtype.itemsize > _CLASSIC_TIFF,
        compression="zlib",
        photometric="minisblack",
        metadata=metadata,
        **tags,
    )


def _write_zarr(
    path: Path,
    labels: Any,
    axes: str,
    dtype: np.dtype[Any],
    sizes: Mapping[str, float],
    provenance: Mapping[str, Any] | None,
    version: str,
) -> None:
    import numcodecs  # type: ignore[import-untyped]
    import zarr
    from zarr.codecs import BloscCodec

    order = _ordered(axes)
    shape = tuple(labels.shape[axes.index(letter)] for letter in order)
    chunks = tuple(min(n, _CHUNK[letter]) for letter, n in zip(order, shape, strict=True))
    old = version == "0.4"
    group = zarr.open_group(path, mode="w", zarr_format=2 if old else 3)
    array: Any = group.create_array(
        "0",
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        # Blosc, which the Java readers know too
        compressors=numcodecs.Blosc(cname="zstd") if old else BloscCodec(cname="zstd"),
        chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
        dimension_names=None if old else [letter.lower() for letter in order],
        fill_value=0,
        config={"write_empty_chunks": False},
    )
    steps = [range(0, n, chunk) for n, chunk in zip(shape[:-1], chunks[:-1], strict=True)]
    for corner in product(*steps):
        place = (*(slice(c, c + n) for c, n in zip(corner, chunks, strict=False)), slice(None))
        block = np.asarray(labels[tuple(place[order.index(letter)] for letter in axes)])
        if block.any():
            array[place] = block.transpose([axes.index(letter) for letter in order]).astype(dtype)
    told = _multiscales(path.stem.removesuffix(".ome"), order, sizes, version)
    group.attrs.update(told if old else {"ome": {"version": version, **told}})
    if provenance is not None:
        group.attrs[_KEY] = json.loads(json.dumps(provenance))


def _multiscales(name: str, order: str, sizes: Mapping[str, float], version: str) -> dict[str, Any]:
    described = []
    for letter in order:
        kind, unit = ("time", "second") if letter == "T" else ("space", "micrometer")
        axis = {"name": letter.lower(), "type": kind}
        described.append(axis | ({"unit": unit} if letter in sizes else {}))
    scale = {"type": "scale", "scale": [sizes.get(letter, 1.0) for letter in order]}
    own = {"version": version} if version == "0.4" else {}
    multiscale = {
        "name": name, "axes": described, "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }  # fmt: skip
    return {"multiscales": [own | multiscale], "image-label": dict(own)}

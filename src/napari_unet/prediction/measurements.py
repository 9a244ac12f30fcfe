"""Tables of what was found: size, shape and intensity of each object, or the area of each class."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import ndimage as ndi
from skimage.measure import regionprops_table

from napari_unet.annotation import Status
from napari_unet.images import to_canonical, written_at_once

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Table", "measure", "write_measurements"]

Table = dict[str, "NDArray[Any]"]
"""Columns of one length by name, as napari's `layer.features` takes them."""

_FIRST = ("file", "t", "z", "id")

Frame = tuple[dict[str, int], tuple[Any, ...]]


def measure(
    labels: Any,
    axes: str,
    image: Any = None,
    image_axes: str | None = None,
    *,
    task: Literal["instances", "semantic"] = "instances",
    classes: Sequence[str] = (),
    spatial_dims: int = 2,
    pixel_size_um: Mapping[str, float] | None = None,
    channel_names: Sequence[str] = (),
    status: Any = None,
    corrected: Collection[int] = frozenset(),
    file: str = "",
) -> Table:
    """Measure all objects of an image, or all classes.

    *Objects*: ``file``, ``t``, ``z``, ``id`` (the value in the labels), ``area_px`` or ``volume_px``, equivalent
    diameter, eccentricity and solidity (of planes), centroid, bounding box (its end is the first voxel outside),
    ``mean_``, ``min_`` and ``max_`` of each channel, ``touches_edge``, ``state`` (predicted, checked, corrected);
    ``_um`` where the pixel size is known. *Classes*: ``class``, ``name``, area or volume, ``fraction`` of what is not
    ignored, number of ``components``. One plane or volume at a time is in memory.

    Parameters
    ----------
    labels : array of integers
        NumPy, dask or zarr.
    axes : str
        Its axes, letters of ``TZYX``.
    image : array, optional
        What the intensities are measured on. None: they are left out.
    image_axes : str, optional
        Axes of the image, letters of ``TCZYXS``.
    task : {"instances", "semantic"}
    classes : sequence of str
        Names of the classes 1, 2, ...
    spatial_dims : {2, 3}
        2: objects are planar, one row in each plane; where an id goes through several planes of a stack, they are
        volumes nevertheless. 3: volumes.
    pixel_size_um : mapping, optional
        Micrometres per voxel of those of ``ZYX`` that are known.
    channel_names : sequence of str
        None or as many as channels; otherwise they are numbered from 0.
    status : array of uint8, optional
        `Status` per voxel, in the axes of the labels. Objects that are mostly ignored are left out.
    corrected : collection of int
        Objects whose shape a person changed.
    file : str
        What the column ``file`` says.

    Returns
    -------
    dict of str to ndarray
    """
    known = to_canonical(labels, axes)[:, 0]
    said = None if status is None else to_canonical(status, axes)[:, 0]
    pixels = None if image is None else to_canonical(image, image_axes or axes)
    volumes = known.shape[1] > 1 and (spatial_dims == 3 or (task == "instances" and _spans_planes(known)))
    size = dict(pixel_size_um or {})
    tables = []
    for place, where in _frames(known.shape, volumes):
        frame = np.asarray(known[where])
        state = None if said is None else np.asarray(said[where])
        if task == "semantic":
            table = _classes(frame, classes, size, state)
        else:
            values = None if pixels is None else np.asarray(pixels[where[0], :, *where[1:]])
            table = _objects(frame, values, size, channel_names, state, corrected)
        tables.append(_with_place(table, file, place))
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]} if tables else {}


def write_measurements(path: str | Path, tables: Iterable[Table]) -> Path:
    """Write tables as one CSV, at once; a column that one of them lacks is empty there.

    Raises
    ------
    ImageError
        If it cannot be written there.
    """
    path, tables = Path(path), [table for table in tables if table]
    every = dict.fromkeys(name for table in tables for name in table)
    names = [*(name for name in _FIRST if name in every), *(name for name in every if name not in _FIRST)]
    with (
        written_at_once(path, "The measurements") as temporary,
        # the name of a file can hold bytes that are no text
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(names)
        for table in tables:
            columns = [table.get(name) for name in names]
            for row in range(len(next(iter(table.values())))):
                writer.writerow(["" if column is None else _cell(column[row]) for column in columns])
    return path


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return str(value)


def _frames(shape: tuple[int, ...], volumes: bool) -> Iterator[Frame]:
    for t in range(shape[0]):
        if volumes:
            yield {"t": t}, (t,)
        else:
            yield from (({"t": t, "z": z}, (t, z)) for z in range(shape[1]))


def _spans_planes(labels: Any) -> bool:
    for t in range(labels.shape[0]):
        seen: set[int] = set()
        for z in range(labels.shape[1]):
            here = set(np.unique(np.asarray(labels[t, z])).tolist()) - {0}
            if seen & here:
                return True
            seen |= here
    return False


def _with_place(table: Table, file: str, place: Mapping[str, int]) -> Table:
    count = len(next(iter(table.values())))
    head: Table = {"file": np.full(count, file)}
    head |= {letter: np.full(count, n) for letter, n in place.items()}
    return head | table


def _voxel_um(size: Mapping[str, float], letters: str) -> float:
    """Return the area or volume of a voxel; NaN where a side is unknown."""
    return float(np.prod([size.get(letter, np.nan) for letter in letters]))


def _objects(
    frame: NDArray[Any],
    values: NDArray[Any] | None,
    size: Mapping[str, float],
    channel_names: Sequence[str],
    state: NDArray[Any] | None,
    corrected: Collection[int],
) -> Table:
    ids, compact = np.unique(frame, return_inverse=True)  # regionprops makes room for every id up to the highest
    compact = compact.reshape(frame.shape) + int(ids.size > 0 and ids[0] != 0)
    ids = ids[ids != 0]
    letters = "ZYX"[-frame.ndim :]
    shape = ("eccentricity", "solidity") if frame.ndim == 2 else ()
    wanted = ["area", "bbox", "centroid", "equivalent_diameter_area", *shape]
    intensities = [] if values is None else [f"intensity_{kind}" for kind in ("mean", "min", "max")]
    found = regionprops_table(
        compact, None if values is None else np.moveaxis(values, 0, -1), properties=(*wanted, *intensities)
    )
    kind = "area" if frame.ndim == 2 else "volume"
    table: Table = {"id": ids, f"{kind}_px": np.asarray(found["area"], np.int64)}
    table["equivalent_diameter_px"] = found["equivalent_diameter_area"]
    table |= {name: found[name] for name in shape}
    table |= {f"centroid_{x.lower()}": found[f"centroid-{n}"] for n, x in enumerate(letters)}
    table |= {f"first_{x.lower()}": found[f"bbox-{n}"] for n, x in enumerate(letters)}
    table |= {f"end_{x.lower()}": found[f"bbox-{n + frame.ndim}"] for n, x in enumerate(letters)}
    voxel = _voxel_um(size, letters)
    if not np.isnan(voxel):
        table[f"{kind}_um{frame.ndim}"] = found["area"] * voxel
        table["equivalent_diameter_um"] = found["equivalent_diameter_area"] * voxel ** (1 / frame.ndim)
        table |= {f"centroid_{x.lower()}_um": found[f"centroid-{n}"] * size[x] for n, x in enumerate(letters)}
    if values is not None:
        names = channel_names if len(channel_names) == len(values) else [f"channel{n}" for n in range(len(values))]
        table |= {
            f"{kind}_{name}": found[f"intensity_{kind}-{n}"]
            for n, name in enumerate(names)
            for kind in ("mean", "min", "max")
        }
    edges = [
        (found[f"bbox-{n}"] == 0) | (found[f"bbox-{n + frame.ndim}"] == length) for n, length in enumerate(frame.shape)
    ]
    table["touches_edge"] = np.logical_or.reduce(edges)
    table["state"], keep = _states(ids, compact, found["area"], state, corrected)
    return {name: column[keep] for name, column in table.items()}


def _states(
    ids: NDArray[Any],
    compact: NDArray[Any],
    sizes: NDArray[Any],
    state: NDArray[Any] | None,
    corrected: Collection[int],
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return what is known of each object, and which are not ignored."""
    words = np.full(len(ids), "predicted", "<U9")
    keep = np.ones(len(ids), np.bool_)
    if state is not None:
        of = {one: np.bincount(compact[state == one], minlength=len(ids) + 1)[1:] for one in Status}
        words[2 * of[Status.CHECKED] > sizes] = "checked"
        keep = 2 * of[Status.IGNORE] <= sizes
    words[np.isin(ids, list(corrected))] = "corrected"
    return words, keep


def _classes(frame: NDArray[Any], names: Sequence[str], size: Mapping[str, float], state: NDArray[Any] | None) -> Table:
    counted = np.ones(frame.shape, np.bool_) if state is None else state != Status.IGNORE
    numbers = np.arange(1, max(len(names), int(frame.max(initial=0))) + 1)
    areas = np.bincount(frame[counted], minlength=len(numbers) + 1)[1:]
    kind = "area" if frame.ndim == 2 else "volume"
    table: Table = {
        "class": numbers,
        "name": np.array([names[n - 1] if n <= len(names) else f"class {n}" for n in numbers.tolist()], object),
        f"{kind}_px": areas,
        "fraction": areas / max(1, int(counted.sum())),
        "components": np.array([ndi.label((frame == n) & counted)[1] for n in numbers], np.int64),
    }
    voxel = _voxel_um(size, "ZYX"[-frame.ndim :])
    if not np.isnan(voxel):
        table[f"{kind}_um{frame.ndim}"] = areas * voxel
    return table

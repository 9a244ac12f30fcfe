"""OME-Zarr 0.1 to 0.5 and plain zarr arrays, as far as one image needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import ImageError
from napari_unet.images.lazy import lazy_array
from napari_unet.images.opened import Level, OpenedImage, micrometres, seconds

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_zarr", "open_zarr"]


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def open_zarr(path: Path, name: str, level: int = 0) -> OpenedImage:
    """Open an OME-Zarr image or a zarr array. Raises anything that a damaged one makes zarr raise."""
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return _plain(node, path, name)
    attributes: dict[str, Any] = dict(node.attrs)
    told: dict[str, Any] = attributes.get("ome", attributes)
    if "plate" in told or "well" in told:
        inside = "*/*/*" if "plate" in told else "*"
        example = "A/1/0" if "plate" in told else "0"
        first = next(iter(sorted(path.glob(inside.replace("*", "[!.]*")))), path / example)
        raise ImageError(
            f"{path.name} is a plate of many images. Give the images in it, for example {first}, or the pattern "
            f"'{path}/{inside}'."
        )
    if "multiscales" not in told:
        if "bioformats2raw.layout" in told and "0" in node:
            return open_zarr(path / "0", name, level)
        arrays = sorted(key for key, _ in node.arrays())
        inside = f" It holds {', '.join(arrays)}: give one of them." if arrays else ""
        raise ImageError(f"{path.name} is zarr but not an OME-Zarr image: it has no 'multiscales'.{inside}")
    return _multiscale(node, told, path, name, level)


def _plain(array: Any, path: Path, name: str) -> OpenedImage:
    words = array.metadata.dimension_names if array.metadata.zarr_format == 3 else None
    words = words or array.attrs.get("_ARRAY_DIMENSIONS")
    axes = "".join(str(word)[:1].upper() for word in words) if words and all(words) else ""
    known = len(axes) == len(set(axes)) == array.ndim and set("YX") <= set(axes) <= set("TCZYXS")
    why = f"{axes}: from the names of the array's dimensions." if known else "The array does not tell its axes."
    data = lazy_array(array, array.chunks, path.name)
    return OpenedImage(
        data, axes if known else None, why, path, name, levels=(Level(array.shape, {}, {}),), files=(path,)
    )


def _multiscale(group: Any, told: dict[str, Any], path: Path, name: str, level: int) -> OpenedImage:
    scales = told["multiscales"][0]
    arrays = [group[dataset["path"]] for dataset in scales["datasets"]]
    if not 0 <= level < len(arrays):
        raise ImageError(
            f"{path.name} has {len(arrays)} level{'s' * (len(arrays) != 1)}, numbered from 0; there is no {level}."
        )
    letters, units = _axes(scales, arrays[0].ndim, path)
    common = _scale(scales, len(letters))
    sizes = [
        dict(zip(letters, (a * b for a, b in zip(_scale(dataset, len(letters)), common, strict=True)), strict=True))
        for dataset in scales["datasets"]
    ]
    levels = tuple(
        Level(
            tuple(array.shape),
            {x: n / m for x, n, m in zip(letters, arrays[0].shape, array.shape, strict=True) if x in "ZYX" and m},
            {x: um for x in "ZYX" if (um := micrometres(size.get(x), units.get(x))) is not None},
        )
        for array, size in zip(arrays, sizes, strict=True)
    )
    channels = [str(channel.get("label", "")) for channel in told.get("omero", {}).get("channels", [])]
    notes = []
    if len(told["multiscales"]) > 1:
        notes.append(f"{path.name} holds {len(told['multiscales'])} images; the first is read.")
    return OpenedImage(
        lazy_array(arrays[level], arrays[level].chunks, path.name),
        letters,
        f"{letters}: from the OME-Zarr metadata.",
        path,
        name,
        tuple(channels) if all(channels) else (),
        levels,
        level,
        (path,),
        tuple(notes),
        seconds(sizes[0].get("T"), units.get("T")),
    )


def _axes(scales: dict[str, Any], ndim: int, path: Path) -> tuple[str, dict[str, str]]:
    """Return the letters of the axes and the units of those that have one; versions 0.1 and 0.2 have always TCZYX."""
    told = [axis if isinstance(axis, dict) else {"name": axis} for axis in scales.get("axes", "TCZYX"[-ndim:])]
    letters = "".join(str(axis.get("name", "?"))[:1].upper() for axis in told)
    if len(letters) != ndim or not set(letters) <= set("TCZYX") or len(set(letters)) != ndim:
        names = ", ".join(str(axis.get("name")) for axis in told)
        raise ImageError(
            f"{path.name} has the axes {names} for {ndim} dimensions. Only t, c, z, y and x can be used, each once."
        )
    return letters, {letter: axis["unit"] for letter, axis in zip(letters, told, strict=True) if axis.get("unit")}


def _scale(transformed: dict[str, Any], ndim: int) -> list[float]:
    for step in transformed.get("coordinateTransformations", []):
        if step.get("type") == "scale" and len(step.get("scale", ())) == ndim:
            return [float(value) for value in step["scale"]]
    return [1.0] * ndim

"""Where the results of many images go, and whether they are there already."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.errors import ConfigError, ImageError
from napari_unet.images import ensure_writable, full_stem, image_stem, read_provenance

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = [
    "Format",
    "check_target",
    "digest",
    "label_paths",
    "own_labels",
    "rois_path",
    "rois_paths",
    "same_recipe",
    "source_beside",
]

Format = Literal["ome-tiff", "ome-zarr"]

_OWN_ENDING = "-labels"
_BESIDE = {"ome-tiff": f"{_OWN_ENDING}.ome.tif", "ome-zarr": f"{_OWN_ENDING}.ome.zarr"}
_IN_FOLDER = {"ome-tiff": ".tif", "ome-zarr": ".ome.zarr"}


def label_paths(files: Sequence[Path], folder: Path | None, kind: Format = "ome-tiff") -> list[Path]:
    """Return the file for the labels of each image, no two the same and none an image.

    Beside its image it is called ``name-labels.ome.tif``, in a folder ``name.tif`` (``.ome.zarr`` for the other
    format). Where two images have one name, it gets their suffixes or as many of the folders that they lie in as tell
    them apart: ``name-png``, ``day2-name``. An image of a plate gets the name of the plate, the well and its own:
    ``plate-A-1-0``.

    Parameters
    ----------
    files : sequence of Path
    folder : Path or None
        None: beside each image.
    kind : {"ome-tiff", "ome-zarr"}

    Raises
    ------
    ConfigError
        If labels would overwrite an image.
    """
    suffix = _BESIDE[kind] if folder is None else _IN_FOLDER[kind]
    folders = [folder or path.parent for path in files]
    targets = [into / f"{name}{suffix}" for into, name in zip(folders, _names(files, folders), strict=True)]
    images = {os.path.realpath(path) for path in files}
    lost = [target for target in targets if os.path.realpath(target) in images]
    if lost:
        raise ConfigError(f"The labels would overwrite the image {lost[0]}. Choose another folder with --output.")
    return targets


def rois_path(target: Path) -> Path:
    """Return the file for the ROIs that belongs to a label file."""
    return target.with_name(f"{image_stem(target).removesuffix(_OWN_ENDING)}-rois.zip")


def rois_paths(labels: Sequence[Path], folder: Path | None) -> list[Path]:
    """Return the file for the ROIs of each label file, beside it or in a folder, no two the same."""
    folders = [folder or path.parent for path in labels]
    full = list(zip(folders, _names(labels, folders), strict=True))
    short = [(into, name.removesuffix(_OWN_ENDING)) for into, name in full]
    chosen = [one if short.count(one) == 1 else other for one, other in zip(short, full, strict=True)]
    return [into / f"{name}-rois.zip" for into, name in chosen]


def check_target(target: Path, image: Path, made: Mapping[str, Any] | None, *, overwrite: bool, shared: bool) -> None:
    """Say before the work if its result cannot be written, or must not be.

    Parameters
    ----------
    target : Path
    image : Path
        What it is made of.
    made : mapping or None
        What the file that is there says of its making.
    overwrite : bool
        Whatever it says.
    shared : bool
        It lies in the folder for the results of all images.

    Raises
    ------
    ImageError
        If it cannot be written, or something else is there.
    ConfigError
        If it cannot be written, and so it would be with any other image.
    """
    if target.exists() and not (overwrite or _is_own(made)):
        raise ImageError(
            f"{target} is there already, and was not made by segmenting: it may be work of yours. Move it away, choose "
            "another folder (--output), or write over it (--overwrite)."
        )
    other = None if overwrite else _source(target, made)
    if other is not None and other.exists() and not other.samefile(image):
        raise ImageError(
            f"{target} holds the labels of another image of this name, {other}. Choose another folder (--output), "
            "segment both in one run, or write over it (--overwrite)."
        )
    try:
        ensure_writable(target)
    except ImageError as error:
        if shared and not target.is_dir():
            raise ConfigError(str(error)) from error
        raise


def source_beside(target: Path, image: Path) -> str:
    """Return how to get from labels to their image, which still holds where both are moved together."""
    try:
        return Path(os.path.relpath(os.path.realpath(image), os.path.realpath(target.parent))).as_posix()
    except ValueError:  # on another drive
        return image.resolve().as_posix()


def _source(target: Path, made: Mapping[str, Any] | None) -> Path | None:
    """Return the image that labels say they were made of."""
    told = (made or {}).get("source")
    return Path(os.path.realpath(target.parent), told) if isinstance(told, str) else None


def _is_own(provenance: Mapping[str, Any] | None) -> bool:
    """Tell whether labels were made by segmenting a file."""
    return provenance is not None and "recipe" in provenance


def own_labels(files: Sequence[Path], folder: Path | None) -> Collection[Path]:
    """Return those among `files` that are labels of earlier runs: beside their images, or in the folder for labels."""
    into = None if folder is None else os.path.realpath(folder)
    maybe = [
        path
        for path in files
        if image_stem(path).endswith(_OWN_ENDING) or (into and os.path.realpath(path.parent) == into)
    ]
    return {path for path in maybe if _is_own(read_provenance(path))}


def _names(files: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    twice, often = Counter(map(_entry, files)).most_common(1)[0] if files else ("", 0)
    if often > 1:
        raise ConfigError(f"{twice} is given twice. Give each image once.")
    groups: dict[tuple[Path, str], list[int]] = {}
    for n, (path, folder) in enumerate(zip(files, folders, strict=True)):
        groups.setdefault((folder, _plain(path, folder).casefold()), []).append(n)
    names, used = [""] * len(files), set()
    # those that keep their own name come first
    for (folder, _), members in sorted(groups.items(), key=lambda group: len(group[1])):
        own = [files[n] for n in members]
        plain = [_plain(own[0], folder)] if len(own) == 1 else _told_apart(own)
        for n, name in zip(members, plain, strict=True):
            free = (one for one in chain([name], (f"{name}-{number}" for number in count(2))))
            names[n] = next(one for one in free if (folder, one.casefold()) not in used)
            used.add((folder, names[n].casefold()))
    return names


def _plain(path: Path, folder: Path) -> str:
    return image_stem(path) if folder == path.parent else full_stem(path)


def _entry(path: Path) -> Path:
    """Return where a file lies; a link to another file lies in a place of its own."""
    return path.__class__(os.path.realpath(path.parent)) / path.name


def _told_apart(files: Sequence[Path]) -> list[str]:
    """Return names for images of one name: with the suffix, or with so many folders as make them different."""
    parts = [(*map(image_stem, _entry(path).parts[1:-1]), image_stem(path)) for path in files]
    suffixes = [f"-{path.suffix[1:]}" if path.suffix else "" for path in files]
    for depth in range(1, max(map(len, parts)) + 1):
        plain = ["-".join(words[-depth:]) for words in parts]
        for found in (plain, [name + suffix for name, suffix in zip(plain, suffixes, strict=True)]):
            if len({name.casefold() for name in found}) == len(found):
                return found
    return [words[-1] for words in parts]


def digest(*arrays: Any) -> str:
    """Return a hash of arrays, read plane by plane."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape} {array.dtype}".encode())
        for where in np.ndindex(*array.shape[:-2]):
            found.update(np.ascontiguousarray(array[where]).data)
    return found.hexdigest()


def same_recipe(provenance: Mapping[str, Any] | None, recipe: Mapping[str, Any]) -> bool:
    """Tell whether labels were made by this recipe."""
    return provenance is not None and provenance.get("recipe") == json.loads(json.dumps(recipe))

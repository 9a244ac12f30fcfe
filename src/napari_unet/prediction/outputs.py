"""Where the results of many images go, and whether they are there already."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_unet.errors import ConfigError
from napari_unet.images import image_stem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Format", "digest", "label_paths", "rois_path", "same_recipe"]

Format = Literal["ome-tiff", "ome-zarr"]

_BESIDE = {"ome-tiff": "-labels.ome.tif", "ome-zarr": "-labels.ome.zarr"}
_IN_FOLDER = {"ome-tiff": ".tif", "ome-zarr": ".ome.zarr"}


def label_paths(files: Sequence[Path], folder: Path | None, kind: Format = "ome-tiff") -> list[Path]:
    """Return the file for the labels of each image, no two the same and none an image.

    Beside its image it is called ``name-labels.ome.tif``, in a folder ``name.tif`` (``.ome.zarr`` for the other
    format). Where two images have one name, it gets their suffixes or as many of the folders that they lie in as tell
    them apart: ``name-png``, ``day2-name``.

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
    images = {path.resolve() for path in files}
    lost = [target for target in targets if target.resolve() in images]
    if lost:
        raise ConfigError(f"The labels would overwrite the image {lost[0]}. Choose another folder with --output.")
    return targets


def rois_path(target: Path) -> Path:
    """Return the file for the ROIs that belongs to a label file."""
    return target.with_name(f"{image_stem(target).removesuffix('-labels')}-rois.zip")


def _names(files: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    if len({path.resolve() for path in files}) < len(files):
        twice = Counter(path.resolve() for path in files).most_common(1)[0][0]
        raise ConfigError(f"{twice} is given twice. Give each image once.")
    groups: dict[tuple[Path, str], list[int]] = {}
    for n, (path, folder) in enumerate(zip(files, folders, strict=True)):
        groups.setdefault((folder, image_stem(path).casefold()), []).append(n)
    names, used = [""] * len(files), set()
    # those that keep their own name come first
    for (folder, _), members in sorted(groups.items(), key=lambda group: len(group[1])):
        for n, name in zip(members, _told_apart([files[n] for n in members]), strict=True):
            free = (one for one in chain([name], (f"{name}-{number}" for number in count(2))))
            names[n] = next(one for one in free if (folder, one.casefold()) not in used)
            used.add((folder, names[n].casefold()))
    return names


def _told_apart(files: Sequence[Path]) -> list[str]:
    """Return names for images of one name: with the suffix, or with so many folders as make them different."""
    parts = [(*map(image_stem, path.resolve().parts[1:-1]), image_stem(path)) for path in files]
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

"""Images and labels that belong together by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["pairs", "read_labels"]


def pairs(images: Path, labels: Path | None = None) -> list[tuple[Path, Path]]:
    """Return each image with the labels of the same name, where ``_masks`` or the like may follow the name.

    Parameters
    ----------
    images : Path
        A folder.
    labels : Path, optional
        A folder. None: the labels lie beside their images, and are known by the ending of their names.

    Raises
    ------
    ConfigError
        If an image has none, or the labels of an image cannot be told.
    """
    from napari_unet.images import image_files

    for folder in (images, labels):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder. Give a folder of images and one of labels.")
    if labels is None:
        return _beside(images)
    return _matched(image_files([images]), image_files([labels], own_labels=True), f"in {labels}")


def read_labels(path: Path) -> Any:
    """Return the pixels of a label image."""
    from napari_unet.images import read_image

    return read_image(path).data


def _beside(folder: Path) -> list[tuple[Path, Path]]:
    from napari_unet.images import LABEL_ENDINGS, image_files, image_stem, is_named_as_labels

    files = image_files([folder])  # predictions that lie beside their images are none of these: they are no truth
    marked = [path for path in files if is_named_as_labels(image_stem(path))]
    plain = [path for path in files if path not in marked]
    if not marked:
        marked = [path for path in image_files([folder], own_labels=True) if path not in files]
    if not marked or not plain:
        endings = ", ".join(f"name{ending}" for ending in LABEL_ENDINGS)
        what = "labels" if plain else "images"
        raise ConfigError(
            f"There are no {what} in {folder}. Labels beside their images are told by their names: {endings}. Rename "
            "them, or give a folder of images and one of labels."
        )
    return _matched(plain, marked, f"beside them in {folder}")


def _matched(images: list[Path], labels: Iterable[Path], where: str) -> list[tuple[Path, Path]]:
    by_name: dict[str, list[Path]] = {}
    for path in labels:
        by_name.setdefault(_name(path), []).append(path)
    missing = [path.name for path in images if _name(path) not in by_name]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(images)} images have no labels of the same name {where} (first: {missing[0]}). "
            "Rename the labels, or move those images away."
        )
    several = [path for path in images if len(by_name[_name(path)]) > 1]
    if several:
        found = " and ".join(path.name for path in by_name[_name(several[0])])
        raise ConfigError(f"{several[0].name} has several label images: {found}. Move all but one away.")
    return [(path, by_name[_name(path)][0]) for path in images]


def _name(path: Path) -> str:
    """Return the name that an image and its labels share."""
    from napari_unet.images import image_stem, shared_stem

    return shared_stem(image_stem(path))

"""Folders of images and of labels with the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Return each image with the labels of the same name."""
    from napari_unet.images import image_files, image_stem

    for folder in (images, labels):
        if not folder.is_dir():
            raise ConfigError(f"{folder} is not a folder. Give a folder of images and one of labels.")
    by_stem = {image_stem(path).removesuffix("-labels"): path for path in image_files([labels], own_labels=True)}
    files = image_files([images])
    missing = [path.name for path in files if image_stem(path) not in by_stem]
    if missing:
        raise ConfigError(
            f"{len(missing)} of {len(files)} images have no labels of the same name in {labels} (first: {missing[0]}). "
            "Rename the labels, or move those images away."
        )
    return [(path, by_stem[image_stem(path)]) for path in files]


def read_labels(path: Path) -> Any:
    """Return the pixels of a label image."""
    from napari_unet.images import read_image

    return read_image(path).data

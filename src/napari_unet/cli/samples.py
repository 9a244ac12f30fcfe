"""What a training is given: images with their labels, groups, and the names of classes and channels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from napari_unet.cli.pairs import pairs, read_labels
from napari_unet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.annotation import Annotated
    from napari_unet.models import ModelSpec

__all__ = ["check_classes", "class_names", "read_samples"]

_MOST_CLASSES = 255


def read_samples(
    images: Path,
    labels: Path | None,
    *,
    axes: str | None,
    groups: Path | None,
    column: str,
    object_size: float | None = None,
) -> list[Annotated]:
    """Read a folder of images and one of labels; everything in them counts as checked."""
    from napari_unet.annotation import Annotated
    from napari_unet.errors import ImageError
    from napari_unet.images import read_image

    if labels is not None and labels.resolve() == images.resolve():
        labels = None
    group_of = _read_groups(groups, column) if groups else {}
    samples = []
    for image_path, label_path in pairs(images, labels):
        image = read_image(image_path)
        known = axes or image.axes
        if known is None:
            raise ImageError(
                f"{image_path.name} does not tell its axes (shape {image.data.shape}). Give them with --axes."
            )
        if groups and image_path.stem not in group_of:
            raise ConfigError(f"{groups.name} has no row for {image_path.name}. Add it, or leave --groups out.")
        samples.append(
            Annotated(
                image.data,
                read_labels(label_path),
                axes=known,
                group=group_of.get(image_path.stem),
                name=image_path.name,
                object_diameter_px=object_size,
            )
        )
    return samples


def class_names(samples: Sequence[Annotated], task: str, named: str | None) -> list[str]:
    """Return the names of the classes or of the object: those that were given, else numbers."""
    if named is not None:
        names = [name.strip() for name in named.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise ConfigError(f"{named!r} names a class twice, or one has no name. Give each a name of its own.")
        return names
    return ["object"] if task == "instances" else [f"class {n}" for n in range(1, _highest(samples)[0] + 1)]


def check_classes(samples: Sequence[Annotated], spec: ModelSpec, advice: str) -> None:
    """Find out before a training whether its labels hold classes that the model does not have.

    Raises
    ------
    ConfigError
        If so, with the advice.
    """
    if spec.task != "semantic":
        return
    highest, where = _highest(samples)
    if highest > len(spec.classes):
        known = ", ".join(f"{n} {one.name}" for n, one in enumerate(spec.classes, start=1))
        raise ConfigError(f"{where} holds class {highest}, and the classes are {known}. {advice}")


def _highest(samples: Sequence[Annotated]) -> tuple[int, str]:
    """Return the highest class in labels of classes, and the image that it is in."""
    highest, where = max(((int(one.labels.max(initial=0)), one.name) for one in samples), key=lambda found: found[0])
    if not 1 <= highest <= _MOST_CLASSES:
        raise ConfigError(
            f"The highest number in the labels is {highest}, but classes are numbered from 1 to {_MOST_CLASSES} at "
            "most. Labels that number objects are for models of objects (train: --task instances)."
        )
    return highest, where


def _read_groups(path: Path, column: str) -> dict[str, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel puts a mark in front
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read as a CSV ({error}). Check the file.") from error
    if not rows or not {"file", column} <= set(rows[0]):
        raise ConfigError(f"{path.name} needs the columns 'file' and {column!r}. Name another one with --group-column.")
    return {Path(row["file"]).stem: row[column] for row in rows if row["file"] and row[column]}

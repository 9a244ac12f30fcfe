"""What is read of one image of a batch: its level, axes and channels, and what tells it from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import ImageError
from napari_unet.images import check_axes, nearest_level, open_image
from napari_unet.prediction.config import PredictConfig

if TYPE_CHECKING:
    from pathlib import Path

    from napari_unet.images import OpenedImage
    from napari_unet.models import ModelSpec

__all__ = ["at_level", "axes_of", "for_image", "identity_of"]


def at_level(path: Path, level: int | None, object_px: float | None, model_px: float | None) -> OpenedImage:
    """Open an image at a level, or at the one that suits the model."""
    image = open_image(path, level)
    nearest = nearest_level(image.levels, object_px, model_px) if level is None else level
    return image if nearest == image.level else open_image(path, nearest)


def axes_of(image: OpenedImage, told: str | None) -> str:
    """Return the axes of an image: those that the user or the file tells."""
    axes = told or image.axes or ("YX" if len(image.shape) == 2 else None)
    if axes is None:
        guess = image.guess
        raise ImageError(
            f"The file does not tell its axes (shape {image.shape}). Give them with --axes, for example --axes "
            f"{guess.axes} ({guess.why})"
        )
    return check_axes(axes, len(image.shape))


def for_image(
    config: PredictConfig, image: OpenedImage, axes: str, channels: tuple[str, ...] | None, spec: ModelSpec
) -> PredictConfig:
    """Return the settings with channel names made numbers, and the object size in pixels of the level."""
    changes: dict[str, Any] = {}
    count = next((n for letter, n in zip(axes, image.shape, strict=True) if letter in "CS"), 1)
    fits = count <= spec.in_channels or ("S" in axes and spec.in_channels in (1, 3))
    if channels is None and config.channels is None and not fits:
        some = ",".join([*image.channel_names, *map(str, range(len(image.channel_names), count))][: spec.in_channels])
        raise ImageError(
            f"The image has {count} channels but the model {spec.name!r} takes {spec.in_channels} "
            f"({', '.join(spec.channels)}). Choose the channels to use with --channels, for example "
            f"--channels {some!r}."
        )
    if channels is not None:
        changes["channels"] = tuple(_channel(one, image, axes) for one in channels)
    scale = image.levels[image.level].scale.get("X", 1.0)
    if config.object_diameter_px is not None and scale != 1:
        changes["object_diameter_px"] = config.object_diameter_px / scale
    return PredictConfig.model_validate({**config.model_dump(), **changes}) if changes else config


def _channel(word: str, image: OpenedImage, axes: str) -> int:
    if word.isdigit():
        return int(word)
    names = [name.casefold() for name in image.channel_names] or ["red", "green", "blue"] * ("S" in axes)
    if names.count(word.casefold()) != 1:
        known = ", ".join(image.channel_names or names) or "none: give a number, from 0"
        raise ImageError(f"{image.path.name} has no channel {word!r} of its own. It tells these names: {known}.")
    return names.index(word.casefold())


def identity_of(image: OpenedImage) -> dict[str, Any]:
    """Return what changes when another image is put under the name; that of a zarr folder is in its metadata."""
    metadata = [one for name in ("zarr.json", ".zattrs", ".zarray") if (one := image.path / name).is_file()]
    stat = (metadata[0] if metadata else image.path).stat()
    shape = [int(n) for n in image.shape]
    return {"shape": shape, "dtype": str(image.data.dtype), "bytes": stat.st_size, "modified": stat.st_mtime_ns}

"""Labels that other programs made, told by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.images import IMAGE_SUFFIXES, image_stem, label_stems, shared_stem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ROI_SUFFIXES", "find_label_pairs"]

ROI_SUFFIXES = (".roi", ".zip")

_ROI_ENDINGS = ("_rois", "-rois", "_roiset")
_FOLDERS = ("labels", "masks", "rois")


def find_label_pairs(images: Iterable[Path], folder: Path | None = None) -> list[tuple[Path, Path]]:
    """Return images with the labels that other programs made for them; images without any are left out.

    Labels are named as the image with ``_masks``, ``_cp_masks``, ``_mask``, ``_labels`` or ``_label`` after it, ROIs of
    ImageJ (``.roi``, ``.zip``) with ``_rois`` or ``_RoiSet``. They are beside it, or in a folder ``labels``, ``masks``
    or ``rois`` beside it or one level up; in such a folder they may have its very name.

    Parameters
    ----------
    images : iterable of Path
        Such as those of a `Project`.
    folder : Path, optional
        Where the labels are. None: where they usually are.
    """
    known: dict[Path, dict[str, list[Path]]] = {}
    pairs = []
    for image in images:
        homes = [image.parent, *_label_folders(image)] if folder is None else [folder]
        for home in homes:
            if home not in known:
                known[home] = _by_stem(home)
            labels = _labels_in(known[home], image, beside=home == image.parent)
            if labels is not None:
                pairs.append((image, labels))
                break
    return pairs


def _label_folders(image: Path) -> list[Path]:
    found = []
    for home in (image.parent, image.parent.parent):
        if home.is_dir():
            found += [path for path in sorted(home.iterdir()) if path.name.casefold() in _FOLDERS and path.is_dir()]
    return found


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() in (*IMAGE_SUFFIXES, *ROI_SUFFIXES, ".zarr") and not path.name.startswith("."):
            found.setdefault(image_stem(path).casefold(), []).append(path)
    return found


def _labels_in(files: dict[str, list[Path]], image: Path, *, beside: bool) -> Path | None:
    stem = image_stem(image).casefold()
    rois = [f"{stem}{ending}" for ending in _ROI_ENDINGS]
    marked = [path for name in (*label_stems(stem), *rois) for path in files.get(name, [])]
    # an image is not its own labels; ROIs of its name are
    named = [path for name in dict.fromkeys((stem, shared_stem(stem))) for path in files.get(name, [])]
    same = [path for path in named if not beside or path.suffix.lower() in ROI_SUFFIXES]
    return next(iter(marked + same), None)

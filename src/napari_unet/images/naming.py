"""Names of files that belong together: those of an image and of labels that were made of it."""

from __future__ import annotations

__all__ = ["LABEL_ENDINGS", "is_named_as_labels", "label_stems", "shared_stem"]

LABEL_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label", "-labels")
"""What other programs, and this one, put behind the name of an image to name its labels; in lower case."""

_IMAGE_ENDING = "_img"
"""What cellpose's data sets put behind the name of an image, and not of its labels."""


def label_stems(stem: str) -> list[str]:
    """Return the names that labels may have beside an image of that name, in lower case and without suffix."""
    names = dict.fromkeys((stem.casefold(), stem.casefold().removesuffix(_IMAGE_ENDING)))
    return [f"{name}{ending}" for name in names if name for ending in LABEL_ENDINGS]


def is_named_as_labels(stem: str) -> bool:
    """Return whether a name ends as those of labels do."""
    return stem.casefold().endswith(LABEL_ENDINGS)


def shared_stem(stem: str) -> str:
    """Return the name that an image and its labels share: ``a`` of ``a_img``, ``a_masks`` and ``a_img_masks``."""
    for endings in (LABEL_ENDINGS, (_IMAGE_ENDING,)):
        ending = next((one for one in endings if stem.casefold().endswith(one) and len(stem) > len(one)), "")
        stem = stem[: len(stem) - len(ending)]
    return stem

"""Sentences that more than one room of the panel says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.gui.document import kind_of

if TYPE_CHECKING:
    from napari_unet.models import ModelSpec

__all__ = ["OPEN_AN_IMAGE", "ask_for_truth", "plural_kind"]

OPEN_AN_IMAGE = "Open an image: File > Open, or File > Open Sample > U-Net."


def ask_for_truth(spec: ModelSpec | None) -> str:
    """Return what to do before a model can learn."""
    if spec is not None and spec.task == "semantic":
        return "Paint some strokes of each class and of the background, then press Train."
    return "Draw about ten objects, paint some background beside them, then press Train."


def plural_kind(spec: ModelSpec) -> str:
    """Return what a model finds, in the plural where it is one kind of object."""
    kind = kind_of(spec)
    if spec.task == "semantic" or (kind.endswith("s") and kind != "nucleus"):
        return kind
    return {"nucleus": "nuclei"}.get(kind, f"{kind}s")

"""Sentences that more than one room of the panel says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_unet.annotation import Status
from napari_unet.errors import AnnotationError
from napari_unet.gui.document import kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.annotation import Annotated
    from napari_unet.models import ModelSpec

__all__ = ["OPEN_AN_IMAGE", "ask_for_truth", "doubt", "how_many", "plural_kind", "require_truth"]

OPEN_AN_IMAGE = "Open an image: Open image..., or drop it on the window. To try: File > Open Sample > U-Net."

_MOST_COVERED = 0.6
"""Share of an image that objects cover where it is likelier that the model took the background for them."""


def ask_for_truth(spec: ModelSpec | None) -> str:
    """Return what to do before a model can learn."""
    if spec is not None and spec.task == "semantic":
        return "Paint some strokes of each class and of the background, then press Train."
    return "Draw about ten objects, paint some background beside them, then press Train."


def how_many(count: int, *, classes: bool = False) -> str:
    """Return ``1 object`` or ``5 objects``; of classes, ``1 class`` or ``5 classes``."""
    return f"{count} class{'es' * (count != 1)}" if classes else f"{count} object{'s' * (count != 1)}"


def plural_kind(spec: ModelSpec) -> str:
    """Return what a model finds, in the plural where it is one kind of object."""
    if spec.task == "semantic":
        return ", ".join(one.name for one in spec.classes)
    kind = kind_of(spec)
    if kind.endswith("s") and kind != "nucleus":
        return kind
    return {"nucleus": "nuclei"}.get(kind, f"{kind}s")


def doubt(labels: NDArray[np.integer], spec: ModelSpec) -> str:
    """Return what to do where a model seems to have taken the background for objects; empty where it does not."""
    if labels.size == 0 or np.count_nonzero(labels) <= _MOST_COVERED * labels.size:
        return ""
    return (
        f"They cover most of the image: {spec.name!r} may not know such images. Press Try models, or Undo, draw about "
        "ten objects, paint some background, and press Train."
    )


def require_truth(samples: list[Annotated], spec: ModelSpec) -> None:
    """Raise `AnnotationError` with what the user should add before training makes sense."""
    if not samples:
        raise AnnotationError(f"Nothing is checked yet. {ask_for_truth(spec)}")
    painted = {int(n) for one in samples for n in np.unique(one.labels[one.status == Status.CHECKED])}
    if spec.task == "semantic":
        missing = "" if len(painted) > 1 else "Paint strokes of two classes at least; background is one of them."
    elif 0 not in painted:
        missing = "No background is checked. Paint some with Background beside the objects, then press Train."
    else:
        missing = "" if len(painted) > 1 else "No object is checked. Draw or confirm about ten, then press Train."
    if missing:
        raise AnnotationError(missing)

"""What was corrected in the panel, for the labels that the command line writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.images import OpenedImage
    from napari_unet.models import ModelSpec
    from napari_unet.prediction import Checked, Corrections

__all__ = ["corrections_for"]


def corrections_for(spec: ModelSpec) -> Corrections:
    """Return how corrections of what a model finds get into predicted labels."""
    from napari_unet.correction import read_corrections
    from napari_unet.prediction import Checked, Corrections

    def of(image: OpenedImage, axes: str) -> Checked | None:
        found = read_corrections(image.data, axes, image.path, kind=spec.kind)
        return None if found is None else Checked(found.labels, found.status, found.corrected)

    return Corrections(of, _merge_objects if spec.task == "instances" else _merge_classes)


def _merge_objects(checked: Checked, predicted: NDArray[Any]) -> NDArray[Any]:
    from napari_unet.correction import refill

    whole = tuple(slice(0, n) for n in predicted.shape)
    return _without_ignored(checked, refill(checked.labels, checked.status, predicted, whole).labels_after)


def _merge_classes(checked: Checked, predicted: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    from napari_unet.annotation import Status

    return _without_ignored(checked, np.where(checked.status == Status.CHECKED, checked.labels, predicted))


def _without_ignored(checked: Checked, labels: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    from napari_unet.annotation import Status

    return np.where(checked.status == Status.IGNORE, 0, labels).astype(labels.dtype, copy=False)

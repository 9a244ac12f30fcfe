"""What was corrected, for the labels of many images that are written to files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.images import OpenedImage
    from napari_unet.models import ModelSpec
    from napari_unet.prediction import Checked, Corrections

__all__ = ["corrections_for"]


def corrections_for(spec: ModelSpec, channels: Sequence[str] = ()) -> Corrections:
    """Return how corrections of what a model finds get into predicted labels.

    Parameters
    ----------
    spec : ModelSpec
    channels : sequence of str
        Channels that the model reads, by name or number from 0: where several were corrected on their own, those of
        one of these count.
    """
    from napari_unet.correction.reading import read_corrections
    from napari_unet.prediction import Checked, Corrections

    def of(image: OpenedImage, axes: str) -> Checked | None:
        names = [name.casefold() for name in image.channel_names]
        numbers = [int(one) if one.isdigit() else names.index(one.casefold()) for one in channels
                   if one.isdigit() or one.casefold() in names]  # fmt: skip
        found = read_corrections(image.data, axes, image.path, kind=spec.kind, channels=numbers, level=image.level)
        return None if found is None else Checked(found.labels, found.status, found.corrected)

    merge_objects = partial(_merge_objects, linked_axes=spec.linked_axes)
    return Corrections(of, merge_objects if spec.task == "instances" else _merge_classes)


def _merge_objects(checked: Checked, predicted: NDArray[Any], axes: str, *, linked_axes: str) -> NDArray[Any]:
    from napari_unet.correction.edits import refill

    whole = tuple(slice(0, n) for n in predicted.shape)
    linked = [axes.index(letter) for letter in linked_axes if letter in axes]
    edit = refill(checked.labels, checked.status, predicted, whole, linked=linked)
    return _without_ignored(checked, edit.labels_after)


def _merge_classes(checked: Checked, predicted: NDArray[Any], _: str) -> NDArray[Any]:
    import numpy as np

    from napari_unet.annotation import Status

    return _without_ignored(checked, np.where(checked.status == Status.CHECKED, checked.labels, predicted))


def _without_ignored(checked: Checked, labels: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    from napari_unet.annotation import Status

    return np.where(checked.status == Status.IGNORE, 0, labels).astype(labels.dtype, copy=False)

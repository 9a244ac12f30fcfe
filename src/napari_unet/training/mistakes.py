"""Where a model is wrong about what is checked: there is most to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.network import halo
from napari_unet.prediction import StoppedError, decode
from napari_unet.training.metrics import match_objects
from napari_unet.training.validation import field_maps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.models import Model
    from napari_unet.prediction import PredictConfig
    from napari_unet.training.sampling import Field

__all__ = ["find_mistakes", "finds_most"]

_MAX_VOXELS = 2_000_000
"""So many are looked at, about two seconds on two cores, so that training starts soon."""

_ENOUGH_OBJECTS = 50
"""To tell whether a model knows objects of a kind."""


def find_mistakes(
    model: Model, fields: Sequence[Field], config: PredictConfig, *, give_up: Callable[[], bool] | None = None
) -> list[NDArray[np.bool_]]:
    """Return where a model is wrong, for each field.

    Objects: those that it does not find at IoU 0.5, whole, so that merged and split ones count too; and background
    that it takes for an object, apart from thin seams, about which nobody is certain. Classes: voxels of another
    class, thin seams apart.

    Parameters
    ----------
    model : Model
    fields : sequence of Field
    config : PredictConfig
    give_up : callable, optional
        Whether there is no time left: the fields that are left are not looked at.

    Returns
    -------
    list of ndarray of bool
        ``(Z)YX``, never outside of what is checked; empty for fields beyond the first two million voxels.
    """
    margin = halo(model.network)
    seen = 0
    found = []
    for field in fields:
        wrong = np.zeros(field.checked.shape, bool)
        found.append(wrong)
        around = _around_checked(field, margin)
        if around is None or seen >= _MAX_VOXELS:
            continue
        part = field.part(around)
        try:
            maps = field_maps(model, part, config, give_up)
        except StoppedError:
            seen = _MAX_VOXELS
            continue
        seen += wrong[around].size
        labels = decode(maps, model.spec.decoder)
        wrong[around] = _wrong(part, labels, semantic=model.spec.task == "semantic")
    return found


def finds_most(
    model: Model, fields: Sequence[Field], config: PredictConfig, *, give_up: Callable[[], bool] | None = None
) -> bool:
    """Tell whether a model knows such objects: whether it finds half of those that are checked, looking at some.

    Parameters are those of `find_mistakes`. Without checked objects, or time, it counts as one that does.
    """
    margin, seen = halo(model.network), 0
    found: list[bool] = []
    for field in fields:
        around = _around_checked(field, margin)
        if around is None:
            continue
        part = field.part(around)
        try:
            labels = decode(field_maps(model, part, config, give_up), model.spec.decoder)
        except StoppedError:
            break
        found += match_objects(part.targets.objects, labels, checked=part.checked).found.values()
        seen += part.checked.size
        if len(found) >= _ENOUGH_OBJECTS or seen >= _MAX_VOXELS:
            break
    return not found or sum(found) >= len(found) / 2


def _around_checked(field: Field, margin: Sequence[int]) -> tuple[slice, ...] | None:
    """Return the box of what is checked and as much around it as the network sees; None where nothing is."""
    boxes = ndi.find_objects(field.checked.astype(np.uint8))
    if not boxes:
        return None
    return tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(boxes[0], margin, strict=True))


def _wrong(field: Field, labels: NDArray[Any], *, semantic: bool) -> NDArray[np.bool_]:
    truth = field.targets.classes
    if semantic:
        return _without_seams(field.checked & (labels != truth))
    invented = _without_seams(field.checked & (labels > 0) & (truth == 0))
    outcome = match_objects(field.targets.objects, labels, checked=field.checked).found
    missed = [number for number, is_found in outcome.items() if not is_found]
    return invented | (field.checked & np.isin(field.targets.objects, missed))


def _without_seams(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    plane = ndi.generate_binary_structure(2, 1)
    opened: NDArray[np.bool_] = ndi.binary_opening(wrong, plane.reshape((1,) * (wrong.ndim - 2) + (3, 3)))
    return opened

"""Where a model is wrong about what is checked: there is most to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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

__all__ = ["Mistakes", "find_mistakes"]

_MAX_VOXELS = 2_000_000
"""So many are looked at, about two seconds on two cores, so that training starts soon."""


class Mistakes(NamedTuple):
    """What a model makes of what is checked.

    Attributes
    ----------
    where : list of ndarray of bool
        For each field where it is wrong, ``(Z)YX``, never outside of what is checked; empty for fields beyond the first
        two million voxels.
    is_known : bool
        Whether it knows such objects: it finds half of those that are checked. True without any, and for classes.
    """

    where: list[NDArray[np.bool_]]
    is_known: bool


def find_mistakes(
    model: Model, fields: Sequence[Field], config: PredictConfig, *, give_up: Callable[[], bool] | None = None
) -> Mistakes:
    """Find out where a model is wrong, for each field.

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
    """
    margin = halo(model.network)
    seen = 0
    where, found = [], list[bool]()
    for field in fields:
        wrong = np.zeros(field.checked.shape, bool)
        where.append(wrong)
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
        if model.spec.task == "semantic":
            wrong[around] = _without_seams(part.checked & (labels != part.targets.classes))
        else:
            outcome = match_objects(part.targets.objects, labels, checked=part.checked).found
            wrong[around] = _wrong_objects(
                part, labels, [number for number, is_found in outcome.items() if not is_found]
            )
            found += outcome.values()
    return Mistakes(where, not found or 2 * sum(found) >= len(found))


def _around_checked(field: Field, margin: Sequence[int]) -> tuple[slice, ...] | None:
    """Return the box of what is checked and as much around it as the network sees; None where nothing is."""
    boxes = ndi.find_objects(field.checked.astype(np.uint8))
    if not boxes:
        return None
    return tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(boxes[0], margin, strict=True))


def _wrong_objects(field: Field, labels: NDArray[Any], missed: Sequence[int]) -> NDArray[np.bool_]:
    invented = _without_seams(field.checked & (labels > 0) & (field.targets.classes == 0))
    return invented | (field.checked & np.isin(field.targets.objects, missed))


def _without_seams(wrong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    plane = ndi.generate_binary_structure(2, 1)
    opened: NDArray[np.bool_] = ndi.binary_opening(wrong, plane.reshape((1,) * (wrong.ndim - 2) + (3, 3)))
    return opened

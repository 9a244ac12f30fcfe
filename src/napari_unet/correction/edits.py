"""Corrections as pure functions: labels, status and what the user did give an edit; nothing is changed in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status
from napari_unet.correction.filling import Refill, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "IMPORT",
    "Box",
    "Edit",
    "complete_area",
    "confirm_object",
    "delete_object",
    "enclosed_holes",
    "make_edit",
    "mark",
    "object_box",
    "refill",
    "stroke",
]

Box = tuple[slice, ...]

IMPORT = "import"
"""What an edit is called that takes over labels of another program."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One change of labels and status inside a box: the unit of undo.

    Attributes
    ----------
    box : tuple of slice
    labels_before, labels_after : ndarray of int
        In the shape of the box.
    status_before, status_after : ndarray of uint8
        In the shape of the box.
    what : str
        For messages: "delete", "stroke", ...
    corrected : frozenset of int
        Objects whose shape the user changed by it; deleted ones too.
    """

    box: Box
    labels_before: NDArray[Any]
    labels_after: NDArray[Any]
    status_before: NDArray[np.uint8]
    status_after: NDArray[np.uint8]
    what: str
    corrected: frozenset[int] = frozenset()

    @property
    def changes_nothing(self) -> bool:
        """Whether the edit leaves everything as it is."""
        return np.array_equal(self.labels_before, self.labels_after) and np.array_equal(
            self.status_before, self.status_after
        )

    @cached_property
    def decided(self) -> tuple[int, ...]:
        """Objects that the user decided on by it: those newly checked, and those whose shape was changed.

        What another program made tells nothing of how much there is to correct.
        """
        if self.what == IMPORT:
            return ()
        newly = (self.status_after == Status.CHECKED) & (self.status_before != Status.CHECKED)
        numbers = {int(number) for number in np.unique(self.labels_after[newly])} | self.corrected
        return tuple(sorted(numbers - {0}))

    def apply(self, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Write the edit into the arrays."""
        labels[self.box] = self.labels_after
        status[self.box] = self.status_after

    def revert(self, labels: NDArray[Any], status: NDArray[np.uint8]) -> None:
        """Take the edit back out of the arrays."""
        labels[self.box] = self.labels_before
        status[self.box] = self.status_before

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        arrays = (self.labels_before, self.labels_after, self.status_before, self.status_after)
        return sum(array.nbytes for array in arrays)


def object_box(labels: NDArray[Any], number: int) -> Box | None:
    """Return the bounding box of an object, None if there is no such object."""
    found = ndi.find_objects((labels == number).view(np.uint8))
    box: Box | None = found[0] if found else None
    return box


def delete_object(labels: NDArray[Any], status: NDArray[np.uint8], number: int, box: Box | None = None) -> Edit | None:
    """Remove an object: its voxels become checked background. None if there is no such object.

    `box`, where it is known, saves the search for the object.
    """
    box = box or object_box(labels, number)
    if box is None:
        return None
    inside = labels[box] == number
    after = np.where(inside, 0, labels[box])
    return make_edit(labels, status, box, "delete", after, inside, frozenset({number}))


def confirm_object(labels: NDArray[Any], status: NDArray[np.uint8], number: int, box: Box | None = None) -> Edit | None:
    """Declare an object right in all its planes. None if there is no such object.

    `box`, where it is known, saves the search for the object.
    """
    box = box or object_box(labels, number)
    if box is None:
        return None
    return make_edit(labels, status, box, "object is right", labels[box], labels[box] == number)


def mark(labels: NDArray[Any], status: NDArray[np.uint8], box: Box, where: NDArray[np.bool_], value: Status) -> Edit:
    """Set the status of voxels and leave the labels: the brushes *ignore* and *forget*, and taking a check back.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    box : tuple of slice
    where : ndarray of bool
        In the shape of the box.
    value : Status
    """
    now, before = labels[box].copy(), status[box].copy()
    what = {Status.CHECKED: "right", Status.IGNORE: "ignore", Status.UNCHECKED: "forget"}[value]
    return Edit(box, now, now, before, np.where(where, np.uint8(value), before), what)


def complete_area(labels: NDArray[Any], status: NDArray[np.uint8], box: Box) -> Edit:
    """Declare everything in a box right, empty places too. What is ignored stays ignored."""
    return make_edit(labels, status, box, "complete", labels[box], np.ones(labels[box].shape, bool))


def stroke(
    before: NDArray[Any],
    after: NDArray[Any],
    status: NDArray[np.uint8],
    box: Box,
    erased: NDArray[np.bool_],
) -> Edit:
    """Return the edit that a brush or eraser stroke was.

    The voxels that the eraser went over are checked background, also where nothing changed. Objects that the
    stroke changed are checked in the planes (the last two axes) where it changed them.

    Parameters
    ----------
    before, after : ndarray of int
        Labels around the stroke, in the shape of `box`; it must hold the changed objects whole in their planes.
    status : ndarray of uint8
        The whole status, as it was before.
    box : tuple of slice
    erased : ndarray of bool
        Where the eraser went, in the shape of `box`.
    """
    changed = before != after
    numbers = frozenset(map(int, np.unique(np.concatenate([before[changed], after[changed]])))) - {0}
    checked = erased & (after == 0)
    for plane in np.ndindex(before.shape[:-2]):
        there = changed[plane]
        if there.any():
            touched = np.setdiff1d(np.union1d(before[plane][there], after[plane][there]), [0])
            checked[plane] |= np.isin(after[plane], touched) | (there & (after[plane] == 0))
    status_before = status[box].copy()
    status_after = np.where(checked, np.uint8(Status.CHECKED), status_before)
    return Edit(box, before.copy(), after.copy(), status_before, status_after, "stroke", numbers)


def enclosed_holes(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the holes that a stroke has closed: a closed outline fills itself, a hole that was there stays.

    Parameters
    ----------
    before, after : ndarray of bool
        ``YX``, the object without and with the stroke.
    """
    holes = ndi.binary_fill_holes(after) & ~after
    components, _ = ndi.label(holes)
    were_there = ndi.binary_fill_holes(before) & ~before
    old = np.unique(components[were_there])
    closed: NDArray[np.bool_] = holes & ~np.isin(components, old[old > 0])
    return closed


def refill(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    predicted: NDArray[Any],
    box: Box,
    first_free: int | None = None,
    linked: Sequence[int] = (),
) -> Edit:
    """Fill what is unchecked with a new prediction.

    Checked and ignored voxels keep their labels. A predicted object that mostly lies on checked background is
    dropped; one that overlaps a checked object yields to it: where that object is known in part only, cut by
    the edge of a checked area, the prediction continues it, elsewhere its rest is dropped. All other
    objects get new ids. Of objects that were linked from planes this holds in each plane: see `Refill`.

    Parameters
    ----------
    labels, status : ndarray
        The whole arrays.
    predicted : ndarray of int
        New labels, in the shape of `box`.
    box : tuple of slice
        What was predicted.
    first_free : int, optional
        From here on numbers are free. None: it is searched for in the labels.
    linked : sequence of int
        Axes along which predicted objects were linked.

    Returns
    -------
    Edit
    """
    old, known = labels[box].copy(), status[box].copy()
    filling, whole = Refill(old.shape, linked), within(box, box)
    filling.look(whole, predicted, old, known)
    filling.decide(int(labels.max(initial=0)) + 1 if first_free is None else first_free)
    return Edit(box, old, filling.fill(whole, predicted, old, known), known, known, "segment")


def make_edit(
    labels: NDArray[Any],
    status: NDArray[np.uint8],
    box: Box,
    what: str,
    after: NDArray[Any],
    checked: NDArray[np.bool_],
    corrected: frozenset[int] = frozenset(),
) -> Edit:
    """Return the edit that writes `after` into a box and checks some of it; what is ignored stays ignored."""
    status_before = status[box].copy()
    return Edit(
        box=box,
        labels_before=labels[box].copy(),
        labels_after=after.astype(labels.dtype),
        status_before=status_before,
        status_after=np.where(checked & (status_before != Status.IGNORE), np.uint8(Status.CHECKED), status_before),
        what=what,
        corrected=corrected,
    )

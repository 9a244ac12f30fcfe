"""A scripted user: knows the truth, and corrects the worst of what a model found, as a person would in the panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNCHECKED, CHECKED = 0, 1
GOOD_ENOUGH = 0.7
"""A person leaves an object alone whose outline agrees so well with what they would draw (IoU)."""


@dataclass(frozen=True)
class Corrected:
    """What a user did in one view.

    Attributes
    ----------
    labels, status : ndarray
        Of the whole image, afterwards.
    drawn, deleted : int
        Objects drawn (again); objects that were none, deleted.
    complete : bool
        Whether nothing wrong was left, so that the view was declared complete.
    """

    labels: NDArray[Any]
    status: NDArray[np.uint8]
    drawn: int
    deleted: int
    complete: bool


def correct_worst(
    truth: NDArray[Any], labels: NDArray[Any], status: NDArray[np.uint8], count: int, view: tuple[slice, ...]
) -> Corrected:
    """Correct the worst objects in a view: first those to draw, the least overlap first, then those to delete.

    An object that is missing or badly outlined is drawn, and what was found in its place goes away; an object that
    is none is deleted. A voxel that loses its object is checked background if the truth is background there, else
    unchecked: a person who deletes two merged cells to draw one knows that the other is none. Where nothing wrong
    is left in the view, it is declared complete.

    Parameters
    ----------
    truth, labels : ndarray of int
        ``YX``, object ids.
    status : ndarray of uint8
        ``YX``, 0 unchecked, 1 checked.
    count : int
        Objects to correct at most.
    view : tuple of slice

    Returns
    -------
    Corrected
    """
    labels, status = labels.copy(), status.copy()
    errors = _errors(truth, labels, status, view)
    drawn = deleted = 0
    for kind, number in errors[:count]:
        if kind == "missing":
            inside = truth == number
            in_place = [n for n in np.unique(labels[inside]) if n and _belongs(labels == n, inside, truth, status)]
            _remove(labels, status, truth, np.isin(labels, in_place))
            free = inside & ((labels == 0) | (status != CHECKED))
            labels[free] = labels.max() + 1
            status[inside] = CHECKED
            drawn += 1
        else:
            gone = labels == number
            deleted += bool(gone.any())
            _remove(labels, status, truth, gone)
    complete = len(errors) <= count
    if complete:
        status[view] = CHECKED
    return Corrected(labels, status, drawn, deleted, complete)


def typical_width(labels: NDArray[Any]) -> float:
    """Return what a drag across a typical object gives: the median diameter of the largest disc inside each."""
    depth = ndi.distance_transform_edt(labels > 0)
    return float(2 * np.median(ndi.maximum(depth, labels, np.setdiff1d(np.unique(labels), [0]))))


def scattered(truth: NDArray[Any], cells: int, strokes: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return labels and status after a person has drawn some cells, scattered, and short background strokes."""
    status = np.zeros(truth.shape, np.uint8)
    ids = rng.permutation(np.setdiff1d(np.unique(truth), [0]))[:cells]
    status[np.isin(truth, ids)] = CHECKED
    empty = np.argwhere(ndi.distance_transform_edt(truth == 0) > 12)
    for y, x in empty[rng.choice(len(empty), strokes)]:
        stroke = np.zeros(truth.shape, bool)
        stroke[y, max(0, x - 20) : x + 20] = True
        status[ndi.binary_dilation(stroke, iterations=4) & (truth == 0)] = CHECKED
    return np.where(status == CHECKED, truth, 0), status


def scribbles(
    truth: NDArray[Any], per_class: int, length: int, width: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return the status after a person has drawn short strokes inside each class of a plane.

    A stroke starts at a random place of the class, prefers its inside, walks in one direction that bends a little,
    and ends where the class ends.
    """
    status = np.zeros(truth.shape, np.uint8)
    for number in np.unique(truth):
        inside = truth == number
        depth = ndi.distance_transform_edt(inside)
        candidates = np.argwhere(depth >= min(width / 2 + 0.5, depth.max()))
        for start in candidates[rng.choice(len(candidates), per_class)]:
            path = _walk(inside, start, length, rng)
            brush = np.zeros(truth.shape, bool)
            brush[tuple(path.T)] = True
            status[(ndi.distance_transform_edt(~brush) <= width / 2) & inside] = CHECKED
    return status


def _errors(truth: Any, labels: Any, status: Any, view: tuple[slice, ...]) -> list[tuple[str, int]]:
    """Return what is wrong in a view, the worst first. What lies in it for less than half does not count."""
    true_size, size = np.bincount(truth.ravel()), np.bincount(labels.ravel())
    key, shared = np.unique(truth.ravel().astype(np.int64) * size.size + labels.ravel(), return_counts=True)
    t, n = np.divmod(key, size.size)
    both = (t > 0) & (n > 0)
    ratio = shared[both] / (true_size[t[both]] + size[n[both]] - shared[both])
    best_of_truth, best_of_label = np.zeros(true_size.size), np.zeros(size.size)
    np.maximum.at(best_of_truth, t[both], ratio)
    np.maximum.at(best_of_label, n[both], ratio)

    seen_truth = np.bincount(truth[view].ravel(), minlength=true_size.size)
    seen = np.bincount(labels[view].ravel(), minlength=size.size)
    checked = np.bincount(labels[status == CHECKED].ravel(), minlength=size.size)
    missing = [
        (best_of_truth[i], -true_size[i], i)
        for i in range(1, true_size.size)
        if 2 * seen_truth[i] > true_size[i] and best_of_truth[i] < GOOD_ENOUGH
    ]
    # a found object is an error of its own only where no true one would be drawn in its place
    covered = np.bincount(labels[truth > 0].ravel(), minlength=size.size)
    extra = [
        (best_of_label[i], -size[i], i)
        for i in range(1, size.size)
        if 2 * seen[i] > size[i] and best_of_label[i] < GOOD_ENOUGH and 2 * covered[i] < size[i] and not checked[i]
    ]
    return [("missing", n) for *_, n in sorted(missing)] + [("extra", n) for *_, n in sorted(extra)]


def _belongs(found: Any, inside: Any, truth: Any, status: Any) -> bool:
    """Tell whether a person would take a found object away to draw the true one: most of it is not another's."""
    if (status[found] == CHECKED).all():
        return False
    here = np.count_nonzero(found & inside)
    others = np.bincount(truth[found & ~inside].ravel(), minlength=1)[1:]
    total = np.count_nonzero(found)
    return 2 * here > total or here >= max(others, default=0) or 2 * here > np.count_nonzero(inside)


def _remove(labels: Any, status: Any, truth: Any, where: Any) -> None:
    labels[where] = 0
    status[where] = np.where(truth[where] == 0, CHECKED, UNCHECKED)


def _walk(inside: Any, start: Any, length: int, rng: np.random.Generator) -> NDArray[np.intp]:
    angle, point, path = rng.uniform(0, 2 * np.pi), start.astype(float), [start]
    for _ in range(length):
        angle += rng.normal(0, 0.1)
        point = point + np.array([np.sin(angle), np.cos(angle)])
        step = np.round(point).astype(int)
        if (step < 0).any() or (step >= inside.shape).any() or not inside[tuple(step)]:
            break
        path.append(step)
    return np.array(path)

"""How well labels agree with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Matches", "average_precision", "checked_diameter", "iou", "match_at", "match_objects", "median_diameter"]

_MAX_OBJECTS = 500
_LONGER = 1.25


@dataclass(frozen=True)
class Matches:
    """True and predicted objects, paired one to one.

    Attributes
    ----------
    found : dict of int to bool
        For each true object whether a predicted one matches it.
    false_positives : int
        Predicted objects that match none.
    """

    found: dict[int, bool]
    false_positives: int

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN); 1 where there is nothing and nothing was predicted."""
        hits = sum(self.found.values())
        total = len(self.found) + self.false_positives
        return hits / total if total else 1.0


def average_precision(truth: ArrayLike, labels: ArrayLike, iou: float = 0.5) -> float:
    """Return TP / (TP + FP + FN) of objects matched at an intersection over union of at least `iou`.

    Parameters
    ----------
    truth, labels : array of int
        Object ids, 0 = background.
    iou : float
        Threshold. Below 0.5 a pair may not be unique; then the best pairs are taken first.

    Returns
    -------
    float
        0 to 1. It is called average precision in the 2018 Data Science Bowl and since.

    Raises
    ------
    AnnotationError
        If the two differ in shape.

    Examples
    --------
    >>> average_precision([[1, 1, 0, 2]], [[5, 5, 0, 0]])
    0.5
    """
    return match_objects(np.asarray(truth), np.asarray(labels), iou).average_precision


def iou(truth: ArrayLike, labels: ArrayLike) -> float:
    """Return the intersection over union of the two foregrounds (voxels that are not 0).

    Raises
    ------
    AnnotationError
        If the two differ in shape.
    """
    a, b = np.asarray(truth) > 0, np.asarray(labels) > 0
    _check_shapes(a, b)
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 1.0


def match_objects(
    truth: NDArray[Any], labels: NDArray[Any], iou: float = 0.5, checked: NDArray[np.bool_] | None = None
) -> Matches:
    """Pair true and predicted objects.

    Parameters
    ----------
    truth, labels : ndarray of int
    iou : float
        Least intersection over union of a pair.
    checked : ndarray of bool, optional
        Where the truth is known. Elsewhere `truth` does not count, and a predicted object is a false positive
        only if most of it lies on checked voxels. None: everywhere.

    Returns
    -------
    Matches
    """
    return match_at(truth, labels, (iou,), checked)[0]


def match_at(
    truth: NDArray[Any], labels: NDArray[Any], ious: Sequence[float], checked: NDArray[np.bool_] | None = None
) -> list[Matches]:
    """Pair true and predicted objects at several thresholds; see `match_objects`."""
    _check_shapes(truth, labels)
    sizes = dict(zip(*np.unique(labels[labels != 0], return_counts=True), strict=True))
    somewhere = (truth != 0) | (labels != 0)
    if checked is not None:
        somewhere &= checked
    true_ids, row = np.unique(truth[somewhere], return_inverse=True)
    ids, column = np.unique(labels[somewhere], return_inverse=True)
    true_sizes = np.bincount(row, minlength=true_ids.size)
    # a predicted object is compared on checked voxels alone
    compared = np.bincount(column, minlength=ids.size)
    # only the pairs that overlap: a table of all of them would not fit for thousands of objects
    pairs, overlap = np.unique(row * ids.size + column, return_counts=True)
    rows, columns = np.divmod(pairs, max(1, ids.size))
    real = (true_ids[rows] != 0) & (ids[columns] != 0)
    rows, columns, overlap = rows[real], columns[real], overlap[real]
    ratio = overlap / (true_sizes[rows] + compared[columns] - overlap)
    order = np.argsort(-ratio, kind="stable")
    counts = (ids != 0) & (2 * compared > [sizes.get(number, 0) for number in ids])

    result = []
    for least in ious:
        found = {int(number): False for number in true_ids if number != 0}
        used = np.zeros(ids.size, bool)
        for pair in order[ratio[order] >= least]:
            true_id, predicted = int(true_ids[rows[pair]]), columns[pair]
            if not used[predicted] and not found[true_id]:
                used[predicted] = found[true_id] = True
        result.append(Matches(found, int(np.count_nonzero(counts & ~used))))
    return result


def median_diameter(labels: NDArray[Any]) -> float | None:
    """Return the typical diameter of the objects, in voxels; None without objects.

    That of a disc or ball as large; for long objects no more than 1.25 times their width (the largest disc inside,
    in any plane): scaled by their length, thin ones would vanish.

    Parameters
    ----------
    labels : ndarray of int
        ``(Z)YX``. Of more than 500 objects 500 are looked at.

    Examples
    --------
    >>> rod = np.zeros((12, 100), int)
    >>> rod[3:10, 5:95] = 1
    >>> median_diameter(rod)
    10.0
    """
    numbers, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (0 if numbers.size and numbers[0] == 0 else 1)
    boxes = list(enumerate(ndi.find_objects(compact), start=1))
    if not boxes:
        return None
    every = -(-len(boxes) // _MAX_OBJECTS)
    return float(np.median([_diameter(compact[box] == number) for number, box in boxes[::every]]))


def _diameter(inside: NDArray[np.bool_]) -> float:
    size = int(np.count_nonzero(inside))
    as_large: float = 2 * (size / np.pi) ** 0.5 if inside.ndim == 2 else 2 * (3 * size / (4 * np.pi)) ** (1 / 3)
    # within planes: how many slices an object has says little
    sampling = (1e6,) * (inside.ndim - 2) + (1, 1)
    width = 2 * float(ndi.distance_transform_edt(np.pad(inside, 1), sampling).max())
    return float(min(as_large, _LONGER * width))


def checked_diameter(labels: NDArray[Any], checked: NDArray[np.bool_], spatial_dims: int) -> tuple[int, float | None]:
    """Return how many objects are checked, and their typical diameter, see `median_diameter`.

    Parameters
    ----------
    labels : ndarray of int
        ``(T)(Z)YX``.
    checked : ndarray of bool
        As large. An object counts, as a whole, where any of it is checked.
    spatial_dims : {2, 3}
        2: each plane of an object counts for itself, as a model of planes sees it.

    Examples
    --------
    >>> checked_diameter(np.ones((10, 10), int), np.ones((10, 10), bool), 2)
    (1, 11.283791670955125)
    """
    ids = np.unique(labels[checked])
    ids = ids[ids > 0]
    frames = labels.reshape(-1, *labels.shape[-spatial_dims:])
    own = np.arange(len(frames)).reshape(-1, *(1,) * spatial_dims) * (int(labels.max(initial=0)) + 1)
    apart = np.where(np.isin(frames, ids), frames + own, 0)
    return len(ids), median_diameter(apart.reshape(-1, *frames.shape[2:]))


def _check_shapes(truth: NDArray[Any], labels: NDArray[Any]) -> None:
    if truth.shape != labels.shape:
        raise AnnotationError(
            f"The truth has the shape {truth.shape} but the labels have {labels.shape}. Compare labels of one image."
        )

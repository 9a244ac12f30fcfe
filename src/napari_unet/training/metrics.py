"""How well labels agree with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Matches", "average_precision", "iou", "match_at", "match_objects"]


@dataclass(frozen=True)
class Matches:
    """True and predicted objects, paired one to one.

    Attributes
    ----------
    found : dict of int to bool
        For each true object whether a predicted one matches it.
    false : tuple of int
        Predicted objects that match none.
    """

    found: dict[int, bool]
    false: tuple[int, ...]

    @property
    def false_positives(self) -> int:
        """How many predicted objects match none."""
        return len(self.false)

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
        result.append(Matches(found, tuple(ids[counts & ~used].tolist())))
    return result


def _check_shapes(truth: NDArray[Any], labels: NDArray[Any]) -> None:
    if truth.shape != labels.shape:
        raise AnnotationError(
            f"The truth has the shape {truth.shape} but the labels have {labels.shape}. Compare labels of one image."
        )

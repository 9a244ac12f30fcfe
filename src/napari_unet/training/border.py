"""The weight map of the paper: background between two objects that nearly touch weighs most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["border_weights", "with_gaps"]

_NEGLIGIBLE = 1e-3


def border_weights(
    labels: NDArray[Any],
    *,
    w0: float = 10.0,
    sigma_px: float = 5.0,
    learn: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Return how much each voxel weighs: its class balanced, and more between two objects.

    ``w = wc + w0 exp(-(d1 + d2)^2 / 2 sigma^2)``, the second part on background alone; d1 and d2 are the distances
    to the nearest and to the second nearest object. Both are exact wherever that part is above 0.001; beyond, it is
    left out. So each object is measured in its own neighbourhood only, and one without neighbours not at all.

    Parameters
    ----------
    labels : ndarray of int
        ``(Z)YX``, object ids, 0 = background.
    w0 : float
        Weight of the border where two objects touch (default 10, the paper's).
    sigma_px : float
        How fast it falls off, in pixels (default 5, the paper's).
    learn : ndarray of bool, optional
        Where the truth is known: the classes are balanced there. None: everywhere.

    Returns
    -------
    ndarray of float32
        ``(Z)YX``. Foreground and background have the same sum of wc where `learn` holds, and its mean is 1.

    References
    ----------
    .. [1] Ronneberger et al. 2015, section 3, equation 2 and figure 3.

    Examples
    --------
    >>> border_weights(np.array([[1, 0, 2]]), w0=10, sigma_px=5).round(1)
    array([[ 0.8, 10.7,  0.8]], dtype=float32)
    """
    foreground = labels > 0
    weights = _class_weights(foreground, learn)
    nearest, second = _two_distances(labels, _reach(w0, sigma_px))
    between = ~foreground & np.isfinite(second)
    sums = nearest[between] + second[between]
    weights[between] += w0 * np.exp(-(sums**2) / (2 * sigma_px**2))
    return weights


def with_gaps(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels in which no object touches another: of two voxels that do, the first becomes background."""
    cut = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        here, there = (
            tuple(part if a == axis else slice(None) for a in range(labels.ndim))
            for part in (slice(None, -1), slice(1, None))
        )
        cut[here] |= (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)
    return np.where(cut, 0, labels)


def _class_weights(foreground: NDArray[np.bool_], learn: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    known = foreground if learn is None else foreground[learn]
    total, objects = known.size, int(np.count_nonzero(known))
    if objects in (0, total):
        return np.ones(foreground.shape, np.float32)
    return np.where(foreground, total / (2 * objects), total / (2 * (total - objects))).astype(np.float32)


def _reach(w0: float, sigma_px: float) -> int:
    """Return the largest sum of the two distances that matters, rounded up."""
    return math.ceil(sigma_px * math.sqrt(2 * math.log(max(w0 / _NEGLIGIBLE, 1.0))))


def _two_distances(labels: NDArray[Any], reach: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the distances to the nearest two objects; infinite where they are farther than `reach`."""
    nearest = np.full(labels.shape, np.inf, np.float32)
    second = nearest.copy()
    compact = labels
    if labels.dtype.kind == "b" or labels.max(initial=0) > labels.size:
        compact = np.unique(np.append(0, labels), return_inverse=True)[1][1:].reshape(labels.shape)
    for number, box in enumerate(ndi.find_objects(compact), start=1):
        if box is None:
            continue
        around = tuple(
            slice(max(0, s.start - reach), min(n, s.stop + reach)) for s, n in zip(box, labels.shape, strict=True)
        )
        there = compact[around]
        inside = there == number
        if np.count_nonzero(there) == np.count_nonzero(inside):
            continue
        distance = ndi.distance_transform_edt(~inside).astype(np.float32)
        distance[distance > reach] = np.inf
        first = nearest[around]
        np.minimum(second[around], np.maximum(first, distance), out=second[around])
        np.minimum(first, distance, out=first)
    return nearest, second

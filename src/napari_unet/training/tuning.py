"""Which thresholds make objects of maps best: tried on what is checked, without running the network again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.prediction import decode
from napari_unet.training.validation import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec
    from napari_unet.training.sampling import Field

__all__ = ["MAX_TUNED_VOXELS", "tune_decoder"]

MAX_TUNED_VOXELS = 1_500_000
"""So many are looked at: it takes about ten seconds on one core."""

_LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SETTINGS: dict[str, tuple[str, ...]] = {
    # what is no object first: it hides what the other thresholds do
    "seeded_watershed": ("peak_threshold", "min_size", "foreground_threshold", "seed_threshold", "peak_threshold"),
    "components": ("min_size", "foreground_threshold"),
}
_GAIN = 0.005
"""A setting is changed where the score rises by more."""

_WORSE = 0.05
"""Farther in a direction in which it falls by more nothing is tried."""

_OBJECTS = 5
"""Fewer tell nothing."""


def tune_decoder(
    maps: Sequence[NDArray[np.float32]],
    fields: Sequence[Field],
    decoder: DecoderSpec,
    *,
    give_up: Callable[[], bool] | None = None,
) -> DecoderSpec:
    """Return the settings with the best mean of AP at IoU 0.5 and 0.75, one setting after the other.

    What a model is sure of, how small an object may be and where two objects part differ from one kind of image to the
    next: a model that has just learned cells in phase contrast from `nuclei` also finds debris, less sharply.

    Parameters
    ----------
    maps : sequence of ndarray
        ``C(Z)YX`` of each field.
    fields : sequence of Field
        Only what is checked counts.
    decoder : DecoderSpec
        What to start from, and to stay with where nothing is better.
    give_up : callable, optional
        Whether there is no time left: the best so far is returned.

    Returns
    -------
    DecoderSpec
    """
    sizes = _whole_objects(fields)
    if len(sizes) < _OBJECTS:
        return decoder
    best = _value(maps, fields, decoder)
    for name in _SETTINGS.get(decoder.kind, ()):
        start, own = decoder, best
        for side in _choices(name, start, sizes):
            for value in side:
                if give_up is not None and give_up():
                    return decoder
                candidate = start.model_copy(update={name: value})
                score = _value(maps, fields, candidate)
                if score > max(best, own + _GAIN):
                    decoder, best = candidate, score
                if score < own - _WORSE:
                    break
    return decoder


def _choices(name: str, decoder: DecoderSpec, sizes: NDArray[np.int64]) -> list[list[Any]]:
    """Return the values to try above that of `decoder`, and those below, the nearest first."""
    if name == "min_size":
        levels: list[float] = [int(np.percentile(sizes, 5) / part) for part in (8, 4, 2)]
    else:
        levels = [0.0, *_LEVELS[:-1]] if name == "peak_threshold" else [*_LEVELS]
    own = getattr(decoder, name)
    return [[level for level in levels if level > own], [level for level in levels[::-1] if level < own]]


def _whole_objects(fields: Sequence[Field]) -> NDArray[np.int64]:
    """Return the sizes of the checked objects, in voxels; in fields of patches that cut them, of what is there."""
    counts = []
    for field in fields:
        numbers, sizes = np.unique(field.targets.objects[field.checked], return_counts=True)
        counts.append(sizes[numbers > 0])
    return np.concatenate(counts) if counts else np.empty(0, np.int64)


def _value(maps: Sequence[NDArray[np.float32]], fields: Sequence[Field], decoder: DecoderSpec) -> float:
    scores = []
    for one, field in zip(maps, fields, strict=True):
        labels = decode(one, decoder)
        scores += [found.average_precision for found in matches(field, labels, 0.5, 0.75)]
    return float(np.mean(scores))

"""How objects are made of maps best, thresholds and holes: told by what is checked, without running the network."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_unet.prediction import decode, hole_sizes
from napari_unet.training.validation import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec
    from napari_unet.training.sampling import Field

__all__ = ["MAX_TUNED_VOXELS", "suit_holes", "tune_decoder"]

MAX_TUNED_VOXELS = 1_000_000
"""So many are looked at: it takes about ten seconds on one core."""

_LEVELS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_PROMINENCES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
_PEAKS = (0.0, 0.4, 0.5, 0.55, 0.6, 0.65)
_SETTINGS: dict[str, tuple[tuple[str, ...], ...]] = {
    # where two objects part and what is none depend on each other: both at once
    "seeded_watershed": (("foreground_threshold",), ("min_prominence", "peak_threshold"), ("min_size",)),
    "components": (("foreground_threshold",), ("min_size",)),
}
_GAIN = 0.01
"""A setting is changed where the score rises by more: on a few dozen objects less is chance, and the settings of the
model it started from suit images that nothing is known of."""

_UNKNOWN = 0.1
"""What an object counts that was found where nothing is checked, beyond as many as with the old settings: some may be
objects, but a hundred more are not. Where the model knew such objects, one that is lost counts as much."""

_SIZE = 0.1
"""What it costs where objects that were found where nothing is checked are twice or half as large as those checked:
pieces, debris and whole colonies are told by that, though nobody has said that they are wrong. Not where the model knew
such objects: what it found is right, until somebody says that it is wrong."""

_OBJECTS = 5
"""Fewer tell nothing."""

_OBJECTS_TO_DIVIDE_MORE = 150
"""Fewer are no reason to divide more than before: maps of other images are less smooth than those that were learned
from, and dip where no object ends (docs/training.md)."""

_HOLE = 0.05
"""Share of an object, filled, from which on a hole is meant: what a brush or another program left open is smaller.
In the truth of eight sets of nuclei and cells, by planes, at most 1.5 % of the objects have one."""

_WITH_HOLES = 0.1
"""Share of objects with such holes from which on they are not filled; two at least."""


def suit_holes(decoder: DecoderSpec, fields: Sequence[Field]) -> DecoderSpec:
    """Return the settings with holes filled where the checked objects have none, and left where they do.

    Only objects that are known completely count: checked everywhere, and not cut by the edge of a field.

    Parameters
    ----------
    decoder : DecoderSpec
        What to stay with where few objects are known.
    fields : sequence of Field
    """
    if decoder.kind == "argmax":
        return decoder
    shares = np.concatenate([np.empty(0), *map(_shares_of_holes, fields)])
    with_holes = np.count_nonzero(shares > _HOLE)
    if with_holes >= max(2, _WITH_HOLES * len(shares)):
        return decoder.model_copy(update={"fill_holes": False})
    return decoder.model_copy(update={"fill_holes": True}) if len(shares) >= _OBJECTS else decoder


def tune_decoder(
    maps: Sequence[NDArray[np.float32]],
    fields: Sequence[Field],
    decoder: DecoderSpec,
    *,
    is_known: bool = False,
    give_up: Callable[[], bool] | None = None,
) -> DecoderSpec:
    """Return the settings with the best AP at IoU 0.5 and 0.75, over all objects together.

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
    is_known : bool
        Whether the model knew such objects before: where nothing is checked, as many are to be found as with the old
        settings, of whatever size.
    give_up : callable, optional
        Whether there is no time left: the best so far is returned.

    Returns
    -------
    DecoderSpec
    """
    sizes = _whole_objects(fields)
    if len(sizes) < _OBJECTS:
        return decoder
    typical = None if is_known else float(np.median(np.log2(sizes)))
    best, expected = _value(maps, fields, decoder, typical)
    for names in _SETTINGS.get(decoder.kind, ()):
        start, own = decoder, best
        for values in _choices(names, start, sizes):
            if give_up is not None and give_up():
                return decoder
            candidate = start.model_copy(update=dict(zip(names, values, strict=True)))
            score, _ = _value(maps, fields, candidate, typical, expected)
            if score > max(best, own + _GAIN):
                decoder, best = candidate, score
    return decoder


def _choices(names: tuple[str, ...], decoder: DecoderSpec, sizes: NDArray[np.int64]) -> list[tuple[float, ...]]:
    """Return the values to try instead of those of `decoder`, the nearest first."""
    small = float(np.percentile(sizes, 5))
    least = 0.0 if len(sizes) >= _OBJECTS_TO_DIVIDE_MORE else decoder.min_prominence
    levels: dict[str, tuple[float, ...]] = {
        "min_prominence": tuple(value for value in _PROMINENCES if value >= least),
        "peak_threshold": _PEAKS,
        "min_size": tuple(int(small / part) for part in (8, 4, 2)),
        "foreground_threshold": _LEVELS,
    }
    own = tuple(getattr(decoder, name) for name in names)
    all_values = product(*(sorted({*levels[name], here}) for name, here in zip(names, own, strict=True)))
    return sorted(
        (values for values in all_values if values != own),
        key=lambda values: sum(abs(value - here) for value, here in zip(values, own, strict=True)),
    )


def _shares_of_holes(field: Field) -> NDArray[np.float64]:
    """Return for each object that is known completely which share of it, filled, its holes are."""
    objects = field.targets.objects
    known = np.ones(int(objects.max(initial=0)) + 1, bool)
    known[0] = False
    known[objects[~field.checked]] = False
    for axis in range(objects.ndim):
        if objects.shape[axis] > 1:
            for end in (0, -1):
                known[objects.take(end, axis)] = False
    holes, sizes = hole_sizes(objects), np.bincount(objects.ravel())
    known &= sizes > 0
    shares: NDArray[np.float64] = holes[known] / (holes[known] + sizes[known])
    return shares


def _whole_objects(fields: Sequence[Field]) -> NDArray[np.int64]:
    """Return the sizes of the checked objects, in voxels; in fields of patches that cut them, of what is there."""
    counts = [_sizes(field.targets.objects[field.checked]) for field in fields]
    return np.concatenate(counts) if counts else np.empty(0, np.int64)


def _value(
    maps: Sequence[NDArray[np.float32]],
    fields: Sequence[Field],
    decoder: DecoderSpec,
    typical: float | None,
    expected: int | None = None,
) -> tuple[float, int]:
    """Return the AP at both thresholds, over all objects together, and how many were found where nothing is checked.

    More of these than `expected` cost a little (None: however many there are), and so does it where they differ in size
    from those checked, which are `typical`: the binary logarithm of their voxels. None: fewer cost as much, and the
    size nothing.
    """
    hits = total = 0
    others = []
    for one, field in zip(maps, fields, strict=True):
        labels = decode(one, decoder)
        for found in matches(field, labels, 0.5, 0.75):
            hits += sum(found.found.values())
            total += len(found.found) + found.false_positives
        others.append(_sizes(np.where(field.checked, 0, labels)))
    unknown = np.concatenate(others)
    beyond = 0 if expected is None else len(unknown) - expected
    most = total + 2 * _UNKNOWN * (abs(beyond) if typical is None else max(0, beyond))
    differ = 0.0
    if typical is not None and len(unknown) >= _OBJECTS:
        differ = abs(float(np.median(np.log2(unknown))) - typical)
    return (hits / most if most else 1.0) - _SIZE * differ, len(unknown)


def _sizes(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    sizes: NDArray[np.int64] = np.bincount(labels[labels > 0])
    return sizes[sizes > 0]

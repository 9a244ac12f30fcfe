"""Honest scores: what is held out, and how a network does on it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from napari_unet.events import Score
from napari_unet.prediction import PredictConfig, StoppedError, activate, decode, tiled_forward
from napari_unet.training.counting import FalseObjects, FoundObjects, object_count
from napari_unet.training.metrics import Matches, iou, match_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec, Model
    from napari_unet.training.sampling import Field

__all__ = [
    "MIN_HELD_OUT_OBJECTS",
    "Paired",
    "compare",
    "field_maps",
    "hold_out",
    "matches",
    "own_scores",
    "score",
    "score_maps",
]

MIN_HELD_OUT_OBJECTS = 20
"""With fewer, a score is noise: nothing is held out and none is shown. One through many slices is one."""

_BLOCKS_PER_AXIS = 4
_SURE = 0.9
_RESAMPLES = 4000


@dataclass(frozen=True)
class Paired:
    """The same true objects before and after a training.

    Attributes
    ----------
    gained, lost : int
        Objects that only the new, only the old model finds.
    total : int
        True objects looked at.
    held_out : bool
        Whether the training had not seen them.
    false_before, false_after : int
        Objects of the old and of the new model that are none.
    better : float
        How sure it is that the new model is better, 0 to 1: the share of samples, drawn from these objects with
        replacement, in which it gains more than it loses (paired bootstrap).
    """

    gained: int
    lost: int
    total: int
    held_out: bool
    false_before: int = 0
    false_after: int = 0
    better: float = 0.5

    @property
    def advice(self) -> Literal["use", "keep", "unsure"]:
        """What to do: use the new model, keep the old one, or look for oneself.

        On objects that it has learned from a new model does well in any case: that it gains there says nothing,
        that it loses says much.
        """
        if self.better <= 1 - _SURE:
            return "keep"
        return "use" if self.held_out and self.better >= _SURE else "unsure"


def hold_out(
    fields: Sequence[Field], fraction: float, margin: Sequence[int], rng: np.random.Generator
) -> tuple[list[Field], list[Field]]:
    """Split fields into those to learn from and those to score on.

    With four or more groups whole groups are held out, and scored where they are checked completely; else blocks
    that are, at the same place in all planes of a group, with a gap of `margin` around them. Nothing is held out
    where fewer than `MIN_HELD_OUT_OBJECTS` objects would be in it, or where the rest would teach nothing.

    Parameters
    ----------
    fields : sequence of Field
    fraction : float
        Share of the objects to hold out, 0 to 1. 0: nothing.
    margin : sequence of int
        How far the network sees, per axis: its halo.
    rng : numpy Generator

    Returns
    -------
    tuple of list of Field
        To learn from, to score on. The second may be empty.
    """
    groups: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        groups[field.group].append(field)
    wanted = max(MIN_HELD_OUT_OBJECTS, fraction * object_count(fields))
    if fraction <= 0:
        return list(fields), []
    names = list(groups)
    rng.shuffle(names)
    if len(groups) >= 4:
        chosen = _until(names, lambda name: object_count(filter(_is_complete, groups[name])), wanted, len(groups) // 2)
        held = [field for name in chosen for field in groups[name] if _is_complete(field)]
        rest = [field for name in names if name not in chosen for field in groups[name]]
    else:
        rest, held = _hold_out_blocks(groups, wanted, margin, rng)
    enough = object_count(held) >= MIN_HELD_OUT_OBJECTS
    return (rest, held) if enough and _teach_both(rest) else (list(fields), [])


def score(
    model: Model,
    fields: Sequence[Field],
    config: PredictConfig | None = None,
    *,
    give_up: Callable[[], bool] | None = None,
) -> Score | None:
    """Score a model on held-out fields, each field counting alike; None if it was given up."""
    try:
        maps = [field_maps(model, field, config, give_up) for field in fields]
    except StoppedError:
        return None
    return score_maps(maps, fields, model.spec.decoder)


def own_scores(
    model: Model,
    fields: Sequence[Field],
    decoders: Sequence[DecoderSpec],
    config: PredictConfig | None = None,
    *,
    give_up: Callable[[], bool],
) -> list[float] | None:
    """Return how well a model finds what is checked with each decoder; None if it was given up.

    The mean AP at IoU 0.5 to 0.9; for classes their mean IoU.
    """
    values: list[list[float]] = [[] for _ in decoders]
    for field in fields:
        try:
            maps = field_maps(model, field, config, give_up)
        except StoppedError:
            return None
        for found, decoder in zip(values, decoders, strict=True):
            labels = decode(maps, decoder)
            if decoder.kind == "argmax":
                found.append(_mean_class_iou(field, labels))
            else:
                found += [one.average_precision for one in matches(field, labels, 0.5, 0.6, 0.7, 0.8, 0.9)]
    return [float(np.mean(found)) for found in values]


def score_maps(maps: Sequence[NDArray[np.float32]], fields: Sequence[Field], decoder: DecoderSpec) -> Score:
    """Score maps that are there already."""
    precisions, overlaps = [], []
    for one, field in zip(maps, fields, strict=True):
        labels = decode(one, decoder)
        if decoder.kind == "argmax":
            precisions.append(_mean_class_iou(field, labels))
        else:
            precisions.append(matches(field, labels, 0.5)[0].average_precision)
        overlaps.append(iou(np.where(field.checked, field.targets.classes, 0), np.where(field.checked, labels, 0)))
    return Score(float(np.mean(precisions)), float(np.mean(overlaps)), object_count(fields))


def compare(
    before: Model,
    after: Model,
    fields: Sequence[Field],
    config: PredictConfig | None = None,
    *,
    held_out: bool,
    give_up: Callable[[], bool] | None = None,
) -> Paired:
    """Count the true objects (for classes: the classes of each field) that only one of two models finds.

    An object that was cut into planes is one, found where it is found in most of them: its planes are no independent
    samples. So are false objects that lie behind each other. Fields that are left when `give_up` says so are not looked
    at.
    """
    founds, falses = (FoundObjects(), FoundObjects()), (FalseObjects(), FalseObjects())
    for field in fields:
        try:
            both = [decode(field_maps(model, field, config, give_up), model.spec.decoder) for model in (before, after)]
        except StoppedError:
            break
        for labels, model, found, false in zip(both, (before, after), founds, falses, strict=True):
            right, wrong = _found(field, labels, model.spec.decoder)
            found.add(field, right)
            false.add(field, labels, wrong)
    old, new = (found.objects() for found in founds)
    gained = sum(new[number] and not old[number] for number in old)
    lost = sum(old[number] and not new[number] for number in old)
    fewer = falses[0].count - falses[1].count
    better = _bootstrap(gained + max(0, fewer), lost + max(0, -fewer), len(old))
    return Paired(gained, lost, len(old), held_out, falses[0].count, falses[1].count, better)


def _bootstrap(gains: int, losses: int, total: int) -> float:
    """Return how often gains outnumber losses when as many objects are drawn from these with replacement.

    Ties count half. False objects that came or went count beside the true ones.
    """
    even = max(0, total - gains - losses)
    count = gains + losses + even
    if not gains + losses:
        return 0.5
    chances = np.array([gains, losses, even]) / count
    drawn = np.random.default_rng(0).multinomial(count, chances, size=_RESAMPLES)
    difference = drawn[:, 0] - drawn[:, 1]
    return float(np.mean(difference > 0) + 0.5 * np.mean(difference == 0))


def field_maps(
    model: Model, field: Field, config: PredictConfig | None = None, give_up: Callable[[], bool] | None = None
) -> NDArray[np.float32]:
    """Return the maps of a field, ``C(Z)YX``; in float32 unless `config` says otherwise.

    Raises
    ------
    StoppedError
        If `give_up` said so, which is asked within a tile too.
    """
    logits = tiled_forward(field.image, model.network, config=config, give_up=give_up)
    maps: NDArray[np.float32] = activate(torch.from_numpy(logits), model.spec).numpy()
    return maps


def matches(field: Field, labels: NDArray[Any], *ious: float) -> list[Matches]:
    """Pair what is checked in a field with what was found there, at each threshold."""
    return match_at(field.targets.objects, labels, ious, field.checked)


def _found(field: Field, labels: NDArray[Any], decoder: DecoderSpec) -> tuple[dict[int, bool], tuple[int, ...]]:
    """Return which true objects (classes) are found, and which predicted ones are false."""
    if decoder.kind != "argmax":
        found = matches(field, labels, 0.5)[0]
        return found.found, found.false
    truth, labels = field.targets.classes[field.checked], labels[field.checked]
    return {int(n): iou(truth == n, labels == n) >= 0.5 for n in np.unique(truth) if n}, ()


def _mean_class_iou(field: Field, labels: NDArray[Any]) -> float:
    truth, labels = field.targets.classes[field.checked], labels[field.checked]
    return float(np.mean([iou(truth == number, labels == number) for number in np.union1d(truth, labels)]))


def _is_complete(field: Field) -> bool:
    return bool(field.checked.mean() > 0.95)


def _teach_both(fields: Sequence[Field]) -> bool:
    """Tell whether objects and background can be learned from the fields."""
    foreground = any((field.targets.learn & (field.targets.classes > 0)).any() for field in fields)
    return foreground and any((field.targets.learn & (field.targets.classes == 0)).any() for field in fields)


def _until(names: Sequence[str], objects: Any, wanted: float, most: int) -> list[str]:
    """Take names, in order, until they hold enough objects."""
    chosen: list[str] = []
    count = 0
    for name in names:
        if count >= wanted or len(chosen) >= most:
            break
        here = objects(name)
        if here:
            chosen.append(name)
            count += here
    return chosen


def _hold_out_blocks(
    groups: dict[str, list[Field]], wanted: float, margin: Sequence[int], rng: np.random.Generator
) -> tuple[list[Field], list[Field]]:
    rest: dict[str, list[Field]] = {name: list(fields) for name, fields in groups.items()}
    held: list[Field] = []
    count = 0
    for name, fields in groups.items():
        blocks = _complete_blocks(fields)
        rng.shuffle(blocks)
        for block in blocks:
            if count >= wanted:
                break
            gap = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(block, margin, strict=True))
            without = [field.without(gap) for field in rest[name]]
            if object_count(without) < 0.5 * object_count(fields):
                continue
            rest[name] = without
            parts = [_only(field, block, gap) for field in fields if field.checked[block].any()]
            held += parts
            count = object_count(held)
    return [field for fields in rest.values() for field in fields], held


def _complete_blocks(fields: Sequence[Field]) -> list[tuple[slice, ...]]:
    """Return the blocks of a grid that are checked completely in every plane where they are checked at all."""
    shape = fields[0].checked.shape
    if any(field.checked.shape != shape for field in fields):
        return []
    counts = [1] * (len(shape) - 2) + [_BLOCKS_PER_AXIS] * 2
    edges = [np.linspace(0, n, count + 1).astype(int) for n, count in zip(shape, counts, strict=True)]
    grid = product(*([slice(int(a), int(b)) for a, b in pairwise(e)] for e in edges))
    return [
        block
        for block in grid
        if all(field.checked[block].all() or not field.checked[block].any() for field in fields)
        and any(field.checked[block].any() for field in fields)
    ]


def _only(field: Field, block: tuple[slice, ...], context: tuple[slice, ...]) -> Field:
    """Return the part of a field around a block, with nothing but the block to score."""
    checked = np.zeros_like(field.checked)
    checked[block] = field.checked[block]
    return replace(field, checked=checked, stack=f"{field.stack}\n{block}").part(context)

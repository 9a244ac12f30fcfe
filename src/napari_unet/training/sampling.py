"""From annotated images to what is learned of them, and to places for patches: only where something is checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.annotation import Status
from napari_unet.errors import AnnotationError, TrainingError
from napari_unet.images import (
    Normalization,
    Rescaled,
    label_axes,
    measure_normalization,
    nearest_index,
    to_canonical,
)
from napari_unet.prediction import select_channels
from napari_unet.training.counting import numbered
from napari_unet.training.targets import Targets, border_targets, instance_targets, semantic_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.annotation import Annotated
    from napari_unet.models import ModelSpec

__all__ = ["BACKGROUND_SHARE", "PRESUMED_SHARE", "Field", "PatchSampler", "Place", "make_fields"]

BACKGROUND_SHARE = 0.3
"""Share of the patches that are drawn around background, where there is one class beside it."""

PRESUMED_SHARE = 0.25
"""Share of the patches that are drawn anywhere in what is unchecked, where background is presumed there."""

_MISTAKE, _PRESUMED = -1, -2
_MAX_POINTS = 200_000


@dataclass(frozen=True, eq=False)
class Field:
    """One plane or volume to learn from: the image normalised, with its targets.

    Attributes
    ----------
    image : ndarray of float32
        ``C(Z)YX``, normalised.
    targets : Targets
    checked : ndarray of bool
        ``(Z)YX``: where the truth is known; the only place that is scored.
    group : str
        Fields of one group are never split between training and validation.
    name : str
    stack : str
        Fields of one stack lie behind each other, and objects go through them.
    whole : mapping of int to int
        Which object each id in `targets.objects` is a part of: unlike the id, its number is of no other object.
    """

    image: NDArray[np.float32]
    targets: Targets
    checked: NDArray[np.bool_]
    group: str
    name: str
    stack: str
    whole: Mapping[int, int]

    def part(self, box: tuple[slice, ...]) -> Field:
        """Return what lies in `box`."""
        targets = self.targets
        return replace(
            self,
            image=self.image[(slice(None), *box)],
            checked=self.checked[box],
            targets=replace(
                targets,
                classes=targets.classes[box],
                learn=targets.learn[box],
                distances=targets.distances[(slice(None), *box)],
                learn_distances=targets.learn_distances[box],
                objects=targets.objects[box],
                presumed=targets.presumed[box],
            ),
        )

    def without(self, box: tuple[slice, ...]) -> Field:
        """Return the field with nothing to learn in `box`."""
        names = ("learn", "learn_distances", "presumed")
        masks = {name: getattr(self.targets, name).copy() for name in names}
        checked = self.checked.copy()
        for mask in (*masks.values(), checked):
            mask[box] = False
        return replace(self, checked=checked, targets=replace(self.targets, **masks))


class Place(NamedTuple):
    """Where a patch is drawn: the number of its field, and the voxel in its middle."""

    field: int
    centre: NDArray[np.intp]


def make_fields(
    samples: Iterable[Annotated], spec: ModelSpec, *, border: tuple[float, float] = (10.0, 5.0)
) -> list[Field]:
    """Return the planes (2-D models) or volumes (3-D) of the samples that have something checked.

    `border` holds w0 and sigma of `border_weights`, for models that are decoded by components.

    Raises
    ------
    ImageError
        If an image does not fit the model.
    AnnotationError
        If the labels hold classes that the model does not have, or negative numbers.
    """
    fields = []
    for number, sample in enumerate(samples):
        canonical = to_canonical(sample.image, sample.axes)
        image = select_channels(canonical, spec, None, are_colours="S" in sample.axes)
        normalization = (
            Normalization(*sample.intensity_range)
            if sample.intensity_range is not None
            else measure_normalization(image, spec.percentiles)
        )
        axes = label_axes(sample.axes)
        labels = to_canonical(np.asarray(sample.labels), axes)[:, 0]
        status = (
            np.full(labels.shape, Status.CHECKED, np.uint8)
            if sample.status is None
            else to_canonical(np.asarray(sample.status), axes)[:, 0]
        )
        _check_labels(labels, status, spec, sample.name)
        planes = [(t, z) for t in range(labels.shape[0]) for z in range(labels.shape[1])]
        frames: Sequence[tuple[int, ...]] = planes if spec.spatial_dims == 2 else [(t,) for t in range(labels.shape[0])]
        for frame in frames:
            if not (status[frame] == Status.CHECKED).any():
                continue
            pixels = image[frame[0], :, frame[1]] if spec.spatial_dims == 2 else image[frame[0]]
            pixels, frame_labels, frame_status = _rescaled(
                normalization.apply(np.asarray(pixels)),
                labels[frame],
                status[frame],
                spec.scale_for(sample.object_diameter_px),
            )
            fields.append(
                Field(
                    image=pixels,
                    targets=_targets(frame_labels, frame_status, spec, border),
                    checked=frame_status == Status.CHECKED,
                    group=sample.group or f"{sample.name}, number {number}",
                    name=sample.name,
                    stack="",
                    whole={},
                )
            )
    return numbered(fields, are_objects=spec.task == "instances")


def _rescaled(
    pixels: NDArray[np.float32], labels: NDArray[Any], status: NDArray[np.uint8], scale: float
) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[np.uint8]]:
    if scale == 1:
        return pixels, labels, status
    rows, columns = (nearest_index(n, scale) for n in labels.shape[-2:])
    nearest = (..., rows[:, None], columns[None])
    whole = (slice(None),) * pixels.ndim
    return Rescaled(pixels, scale)[whole], labels[nearest], status[nearest]


class PatchSampler:
    """Draws places for patches, each beside a voxel that teaches something.

    Background gets its share of the patches, and each class the same share of the rest, however rare it is. Where
    it is known what the model gets wrong, a part of all patches is drawn there; and where background is presumed, a
    part anywhere in what is unchecked.

    Parameters
    ----------
    fields : sequence of Field
    core : sequence of int
        Size of what a patch teaches, per axis: the voxel lies in its inner half.
    rng : numpy Generator
        Nothing else is random here.
    mistakes : sequence of ndarray of bool, optional
        For each field where the model is wrong, see `find_mistakes`.
    favour_mistakes : float
        Share of the patches that are drawn there, 0 to 1.
    presume : bool
        Whether to draw `PRESUMED_SHARE` of the patches where nothing is known.

    Raises
    ------
    TrainingError
        If nothing is checked, or no background is.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        core: Sequence[int],
        rng: np.random.Generator,
        *,
        mistakes: Sequence[NDArray[np.bool_]] = (),
        favour_mistakes: float = 0.0,
        presume: bool = False,
    ) -> None:
        self._shapes = [field.checked.shape for field in fields]
        self._shift = np.array(core) // 4
        self._rng = rng
        self._kinds = _points_by_kind(fields, mistakes, rng, presume=presume)
        classes = self._kinds.keys() - {_MISTAKE, _PRESUMED}
        if not classes - {0}:
            raise TrainingError("No object is checked. Draw or confirm about ten objects, then train.")
        if len(classes) == 1:
            raise TrainingError(
                "No background is checked. Paint some with the Background brush, or mark a complete area, then train."
            )
        self._names = list(self._kinds)
        self._shares = _shares(self._names, favour_mistakes)

    @property
    def presumes(self) -> bool:
        """Whether patches are drawn where background is presumed: whether there is anything unchecked."""
        return _PRESUMED in self._kinds

    def draw(self, batch: int) -> list[Place]:
        """Return the places of a batch."""
        chosen = self._rng.choice(len(self._names), batch, p=self._shares)
        return [self._place(self._kinds[self._names[kind]]) for kind in chosen]

    def _place(self, kind: _Kind) -> Place:
        number = self._rng.choice(len(kind.fields), p=kind.weights)
        field = kind.fields[number]
        point = np.unravel_index(self._rng.choice(kind.points[number]), self._shapes[field])
        return Place(field, np.array(point) + self._rng.integers(-self._shift, self._shift + 1))


@dataclass(frozen=True)
class _Kind:
    """The voxels of one class, or the mistakes, by field.

    `weights` go with the root of the number of voxels: a field with few is not forgotten, one with many not all.
    """

    fields: list[int]
    points: list[NDArray[np.intp]]
    weights: NDArray[np.float64]


def _points_by_kind(
    fields: Sequence[Field], mistakes: Sequence[NDArray[np.bool_]], rng: np.random.Generator, *, presume: bool
) -> dict[int, _Kind]:
    found: dict[int, list[tuple[int, int, NDArray[np.intp]]]] = {}

    def add(kind: int, number: int, mask: NDArray[np.bool_]) -> None:
        points = np.flatnonzero(mask)
        if points.size:
            found.setdefault(kind, []).append((number, points.size, _some(points, rng)))

    for number, field in enumerate(fields):
        for value in np.unique(field.targets.classes[field.targets.learn]):
            add(int(value), number, (field.targets.classes == value) & field.targets.learn)
        if presume:
            add(_PRESUMED, number, field.targets.presumed)
    for number, wrong in enumerate(mistakes):
        add(_MISTAKE, number, wrong & fields[number].targets.learn)
    kinds = {}
    for kind, rows in sorted(found.items()):
        weights = np.sqrt([size for _, size, _ in rows])
        kinds[kind] = _Kind([n for n, _, _ in rows], [points for _, _, points in rows], weights / weights.sum())
    return kinds


def _shares(kinds: Sequence[int], favour_mistakes: float) -> NDArray[np.float64]:
    """Return how much of the patches each kind gets."""
    classes = sum(kind > 0 for kind in kinds)
    presumed = PRESUMED_SHARE if _PRESUMED in kinds else 0.0
    mistakes = (1 - presumed) * favour_mistakes if _MISTAKE in kinds else 0.0
    known = 1 - presumed - mistakes
    background = min(BACKGROUND_SHARE, 1 / (classes + 1)) if 0 in kinds else 0.0
    share = {_PRESUMED: presumed, _MISTAKE: mistakes, 0: known * background}
    rest = known * (1 - background) / classes
    return np.array([share.get(kind, rest) for kind in kinds])


def _some(points: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    return points if points.size <= _MAX_POINTS else rng.choice(points, _MAX_POINTS, replace=False)


def _targets(labels: NDArray[Any], status: NDArray[np.uint8], spec: ModelSpec, border: tuple[float, float]) -> Targets:
    if spec.task == "semantic":
        return semantic_targets(labels, status)
    if spec.decoder.kind == "components":
        return border_targets(labels, status, *border)
    return instance_targets(labels, status)


def _check_labels(labels: NDArray[Any], status: NDArray[np.uint8], spec: ModelSpec, name: str) -> None:
    if labels.min(initial=0) < 0:
        raise AnnotationError(
            f"{name}: the labels hold negative numbers. Make background 0, and number objects or classes from 1."
        )
    if spec.task != "semantic":
        return
    highest = int(labels[status == Status.CHECKED].max(initial=0))
    if highest > len(spec.classes):
        raise AnnotationError(
            f"{name}: the labels hold class {highest} but the model has {len(spec.classes)} "
            f"({', '.join(c.name for c in spec.classes)}). Add the class to the model, or choose 'objects'."
        )

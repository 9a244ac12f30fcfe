"""Objects that are counted once, however many planes they go through."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.prediction import link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.training.sampling import Field

__all__ = ["FalseObjects", "FoundObjects", "numbered", "object_count"]


def numbered(fields: Sequence[Field], *, are_objects: bool) -> list[Field]:
    """Return the fields with a number for each object in them, the same one in all planes of an object.

    Ids in planes of one image are of the same object, unless most of them lie elsewhere in the next plane: then each
    plane was numbered on its own.

    Parameters
    ----------
    fields : sequence of Field
        Planes of one image in their order.
    are_objects : bool
        False for classes: each is counted in each plane.
    """
    images: dict[tuple[str, str], list[Field]] = defaultdict(list)
    for field in fields:
        images[field.group, field.name].append(field)
    go_through = {key: are_objects and _go_through(planes) for key, planes in images.items()}
    numbers: dict[tuple[str, int], int] = {}
    result = []
    for place, field in enumerate(fields):
        key = field.group, field.name
        stack = "\n".join(key) if go_through[key] else f"\n{place}"
        ids = np.unique(field.targets.objects[field.checked])
        whole = {int(n): numbers.setdefault((stack, int(n)), len(numbers)) for n in ids if n}
        result.append(replace(field, stack=stack, whole=whole))
    return result


def _go_through(planes: Sequence[Field]) -> bool:
    """Tell whether most ids that are in two planes behind each other overlap there."""
    common = overlapping = 0
    for one, other in pairwise(planes):
        here, there = (np.where(plane.checked, plane.targets.objects, 0) for plane in (one, other))
        if here.shape != there.shape:
            return False
        common += int(np.count_nonzero(np.intersect1d(here, there)))
        overlapping += int(np.count_nonzero(np.unique(here[here == there])))
    return 2 * overlapping > common


def object_count(fields: Iterable[Field]) -> int:
    """Return how many checked objects there are in fields, those in several planes counted once."""
    found: set[int] = set()
    for field in fields:
        found.update(field.whole[int(n)] for n in np.unique(field.targets.objects[field.checked]) if n)
    return len(found)


class FoundObjects:
    """Which true objects are found, plane by plane."""

    def __init__(self) -> None:
        self._planes: Counter[int] = Counter()
        self._found: Counter[int] = Counter()

    def add(self, field: Field, found: Mapping[int, bool]) -> None:
        """Note which ids of a field are found."""
        for number, is_found in found.items():
            self._planes[field.whole[number]] += 1
            self._found[field.whole[number]] += is_found

    def objects(self) -> dict[int, bool]:
        """Return for each object whether it is found in most of its planes."""
        return {number: 2 * self._found[number] > planes for number, planes in self._planes.items()}


class FalseObjects:
    """Counts objects that are none; those that lie behind each other in a stack are one.

    Attributes
    ----------
    count : int
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[str, NDArray[np.int32]] = {}

    def add(self, field: Field, labels: NDArray[Any], false: Iterable[int]) -> None:
        """Count those of a field."""
        here = np.where(np.isin(labels, list(false)), labels, 0)
        before = self._before.get(field.stack)
        if before is None or before.shape != here.shape:
            before = np.zeros(here.shape, np.int32)
        linked = link(before, here, above=self.count)
        self.count = max(self.count, int(linked.max(initial=0)))
        self._before[field.stack] = linked

"""From maps to labels. Needs no network: thresholds can be tuned again on the same maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.generators import Steps
from napari_unet.prediction.components import Components, Grid, find_components, first_voxels
from napari_unet.prediction.holes import fill_holes, filled_objects, may_be_object, surrounding
from napari_unet.prediction.splitting import highest, split, split_in_windows
from napari_unet.prediction.stopping import check, unless_stopped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.models import DecoderSpec
    from napari_unet.prediction.components import Box

__all__ = ["Decoded", "decode", "decode_blocks"]

LARGEST = 2**24
"""A component whose bounding box has more voxels (4096 x 4096, 256 x 256 x 256) is split in windows. Splitting takes
about 50 bytes for each."""


_LONG = 2**18
"""A component with more voxels in its box takes so long to split, up to a minute, that it has to be stoppable."""


@dataclass(frozen=True)
class Decoded:
    """What `decode_blocks` has written.

    Attributes
    ----------
    objects : int
        How many there are; the highest id, where ids started from 1.
    in_windows : int
        Components too large to be split whole: some of their objects may be cut differently than in one piece.
    """

    objects: int
    in_windows: int = 0


def decode(maps: NDArray[Any], decoder: DecoderSpec) -> NDArray[np.int32]:
    """Make labels from the maps of one plane or volume.

    Instances are split in this order: the connected components of the foreground; in each, the peaks of both distance
    maps with their basins, from a watershed; basins are joined unless the distance dips enough between them
    (`split`); what has no distinct peak is no object. All of it looks at the component alone, so it is
    always split the same way, whatever lies beside it.

    Then holes are filled (`DecoderSpec.fill_holes`): background that one object alone encloses, in a volume on all
    sides, becomes part of it, with whatever too small or unsure lies there. Where a component in it is large and sure
    enough to be an object, the hole stays; so does one that several objects enclose together, or that is open to the
    edge of the image. A component with more than 2^24 voxels in its box is split in windows, and the holes filled that
    lie whole in one; where it is not split ("components"), they stay. Sizes are those of filled objects.

    Parameters
    ----------
    maps : ndarray
        ``C(Z)YX``. Seeded watershed: foreground, boundary distance, centre distance, each 0 to 1, taken in half
        precision; components: foreground, background; argmax: one map for each class, background first.
    decoder : DecoderSpec

    Returns
    -------
    ndarray of int32
        ``(Z)YX``: object ids from 1 without gaps, in the order of their first voxels, or classes; 0 is background.
    """
    labels = np.zeros(maps.shape[1:], np.int32)
    decode_blocks(maps, decoder, labels, maps.shape[1:])
    return labels


def decode_blocks(
    maps: Any,
    decoder: DecoderSpec,
    out: Any,
    block: Sequence[int],
    *,
    above: int = 0,
    largest: int = LARGEST,
    stop: StopFlag | None = None,
) -> Decoded:
    """Make labels block by block; they do not depend on the blocks.

    Parameters
    ----------
    maps : array
        ``C(Z)YX``, anything with a shape and slicing; never read whole.
    decoder : DecoderSpec
    out : array
        ``(Z)YX``, integers: where the labels go. Everything in it is overwritten.
    block : sequence of int
        Voxels to work on at once, per axis.
    above : int
        Ids start above this.
    largest : int
        A component with a larger bounding box, in voxels, is split in windows that overlap.
    stop : threading.Event, optional
        Ends it before the next block or component, or in the midst of a large one.
    """
    grid = Grid(tuple(out.shape), tuple(min(b, n) for b, n in zip(block, out.shape, strict=True)))
    if decoder.kind == "argmax":
        for _, box in grid:
            check(stop)
            out[box] = np.argmax(maps[(slice(None), *box)], axis=0)
        return Decoded(0)
    return _Decoding(maps, decoder, out, grid, largest, stop).run(above)


@dataclass(frozen=True, eq=False)
class _Component:
    """One connected component of the foreground in its box.

    Attributes
    ----------
    number : int
    box : tuple of slice
    inside : ndarray of bool
        The component.
    inward : ndarray of float32 or None
        None where distances are of no account.
    others : ndarray of bool or None
        Other foreground; None where it has no holes, or keeps them.
    """

    number: int
    box: Box
    inside: NDArray[np.bool_]
    inward: NDArray[np.float32] | None
    others: NDArray[np.bool_] | None


class _Decoding:
    """Components first, then each split whole and filled, then ids in the order of the first voxels."""

    def __init__(
        self, maps: Any, decoder: DecoderSpec, out: Any, grid: Grid, largest: int, stop: StopFlag | None
    ) -> None:
        self.maps, self.decoder, self.out, self.grid, self.largest = maps, decoder, out, grid, largest
        self.stop, self.splits = stop, decoder.kind != "components"
        self.components: Components = find_components(self._foreground, grid)
        self.too_large = np.diff(self.components.boxes, axis=2)[..., 0].prod(axis=1) > largest
        self.first = [self.components.first]
        self.size = [self.components.size.copy()]
        self.peak = [np.full(len(self.components.size), np.inf, np.float32)]
        self.count = len(self.components.size)  # numbers given so far, 0 included
        self.in_windows = 0
        self.written = {place for place, numbers in self.components.numbers.items() if len(numbers) > 1}

    def run(self, above: int) -> Decoded:
        for position, box in self.grid:
            self._split_block(position, box)
        across = ~self.components.in_one_block | self.too_large
        if not self.splits:
            across &= ~self.too_large & self.decoder.fill_holes
        for number in np.flatnonzero(across):
            self._split_across(int(number))
        new_ids = self._final_ids(above)
        for position, box in self.grid:
            if position in self.written:
                self.out[box] = new_ids[np.asarray(self.out[box])]
        return Decoded(int(new_ids.max(initial=above)) - above, self.in_windows)

    def _foreground(self, box: Box) -> NDArray[np.bool_]:
        check(self.stop)
        above: NDArray[np.bool_] = _half(self.maps[(slice(0, 1), *box)])[0] > np.float32(
            self.decoder.foreground_threshold
        )
        return above

    def _inward(self, box: Box) -> NDArray[np.float32]:
        check(self.stop)
        distances = _half(self.maps[(slice(1, 3), *box)])
        inward: NDArray[np.float32] = np.minimum(distances[0], distances[1])
        return inward

    def _split_block(self, position: tuple[int, ...], box: Box) -> None:
        """Write the components of a block, and split those that lie in it as a whole."""
        numbers = self.components.numbers[position]
        if len(numbers) == 1:
            self.out[box] = 0
            return
        local, _ = ndi.label(self._foreground(box))
        labels = numbers[local].astype(np.int32)
        holed = surrounding(local) if self.decoder.fill_holes else set()
        if self.splits or holed:
            inward = self._inward(box) if self.splits else None
            for label, found in enumerate(ndi.find_objects(local), start=1):
                number = int(numbers[label])
                is_whole = self.components.in_one_block[number] and not self.too_large[number]
                if is_whole and (self.splits or label in holed):
                    place = tuple(slice(f.start + b.start, f.stop + b.start) for f, b in zip(found, box, strict=True))
                    inside = local[found] == label
                    here = None if inward is None else inward[found]
                    others = (local[found] > 0) & ~inside if label in holed else None
                    self._split_one(_Component(number, place, inside, here, others), labels[found])
        self.out[box] = labels

    def _split_across(self, number: int) -> None:
        """Split a component that lies in several blocks."""
        box = self.components.box(number)
        if self.too_large[number]:
            self._split_in_windows(number, box)
            return
        foreground = self._foreground(box)
        local, _ = ndi.label(foreground)
        first = np.unravel_index(self.components.first[number], self.grid.shape)
        at = tuple(int(c) - s.start for c, s in zip(first, box, strict=True))
        labels = np.asarray(self.out[box])
        before = labels.copy()
        inside = local == local[at]
        inward = self._inward(box) if self.splits else None
        others = foreground & ~inside if self.decoder.fill_holes else None
        self._split_one(_Component(number, box, inside, inward, others), labels)
        if (labels != before).any():
            self._write(box, labels)

    def _write(self, box: Box, labels: NDArray[Any]) -> None:
        self.out[box] = labels
        self.written.update(self.grid.positions(box))

    def _split_one(self, component: _Component, labels: NDArray[np.int32]) -> None:
        check(self.stop)
        number, box, inside, inward = component.number, component.box, component.inside, component.inward
        if not may_be_object(self.decoder, inside, inward):
            self.size[0][number] = 0  # nor does it split what encloses it
            return
        parts, count = self._split(inside, inward, box)
        if inward is None or count < 2:
            if inward is not None:
                self.peak[0][number] = inward[inside].max()
            if component.others is not None:
                filled = fill_holes(inside.view(np.uint8), self.decoder, component.others, inward) > 0
                labels[filled] = number
                self.size[0][number] = np.count_nonzero(filled)
            return
        peak = highest(inward, parts, count)
        if self.decoder.fill_holes:
            parts = filled_objects(parts, self.decoder, component.others, inward)
        first = first_voxels(parts, count, box, self.grid.shape)
        size = np.bincount(parts.ravel(), minlength=count + 1)
        start = self._take_numbers(first[1:], size[1:], peak[1:])
        labels[parts > 0] = start + parts[parts > 0] - 1
        self.size[0][number] = 0

    def _split(
        self, inside: NDArray[np.bool_], inward: NDArray[np.float32] | None, box: Box
    ) -> tuple[NDArray[Any], int]:
        """Return the parts of a component and how many there are."""
        if inward is None:
            return inside, 1
        at_edge = [(s.start == 0, s.stop == n) for s, n in zip(box, self.grid.shape, strict=True)]
        stop = self.stop if inside.size > _LONG else None
        decoder = self.decoder
        parts = unless_stopped(stop, split, inside, inward, at_edge, decoder.min_prominence, decoder.peak_threshold)
        return parts, int(parts.max(initial=0))

    def _split_in_windows(self, number: int, box: Box) -> None:
        self.in_windows += 1
        steps = Steps(
            split_in_windows(
                lambda wide: (self._component(wide) == number, self._inward(wide)),
                box,
                self.grid.shape,
                self.decoder.min_prominence,
                self.largest,
                self.stop,
            )
        )
        start = self.count
        firsts: list[NDArray[np.int64]] = []
        sizes: list[NDArray[np.int64]] = []
        peaks: list[NDArray[np.float32]] = []
        for core, found in steps:
            parts = found
            total, inward = int(parts.max(initial=0)), self._inward(core)
            peaks.append(highest(inward, parts, total))
            if self.decoder.fill_holes:
                parts = fill_holes(parts, self.decoder, self._foreground(core) & (parts == 0), inward)
            present = parts > 0
            labels = np.asarray(self.out[core])
            labels[present] = start + parts[present]
            self._write(core, labels)
            firsts.append(first_voxels(parts, total, core, self.grid.shape))
            sizes.append(np.bincount(parts.ravel(), minlength=total + 1))
        group = steps.result
        first = np.full(len(group), np.iinfo(np.int64).max)
        size = np.zeros(len(group), np.int64)
        peak = np.zeros(len(group), np.float32)
        for some_first, some_size, some_peak in zip(firsts, sizes, peaks, strict=True):
            some = np.flatnonzero(some_size)
            some = some[some > 0]
            np.minimum.at(first, group[some], some_first[some])
            np.add.at(size, group[some], some_size[some])
            np.maximum.at(peak, group[some], some_peak[some])
        self._take_numbers(first[group], size[group], peak[group])
        self.size[0][number] = 0

    def _component(self, box: Box) -> NDArray[np.int64]:
        """Return the numbers of the components in any box."""
        result = np.zeros([s.stop - s.start for s in box], np.int64)
        for position in self.grid.positions(box):
            block = self.grid.box(position)
            local, _ = ndi.label(self._foreground(block))
            shared = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, block, strict=True)]
            to = tuple(slice(s.start - a.start, s.stop - a.start) for s, a in zip(shared, box, strict=True))
            of = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(shared, block, strict=True))
            result[to] = self.components.numbers[position][local[of]]
        return result

    def _take_numbers(self, first: NDArray[np.int64], size: NDArray[np.int64], peak: NDArray[np.float32]) -> int:
        """Give the next numbers to objects; return the first of them."""
        start = self.count
        self.first.append(first)
        self.size.append(size)
        self.peak.append(peak)
        self.count += len(first)
        return start

    def _final_ids(self, above: int) -> NDArray[np.int32]:
        """Return the id of each number: in the order of the first voxels, 0 for what is too small or unsure."""
        first, size = np.concatenate(self.first), np.concatenate(self.size)
        kept = size >= max(1, self.decoder.min_size)
        if self.decoder.peak_threshold:
            kept &= np.concatenate(self.peak) > self.decoder.peak_threshold
        kept[0] = False
        # parts of one object that was joined across windows have one first voxel
        _, rank = np.unique(first[kept], return_inverse=True)
        ids = np.zeros(len(first), np.int32)
        ids[kept] = rank + 1 + above
        return ids


def _half(maps: Any) -> NDArray[np.float32]:
    """Return maps as half precision holds them: labels are the same wherever the maps were kept."""
    return np.asarray(maps).astype(np.float16, copy=False).astype(np.float32)

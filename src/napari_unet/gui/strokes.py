"""Brush rules on a labels layer: napari's brush corrupts instances by default, ours does not.

A stroke that starts on background draws a new object, one that starts on an object extends it; other objects are
not painted over unless Shift is held, or Alt during the stroke; a closed outline fills itself; the eraser tells true
background also where there was none to erase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.draw import polygon2mask

from napari_unet.correction import enclosed_holes
from napari_unet.gui.painting import write_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Box

__all__ = ["StrokeRecorder", "footprint"]


class StrokeRecorder:
    """Watches the strokes on one labels layer and applies the brush rules to them.

    Parameters
    ----------
    layer : Labels
        Its data must be a NumPy array.
    on_stroke : callable
        Called after each stroke with the labels before and after it in a box, the box, and where the eraser went.
    fresh_id : callable, optional
        Returns an id that no object has. None: the labels are classes, and a stroke paints the one that is chosen,
        just where it goes.
    box_of : callable, optional
        Returns the bounding box of an object, as it was before the stroke; goes with `fresh_id`.
    """

    def __init__(
        self,
        layer: Labels,
        on_stroke: Callable[[NDArray[Any], NDArray[Any], Box, NDArray[np.bool_]], None],
        fresh_id: Callable[[], int] | None = None,
        box_of: Callable[[int], Box | None] = lambda _: None,
    ) -> None:
        self._layer = layer
        self._box_of = box_of
        self._fresh_id = fresh_id
        self._on_stroke = on_stroke
        self._atoms: list[Any] = []
        self._recording = False
        layer.mouse_drag_callbacks.insert(0, self._prepare)
        layer.mouse_drag_callbacks.append(self._record)
        layer.events.mode.connect(self._stay_last)
        layer.events.paint.connect(self._on_paint)

    def disconnect(self) -> None:
        """Leave the layer as it was."""
        for callback in (self._prepare, self._record):
            if callback in self._layer.mouse_drag_callbacks:
                self._layer.mouse_drag_callbacks.remove(callback)
        self._layer.events.mode.disconnect(self._stay_last)
        self._layer.events.paint.disconnect(self._on_paint)

    def _stay_last(self) -> None:
        # napari appends the callback of a mode when the mode is chosen; the recorder reads what it has done
        self._layer.mouse_drag_callbacks.remove(self._record)
        self._layer.mouse_drag_callbacks.append(self._record)

    def _prepare(self, layer: Labels, event: Any) -> None:
        if self._fresh_id is None:
            return
        if layer.mode == "paint":
            under = layer.get_value(
                event.position,
                view_direction=event.view_direction,
                dims_displayed=event.dims_displayed,
                world=True,
            )
            layer.selected_label = int(under) if under else self._fresh_id()
            layer.preserve_labels = not _paints_over(event)
        elif layer.mode == "erase":
            layer.preserve_labels = False

    def _record(self, layer: Labels, event: Any) -> Iterator[None]:
        if layer.mode not in ("paint", "erase") or len(event.dims_displayed) != 2:
            return
        self._recording, self._atoms = True, []
        path = [layer.world_to_data(event.position)]
        yield
        while event.type == "mouse_move":
            if self._fresh_id is not None:
                layer.preserve_labels = layer.mode == "paint" and not _paints_over(event)
            path.append(layer.world_to_data(event.position))
            yield
        self._recording = False
        if layer.mode == "erase":
            self._finish(erased=footprint(path, layer.brush_size, layer.data.shape))
        else:
            fills = self._fresh_id is not None and _is_closed(path, layer.brush_size)
            self._finish(outline=path if fills else None)

    def _on_paint(self, event: Any) -> None:
        self._atoms += event.value
        if not self._recording:
            # the polygon, the bucket, the encircling brush; some of them tell before they write
            self._finish()

    def _finish(
        self,
        erased: tuple[Box, NDArray[np.bool_]] | None = None,
        outline: list[NDArray[np.float64]] | None = None,
    ) -> None:
        """Hand a stroke on: what was erased, or the points of a closed outline to fill."""
        atoms, self._atoms = self._atoms, []
        boxes = [atom.slice_key for atom in atoms] + ([erased[0]] if erased else [])
        if not boxes:
            return
        data = self._layer.data
        if outline is not None and atoms:
            boxes.append(_box_around(outline, data.shape))
        if self._fresh_id is not None:
            boxes += self._boxes_of_objects(atoms, _union(boxes))
        box = _union(boxes)
        after = np.array(data[box])
        for atom in atoms:
            _write(after, box, atom, atom.new_value)
        before = after.copy()
        for atom in reversed(atoms):
            _write(before, box, atom, atom.old_values)
        painted = {atom.new_value for atom in atoms}
        if self._fresh_id is not None and erased is None and len(painted) == 1 and painted != {0}:
            corner = (box[-2].start, box[-1].start)
            points = None if outline is None else np.array(outline)[:, -2:] - corner
            _fill_outline(before, after, int(painted.pop()), points)
            write_into(self._layer, box, after)
        went = np.zeros(after.shape, bool)
        if erased is not None:
            went[_local(erased[0], box)] = erased[1]
        self._on_stroke(before, after, box, went)

    def _boxes_of_objects(self, atoms: list[Any], box: Box) -> list[Box]:
        """Return the boxes, in the planes of the stroke, of the objects that it changed."""
        numbers = {int(n) for atom in atoms for n in (*np.unique(atom.old_values), atom.new_value)} - {0}
        found = [self._box_of(number) for number in numbers]
        return [(*box[:-2], *one[-2:]) for one in found if one is not None]


def footprint(
    path: list[NDArray[np.float64]], brush_size: float, shape: tuple[int, ...]
) -> tuple[Box, NDArray[np.bool_]] | None:
    """Return where a round brush went, as a box and a mask in it. None where that is outside the labels.

    Parameters
    ----------
    path : list of points
        In voxels, all in one plane.
    brush_size : float
        Diameter in pixels.
    shape : tuple of int
        Of the labels.
    """
    radius = np.floor(brush_size / 2) + 0.5
    points = np.array(path)[:, -2:]
    plane = tuple(int(np.round(c)) for c in path[0][:-2])
    if any(not 0 <= p < n for p, n in zip(plane, shape[:-2], strict=True)):
        return None
    low = np.maximum(np.floor(points.min(0) - radius), 0).astype(int)
    high = np.minimum(np.ceil(points.max(0) + radius) + 1, shape[-2:]).astype(int)
    if (low >= high).any():
        return None
    rows, columns = np.ogrid[low[0] : high[0], low[1] : high[1]]
    mask = np.zeros((high[0] - low[0], high[1] - low[1]), bool)
    for start, stop in zip([points[0], *points[:-1]], points, strict=True):
        mask |= _distance_to_segment(rows, columns, np.round(start), np.round(stop)) <= radius
    box = (
        *(slice(p, p + 1) for p in plane),
        *(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)),
    )
    return box, mask.reshape((1,) * len(plane) + mask.shape)


def _paints_over(event: Any) -> bool:
    # Alt at the press is napari's: it sets the size of the brush
    return "Shift" in event.modifiers or "Alt" in event.modifiers


def _is_closed(path: list[NDArray[np.float64]], brush_size: float) -> bool:
    """Tell whether a stroke ends where it began, after a way around."""
    points = np.array(path)[:, -2:]
    length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    near = max(3.0, brush_size)
    return bool(np.linalg.norm(points[-1] - points[0]) <= near and length > 4 * near)


def _box_around(path: list[NDArray[np.float64]], shape: tuple[int, ...]) -> Box:
    """Return the box of a path in its plane, inside the image."""
    points = np.array(path)[:, -2:]
    low = np.clip(np.floor(points.min(0)), 0, np.array(shape[-2:]) - 1).astype(int)
    high = np.clip(np.ceil(points.max(0)) + 1, 1, shape[-2:]).astype(int)
    plane = tuple(slice(int(np.round(c)), int(np.round(c)) + 1) for c in path[0][:-2])
    return (*plane, *(slice(int(a), int(b)) for a, b in zip(low, high, strict=True)))


def _fill_outline(before: NDArray[Any], after: NDArray[Any], number: int, outline: NDArray[np.float64] | None) -> None:
    """Fill what a stroke has closed, where nothing else is: holes of the object, and the inside of a closed path.

    A path that runs over a neighbour leaves no closed line in the labels, but it is closed all the same.
    """
    for plane in np.ndindex(after.shape[:-2]):
        inside = enclosed_holes(before[plane] == number, after[plane] == number)
        if outline is not None:
            inside |= polygon2mask(inside.shape, outline)
        after[plane][inside & (after[plane] == 0)] = number


def _union(boxes: list[Box]) -> Box:
    return tuple(
        slice(min(int(s.start) for s in axis), max(int(s.stop) for s in axis)) for axis in zip(*boxes, strict=True)
    )


def _local(inner: Box, outer: Box) -> Box:
    return tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))


def _write(array: NDArray[Any], box: Box, atom: Any, values: Any) -> None:
    part = array[_local(atom.slice_key, box)]
    if atom.mask is None:
        part[...] = values
    else:
        part[atom.mask] = values


def _distance_to_segment(
    rows: NDArray[Any], columns: NDArray[Any], start: NDArray[np.float64], stop: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = stop - start
    length = float(along @ along)
    if length == 0:
        offset: NDArray[np.float64] = np.hypot(rows - start[0], columns - start[1])
        return offset
    position = np.clip(((rows - start[0]) * along[0] + (columns - start[1]) * along[1]) / length, 0, 1)
    result: NDArray[np.float64] = np.hypot(
        rows - start[0] - position * along[0], columns - start[1] - position * along[1]
    )
    return result

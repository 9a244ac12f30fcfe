"""What the click tools do with a click or a line in the canvas."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.annotation import Status
from napari_unet.errors import AnnotationError
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.session import JobState, Tool
from napari_unet.gui.status_brush import paint_status
from napari_unet.gui.tools import TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.correction import Edit
    from napari_unet.gui.highlight import Highlight
    from napari_unet.gui.proposing import Proposing
    from napari_unet.gui.workbench import Workbench

__all__ = ["Clicking", "tell_pieces", "tell_slices"]

_BRUSHES = {Tool.IGNORE: Status.IGNORE, Tool.FORGET: Status.UNCHECKED}
_LINE = 3.0
"""Pixels from which a drag is a line and no click."""
_NOTHING_HERE = "There is no object here. Click inside one."


class Clicking:
    """Carries out the tools that act on what is under the mouse.

    Parameters
    ----------
    workbench : Workbench
    proposing : Proposing
    highlight : Highlight
    """

    def __init__(self, workbench: Workbench, proposing: Proposing, highlight: Highlight) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._proposing = proposing
        self._highlight = highlight
        self._first: int | None = None
        self._seeds: list[NDArray[np.float64]] = []
        self._acts: dict[Tool, Callable[[ObjectDocument, int, Any], None]] = {
            Tool.DELETE: self._delete,
            Tool.CONFIRM: self._confirm,
            Tool.MERGE: self._merge,
            Tool.HOLES: self._fill_holes,
            Tool.INTERPOLATE: self._interpolate,
            Tool.EXTEND: self._extend,
        }

    def forget(self) -> None:
        """Forget the first click of a tool that needs several."""
        self._first = None
        if self._seeds:
            self._end_split()

    def on_press(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        """Act on the left mouse button; registered with the layer of each document."""
        document, tool = self._workbench.document, self._session.tool
        if event.button != 1 or not isinstance(document, ObjectDocument) or layer is not document.editable:
            return
        if tool in _BRUSHES:
            number = yield from paint_status(document, layer, event, _BRUSHES[tool])
            self._tell_marked(document, tool, number)
        elif tool is Tool.SPLIT:
            path = [layer.world_to_data(event.position)]
            yield
            while event.type == "mouse_move":
                path.append(layer.world_to_data(event.position))
                yield
            self._split(document, path)
        elif tool is Tool.PROPOSE:
            self._accept(document, tuple(int(c) for c in np.rint(layer.world_to_data(event.position))))
        elif tool in self._acts:
            number = layer.get_value(
                event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
            )
            if number:
                self._acts[tool](document, int(number), event)
            else:
                self._session.say(_NOTHING_HERE)

    def flag(self, edit: Edit) -> None:
        """Tell if a stroke has left an object in distant pieces; if not, what the brush does, and nothing of before."""
        document, tool = self._workbench.document, self._session.tool
        if edit.what == "stroke" and isinstance(document, ObjectDocument):
            note = tell_pieces(document, edit.corrected)
            works = self._session.prediction is not JobState.IDLE or self._session.training is not JobState.IDLE
            if note or (tool in TOOLS and not works):
                self._session.say(note or TOOLS[tool].hint, problem=bool(note))

    # --- one object --------------------------------------------------------------------------------------

    def _delete(self, document: ObjectDocument, number: int, _: Any) -> None:
        where = tell_slices(document, number)
        document.delete(number)
        self._session.say(f"Deleted{where}. Control-Z takes it back.")

    def _confirm(self, document: ObjectDocument, number: int, _: Any) -> None:
        document.confirm(number)
        where = tell_slices(document, number)
        self._say(document, f"Right{where}, and so it stays. Click the next one, or press Train.", number)

    def _fill_holes(self, document: ObjectDocument, number: int, _: Any) -> None:
        filled = document.fill_holes(number)
        self._say(document, "Filled." if filled else "This object has no holes.", number)

    def _tell_marked(self, document: ObjectDocument, tool: Tool, number: int | None) -> None:
        if number is None:
            return
        what = f"Object {number}{tell_slices(document, number)}" if number else "What you painted"
        if tool is Tool.FORGET:
            self._session.say(f"{what} is unchecked again: predictions may change it.")
        else:
            self._session.say(f"{what} is ignored: never learned from, never counted. Forget takes it back.")

    def _accept(self, document: ObjectDocument, point: tuple[int, ...]) -> None:
        taken = self._is_settled(document, point)
        number = self._proposing.accept(document, point)
        if number is None and taken:
            self._session.say(f"This is {taken}. Forget (U) takes that back.")
        elif number is None:
            self._session.say("Nothing stands out here. Draw it with New object.")
        else:
            self._say(document, f"Object {number}{tell_slices(document, number)} is there now, checked.", number)

    @staticmethod
    def _is_settled(document: ObjectDocument, point: tuple[int, ...]) -> str:
        """Return why nothing may be proposed at a point: what is known of it; empty if nothing is."""
        if not all(0 <= c < n for c, n in zip(point, document.shape, strict=True)):
            return ""
        if document.status[point] == Status.IGNORE:
            return "ignored"
        return "checked" if document.labels[point] and document.status[point] == Status.CHECKED else ""

    # --- two clicks --------------------------------------------------------------------------------------

    def _merge(self, document: ObjectDocument, number: int, _: Any) -> None:
        first, self._first = self._first, None
        if first is None or document.objects.box(first) is None:
            self._first = number
            where = tell_slices(document, number)
            self._session.say(f"Now click what belongs to object {number}{where}.")
        elif first == number:
            self._session.say("That is the same object. Click two that are one.")
        else:
            document.merge([first, number])
            self._say(document, f"One object now: {first}{tell_slices(document, first)}.", first)

    def _interpolate(self, document: ObjectDocument, number: int, _: Any) -> None:
        first, self._first = self._first, None
        known = first if first is not None and document.objects.box(first) is not None else None
        if document.interpolate(known or number, number if known else None):
            one = known or number
            self._say(document, f"Filled between{tell_slices(document, one)}; look it over, it is unchecked.", one)
        elif known is None:
            self._first = number
            self._session.say(f"Now go to another slice and click object {number} there.")
        else:
            self._session.say("There is no slice between the two.")

    def _extend(self, document: ObjectDocument, number: int, event: Any) -> None:
        axis, viewer = document.z_axis, self._workbench.viewer
        if axis is None or len(event.dims_displayed) != 2:
            self._session.say("Extend works from slice to slice, in the 2-D display.", problem=True)
            return
        here = tuple(int(c) for c in np.rint(document.editable.world_to_data(event.position)))
        step = self._direction(document, number, here, axis, down="Shift" in event.modifiers)
        if step is None:
            self._session.say("It goes on in both neighbouring slices. Click it in the slice where it ends.")
        elif not document.extend(number, here[:-2], step):
            self._session.say(f"It ends here{tell_slices(document, number)}. Draw it in the next slice if it does not.")
        else:
            slider = axis + viewer.dims.ndim - document.editable.ndim
            viewer.dims.set_current_step(slider, viewer.dims.current_step[slider] + step)
            self._say(document, f"Continued{tell_slices(document, number)}. Click again to go on.", number)

    @staticmethod
    def _direction(
        document: ObjectDocument, number: int, here: tuple[int, ...], axis: int, *, down: bool
    ) -> int | None:
        """Return where an object is not yet: 1 or -1, None if it is in both neighbouring slices."""
        box = document.objects.box(number)
        assert box is not None
        free = []
        for step in (-1, 1) if down else (1, -1):
            there = here[axis] + step
            plane = (*here[:axis], there, *here[axis + 1 : -2])
            inside = 0 <= there < document.shape[axis]
            outline: tuple[Any, ...] = (*plane, *box[-2:])
            if not inside or not (document.labels[outline] == number).any():
                free.append(step)
        return free[0] if free else None

    # --- split -------------------------------------------------------------------------------------------

    def _split(self, document: ObjectDocument, path: list[NDArray[np.float64]]) -> None:
        length = float(np.linalg.norm(np.ptp(np.array(path)[:, -2:], axis=0)))
        if length < _LINE:
            self._add_seed(document, path[0])
            return
        number = _crossed(document, path)
        if number is None:
            self._session.say(_NOTHING_HERE)
            return
        self._divide(document, lambda: document.cut(number, path))

    def _add_seed(self, document: ObjectDocument, point: NDArray[np.float64]) -> None:
        number = _at(document, point)
        if not number:
            self._session.say(_NOTHING_HERE)
            return
        if self._seeds and _at(document, self._seeds[0]) != number:
            self._seeds.clear()
        if not self._seeds:
            document.editable.bind_key("Enter", self._on_enter, overwrite=True)
        self._seeds.append(point)
        self._show_seeds(document)
        count = len(self._seeds)
        self._session.say(
            f"Object {number}: click in the middle of its other parts, too."
            if count == 1
            else f"Press Enter to split object {number} into {count} parts."
        )

    def _show_seeds(self, document: ObjectDocument) -> None:
        points = np.rint(np.array(self._seeds)).astype(int)
        low, high = points.min(0), points.max(0)
        low[-2:] -= 1
        high[-2:] += 1
        mask = np.zeros(high - low + 1, bool)
        for place in points - low:
            mask[(*place[:-2], slice(place[-2] - 1, place[-2] + 2), slice(place[-1] - 1, place[-1] + 2))] = True
        self._highlight.show(document.editable, tuple(map(slice, low, high + 1)), mask)

    def _on_enter(self, _: Labels) -> None:
        document, seeds = self._workbench.document, list(self._seeds)
        if isinstance(document, ObjectDocument) and seeds:
            number = _at(document, seeds[0])
            if len(seeds) < 2:
                self._session.say(f"Click in the middle of another part of object {number} first.", problem=True)
                return
            self._divide(document, lambda: document.split(number, seeds))
        self._end_split()

    def _divide(self, document: ObjectDocument, act: Callable[[], bool]) -> None:
        before = len(document.objects)
        try:
            act()
        except AnnotationError as error:
            self._session.say(str(error), problem=True)
            return
        self._session.say(f"Split into {len(document.objects) - before + 1}, all checked.")
        self.forget()

    def _end_split(self) -> None:
        self._seeds.clear()
        self._highlight.hide()
        if self._workbench.document is not None:
            self._workbench.document.editable.bind_key("Enter", None, overwrite=True)

    def _say(self, document: ObjectDocument, message: str, number: int) -> None:
        note = tell_pieces(document, [number])
        self._session.say(f"{message} {note}".strip(), problem=bool(note))


def tell_slices(document: ObjectDocument, number: int) -> str:
    """Return the slices that an object is in, to go behind a word; empty for a plane."""
    axis, box = document.z_axis, document.objects.box(number)
    if axis is None or box is None:
        return ""
    first, last = box[axis].start, box[axis].stop - 1
    return f" (slice {first})" if first == last else f" (slices {first} to {last})"


def tell_pieces(document: ObjectDocument, numbers: Sequence[int] | frozenset[int]) -> str:
    """Return a warning if one of these objects is in distant pieces; empty if none is."""
    for number in sorted(numbers):
        count = document.pieces(number)
        if count > 1:
            way_out = "Split divides it" + (", Interpolate fills between." if document.z_axis is not None else ".")
            return f"Object {number} is in {count} distant pieces. {way_out}"
    return ""


def _at(document: ObjectDocument, point: NDArray[np.float64]) -> int:
    place = np.rint(point).astype(int)
    inside = ((place >= 0) & (place < document.shape)).all()
    return int(document.labels[tuple(place)]) if inside else 0


def _crossed(document: ObjectDocument, path: list[NDArray[np.float64]]) -> int | None:
    """Return the object that a line is on for longest."""
    points = np.array(path)
    count = int(2 * np.abs(np.diff(points[:, -2:], axis=0)).sum()) + 2
    along = np.concatenate([np.linspace(a, b, count) for a, b in pairwise(points)])
    on = [number for number in (_at(document, point) for point in along) if number]
    return max(set(on), key=on.count) if on else None

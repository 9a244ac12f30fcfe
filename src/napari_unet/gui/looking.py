"""Where to look next: from one doubtful place to the next, by one key."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.annotation import Status
from napari_unet.correction import doubtful_places
from napari_unet.gui.clicking import tell_slices
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.worker import Job

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.correction import Box, Edit, Place
    from napari_unet.gui.highlight import Highlight
    from napari_unet.gui.workbench import Workbench

__all__ = ["Looking"]

_SMALLEST, _LARGEST, _AIM = 24.0, 500.0, 80.0
"""Pixels of the screen that a place may span before the view is zoomed, and then spans."""
_CLOSEST = 6.0
"""Pixels of the screen for one of the image, at most: what is around helps to judge."""
_BEYOND = 0.04
"""Share of the canvas that may lie beyond the edge of the image, so that the edge is seen."""
_AROUND = 3
"""Pixels between an object and the line around it."""
_FAINT = 0.3
_MOST_MIRRORED = 2**22
"""Pixels of a view (2048 x 2048) up to which it is predicted once more, mirrored."""


class Looking:
    """Goes through what is not checked yet, the most doubtful first.

    Parameters
    ----------
    workbench : Workbench
    highlight : Highlight
    """

    def __init__(self, workbench: Workbench, highlight: Highlight) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._highlight = highlight
        self._queue: list[Place] | None = None
        self._here: Place | None = None
        self._job: Job | None = None
        self._mirroring: Job | None = None

    def next(self) -> None:
        """Show the most doubtful place that is left."""
        document = self._document()
        if document is None or self._job is not None:
            return
        if self._queue is None:
            self._work_out(document)
            return
        while self._queue:
            place = self._queue.pop(0)
            if _is_open(document, place):
                self._show(document, place)
                return
        self._queue = None
        self._leave()
        self._session.say(
            "Nothing doubtful is left that you have not seen. If nothing is missing, press K, then Train."
        )

    def confirm(self) -> None:
        """Say that the place that is shown is right as it is, and go on; where none is, show the first."""
        document, place = self._document(), self._here
        if document is None:
            return
        if place is None:
            self.next()
            return
        if place.number and document.objects.box(place.number) is not None:
            document.confirm(place.number)
        elif not place.number:
            self._confirm_empty(document, place)
        self.next()

    def reset(self, edit: Edit | None = None) -> None:
        """Begin anew: other labels, or another document."""
        if edit is None or edit.what in ("segment", "import", "begin anew"):
            self._queue = None
            self._leave()
            self._stop_mirroring()

    def close(self) -> None:
        """Stop working."""
        if self._job is not None:
            self._job.abandon()
        self._stop_mirroring()

    def _document(self) -> ObjectDocument | None:
        document = self._workbench.document
        if isinstance(document, ObjectDocument) and document.has_labels:
            return document
        self._session.say("Segment the image first: then the most doubtful objects are shown.", problem=True)
        return None

    def _work_out(self, document: ObjectDocument) -> None:
        guide = document.guide
        scope = Scope.SLICE if document.is_large else Scope.IMAGE
        box = guide.box if guide is not None else self._workbench.segmenting.box(scope)
        labels, status = document.labels[box].copy(), document.status[box].copy()
        threshold = self._workbench.tuning.thresholds()[0]

        def run(_: StopFlag) -> Generator[Any, None, list[Place]]:
            yield from ()
            # without maps, what is of unusual size comes first
            maps = guide.maps if guide is not None else (labels > 0)[None].astype(np.float32)
            return [_moved(place, box) for place in doubtful_places(labels, status, maps, threshold=threshold)]

        def take_over(places: list[Place]) -> None:
            if document is self._workbench.document:
                self._queue = places
                self._session.say(f"{len(places)} places to look at.")

        def on_end() -> None:
            self._job = None
            if self._queue:
                self.next()
                self._ask_the_mirror(document)
            elif self._queue is not None:
                self._queue = None
                self._session.say("Everything here is checked. Press Train, or Segment the next image.")

        self._job = Job(
            "U-Net where to look",
            run,
            on_result=take_over,
            on_error=lambda text: self._session.say(text, problem=True),
            on_end=on_end,
        )
        self._job.start()

    def _ask_the_mirror(self, document: ObjectDocument) -> None:
        """Put the queue in a better order: see what the network says of the view when it is mirrored."""
        bench, guide, model = self._workbench, document.guide, self._workbench.model
        if guide is None or model is None or self._session.prediction is not JobState.IDLE:
            return
        view = bench.segmenting.box(Scope.VIEW)
        box = tuple(slice(max(v.start, g.start), min(v.stop, g.stop)) for v, g in zip(view, guide.box, strict=True))
        sides = [part.stop - part.start for part in box]
        if min(sides) < 1 or prod(sides) > _MOST_MIRRORED:
            return
        where = tuple(slice(b.start - g.start, b.stop - g.start) for b, g in zip(box, guide.box, strict=True))
        labels, status = document.labels[guide.box].copy(), document.status[guide.box].copy()
        threshold = bench.tuning.thresholds()[0]

        def run(stop: StopFlag) -> Generator[Any, None, list[Place]]:
            maps = yield from bench.segmenting.predict_mirrored(document, model, box, stop)
            places = doubtful_places(labels, status, guide.maps, threshold=threshold, mirrored=maps, where=where)
            return [_moved(place, guide.box) for place in places]

        def take_over(places: list[Place]) -> None:
            if document is self._workbench.document and self._queue is not None:
                left = {(place.number, place.point) for place in self._queue}
                self._queue = [place for place in places if (place.number, place.point) in left]

        self._mirroring = Job(
            "U-Net where to look",
            run,
            on_result=take_over,
            on_error=lambda _: None,  # the order stays as it is
            on_end=self._end_mirroring,
        )
        self._mirroring.start()

    def _end_mirroring(self) -> None:
        self._mirroring = None

    def _stop_mirroring(self) -> None:
        if self._mirroring is not None:
            self._mirroring.abandon()
            self._mirroring = None

    def _show(self, document: ObjectDocument, place: Place) -> None:
        bench, layer = self._workbench, document.editable
        self._here = place
        viewer = bench.viewer
        world = np.asarray(layer.data_to_world(place.point))
        first = viewer.dims.ndim - layer.ndim
        for axis, value in enumerate(world, start=first):
            if axis not in viewer.dims.displayed:
                viewer.dims.set_point(axis, value)
        camera, scale = viewer.scene.camera, np.asarray(layer.scale)[-2:]
        box = document.objects.box(place.number) or place.box
        span = max((s.stop - s.start) * float(size) for s, size in zip(box[-2:], scale, strict=True))
        if not _SMALLEST <= span * camera.zoom <= _LARGEST:
            camera.zoom = min(_AIM / span, max(_CLOSEST / float(scale.max()), camera.zoom))
        shown = viewer.dims.ndisplay
        middle = world[-shown:]
        if shown == 2:
            seen = np.asarray(viewer.canvas.size) / camera.zoom
            middle = _towards_the_image(middle, np.asarray(layer.extent.world)[:, -2:], seen)
        camera.center = (*camera.center[:-shown], *middle)
        if viewer.dims.ndisplay == 2:
            there = document.labels[box]
            mask = there == place.number if place.number else np.ones(there.shape, bool)
            self._highlight.show(layer, *_grown(mask, box))
        left = f"{len(self._queue)} more" if self._queue else "This is the last"
        if place.number:
            what = f"Object {place.number}{tell_slices(document, place.number)} is doubtful. Correct it; W: it is right"
        else:
            what = "Something may be missing here. Draw or propose it; W: nothing is missing"
        self._session.say(f"{what}, next. Q: next. {left}.")

    def _confirm_empty(self, document: ObjectDocument, place: Place) -> None:
        """Check the faint spot that was taken for a miss as background."""
        empty = (document.labels[place.box] == 0) & (document.status[place.box] == Status.UNCHECKED)
        if document.guide is not None:
            empty &= document.guide[(0, *place.box)] > _FAINT
        document.mark(place.box, empty, Status.CHECKED)

    def _leave(self) -> None:
        if self._here is not None:
            self._here = None
            self._highlight.hide()


def _towards_the_image(middle: NDArray[Any], extent: NDArray[Any], seen: NDArray[Any]) -> NDArray[Any]:
    """Return where to look such that the canvas shows the image where it can, not what is beyond its edge.

    Parameters
    ----------
    middle : ndarray
        What to look at, ``YX`` in the space of the viewer.
    extent : ndarray
        First and last corner of the image, one a row.
    seen : ndarray
        Height and width that the canvas shows.
    """
    inset = np.minimum((0.5 - _BEYOND) * seen, np.diff(extent, axis=0)[0] / 2)
    kept: NDArray[Any] = np.clip(middle, extent[0] + inset, extent[1] - inset)
    return kept


def _grown(mask: NDArray[np.bool_], box: Box) -> tuple[Box, NDArray[np.bool_]]:
    """Return a mask with room around it in the plane, so that a line does not cover what it shows."""
    wide = np.pad(mask, [(0, 0)] * (mask.ndim - 2) + [(_AROUND, _AROUND)] * 2)
    disc = np.hypot(*np.indices((2 * _AROUND + 1,) * 2) - _AROUND) <= _AROUND
    sides = (slice(s.start - _AROUND, s.stop + _AROUND) for s in box[-2:])
    return (*box[:-2], *sides), ndi.binary_dilation(wide, disc.reshape((1,) * (mask.ndim - 2) + disc.shape))


def _moved(place: Place, box: tuple[slice, ...]) -> Place:
    """Return a place of a part of the image as one of the whole."""
    return type(place)(
        tuple(c + s.start for c, s in zip(place.point, box, strict=True)),
        tuple(slice(p.start + s.start, p.stop + s.start) for p, s in zip(place.box, box, strict=True)),
        place.doubt,
        place.number,
    )


def _is_open(document: ObjectDocument, place: Place) -> bool:
    """Return whether a place has not been dealt with since it was found."""
    if place.number:
        return document.objects.box(place.number) is not None and not document.objects.is_checked(place.number)
    return bool(document.labels[place.point] == 0 and document.status[place.point] == Status.UNCHECKED)

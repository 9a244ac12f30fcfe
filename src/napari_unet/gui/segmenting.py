"""Predict the image, a slice or the view, and take the result over."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from napari_unet.errors import PredictionError, UNetError
from napari_unet.gui.guide import MOST_VOXELS, Guide
from napari_unet.gui.hints import ask_for_truth, doubt, how_many
from napari_unet.gui.in_pieces import changed_in_pieces, how_far
from napari_unet.gui.inputs import lazy
from napari_unet.gui.jobs import MainThread
from napari_unet.gui.layers import label_shape, view_box
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.room import MOST_AT_ONCE
from napari_unet.gui.session import JobState, Scope
from napari_unet.images import label_axes
from napari_unet.prediction import (
    InMemory,
    Prediction,
    check_view,
    finished_part,
    iter_find_object_size,
    iter_predict,
)
from napari_unet.user_data import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.correction import Box
    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model, ModelSpec

__all__ = ["Segmenting"]

_BLENDED = " The tiles were blended, which is nearly exact: see Halo of tiles under Thresholds, device."
_GOES_ON = "Cancelled. What is done is kept: Segment {} goes on there."


@dataclass(frozen=True, eq=False)
class _Cancelled:
    """What there is of a prediction that was cancelled.

    Attributes
    ----------
    finished : tuple of dict and ndarray, or None
        Where it is finished, counted in its box, and the labels; None: nowhere.
    is_predicted : bool
        Whether all of it was predicted: it was cancelled while it was taken over.
    """

    finished: tuple[dict[str, slice], NDArray[np.int32]] | None = None
    is_predicted: bool = False


class Segmenting:
    """The first step of the loop.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._target: Document | None = None
        self._provenance: WeakKeyDictionary[Document, dict[str, Any]] = WeakKeyDictionary()
        self._begun: tuple[Box, InMemory] | None = None

    def segment(self, scope: Scope = Scope.IMAGE, then: Callable[[], None] | None = None) -> None:
        """Predict the image, the slice or the view, in the background; `then` do something else."""
        bench, session, model = self._workbench, self._session, self._workbench.model
        if session.prediction is not JobState.IDLE:
            session.say("Already segmenting. Cancel it first.")
            return
        if model is None:
            session.say(f"This model has not learned anything yet. {ask_for_truth(bench.spec)}", problem=True)
            return
        if scope is Scope.VIEW and bench.problem is None:
            try:
                check_view([part.stop - part.start for part in self.box(scope)])
            except UNetError as error:
                session.say(str(error), problem=True)
                return
        if bench.suiting.is_open:
            bench.suiting.find(then=lambda: self.segment(scope, then))
            return
        document = bench.documents.ensure(restores=True)
        if document is None:
            return
        box = self.box(scope)
        self._target = document
        self._start(document, model, box, scope, then)

    def _start(self, document: Document, model: Model, box: Box, scope: Scope, then: Callable[[], None] | None) -> None:
        """Predict a box of a document in the background."""
        voxels = prod(part.stop - part.start for part in box)
        in_pieces = document.is_large and voxels > MOST_AT_ONCE
        around = self._workbench.sizing.middle if self._workbench.sizing.is_open else None
        out = self._place_for(document) if voxels > MOST_VOXELS else self._memory_for(box)

        def take_over(result: Prediction | _Cancelled) -> None:
            if isinstance(out, InMemory):
                self._begun = (box, out) if isinstance(result, _Cancelled) else None
            if isinstance(result, _Cancelled):
                self._leave(document, model.spec, box, result, scope)
            elif document not in self._workbench.documents:
                self._session.say(self._what_is_gone(document))
            else:
                self._take_over(result, document, model, box, in_pieces=in_pieces)
                if then is not None:
                    then()

        def run(stop: StopFlag) -> Generator[Any, None, Prediction | _Cancelled]:
            axes = document.pixels[1]
            try:
                if around is not None:
                    yield from self._find_size(document, model, around, stop)
                result = yield from self.predict(
                    document, model, box, stop, maps=voxels <= MOST_VOXELS, out=out, reuse=in_pieces
                )
            except PredictionError:
                if in_pieces or not stop.is_set():
                    raise
                return _Cancelled(finished_part(out, axes, model.spec.spatial_dims))
            if in_pieces:
                fill = partial(document.fill_in_pieces, result.labels, box, linked=model.spec.linked_axes)
                if not (yield from changed_in_pieces(document, fill, "Taking over the labels", stop)):
                    return _Cancelled(is_predicted=True)
            if isinstance(out, Path):
                result = result if in_pieces else replace(result, labels=np.asarray(result.labels))
                rmtree(out, ignore_errors=True)
            return result

        self._workbench.jobs.start(
            "prediction",
            run,
            on_result=take_over,
            message="Segmenting...",
            cancelled=_GOES_ON.format(self.name_of(scope)),
        )

    def _find_size(
        self, document: Document, model: Model, around: Mapping[str, int], stop: StopFlag
    ) -> Generator[Any, None, None]:
        """Find the object size before the first prediction of an image."""
        pixels, axes = document.pixels
        config, normalization = self._workbench.choosing.predict_config(), document.normalization(model.spec)
        found = yield from iter_find_object_size(
            pixels, model, axes=axes, at=around, normalization=normalization, config=config, stop=stop
        )
        yield (taking := MainThread(lambda: self._workbench.sizing.take_found(found)))
        taking.wait(stop)

    def _take_over(self, result: Prediction, document: Document, model: Model, box: Box, *, in_pieces: bool) -> None:
        """Put what was predicted into the labels, and keep its maps."""
        tuning = self._workbench.tuning
        if not in_pieces:
            document.fill(result.labels, box, linked=model.spec.linked_axes)
        self._session.segmented = True
        self._provenance[document] = result.provenance
        if tuning.wants_maps(box):
            tuning.keep(result, document, model, box)
        if isinstance(document, ObjectDocument) and result.maps is not None:
            document.guide = Guide(result.maps, document.pixels[1], box, document.shape)
        self.tell_result(document, model.spec, result.labels)

    def cancel(self) -> None:
        """Stop the prediction; what is finished stays, and the next one goes on there."""
        self._workbench.jobs.stop("prediction", "Cancelling...")

    def forget(self, document: Document) -> None:
        """Stop predicting for a document whose layers are gone."""
        self._begun = None
        if document in (self._target, self._workbench.document):
            self._workbench.jobs.stop("prediction", "The layer was removed: cancelling...")

    def provenance(self, document: Document) -> dict[str, Any]:
        """Return how the labels of a document were predicted last; empty where they were drawn."""
        return self._provenance.get(document, {})

    def predict(
        self,
        document: Document,
        model: Model,
        box: Box,
        stop: StopFlag,
        *,
        maps: bool = False,
        out: Path | InMemory | None = None,
        reuse: bool = False,
    ) -> Generator[Any, None, Prediction]:
        """Return the work of predicting a box of a document; run it in a job. `out`, `reuse`: see `iter_predict`."""
        pixels, axes = document.pixels
        config = self._workbench.choosing.predict_config()
        if model is not self._workbench.model:  # another one has thresholds of its own
            config = config.for_another_model()
        result = yield from iter_predict(
            pixels,
            model,
            axes=axes,
            region=dict(zip(label_axes(document.axes), box, strict=True)),
            normalization=document.normalization(model.spec),
            config=config,
            return_maps=maps,
            out=out,
            reuse=reuse,
            stop=stop,
        )
        return result

    def predict_mirrored(
        self, document: Document, model: Model, box: Box, stop: StopFlag
    ) -> Generator[Any, None, NDArray[Any]]:
        """Return the work of predicting a box of the image mirrored along X; its maps come mirrored back.

        They have one axis before those of the labels.
        """
        pixels, axes = document.pixels
        place, own = axes.index("X"), label_axes(document.axes).index("X")
        width = document.shape[own]
        sliceable = pixels if hasattr(pixels, "transpose") else lazy(pixels)  # zarr goes forwards only
        mirrored = tuple(
            slice(width - part.stop, width - part.start) if n == own else part for n, part in enumerate(box)
        )
        result = yield from iter_predict(
            sliceable[(*(slice(None),) * place, slice(None, None, -1))],
            model,
            axes=axes,
            region=dict(zip(label_axes(document.axes), mirrored, strict=True)),
            normalization=document.normalization(model.spec),
            config=self._workbench.choosing.predict_config(),
            return_maps=True,
            stop=stop,
        )
        assert result.maps is not None
        return np.flip(Guide(result.maps, axes, box, document.shape).maps, own + 1)

    def _leave(self, document: Document, spec: ModelSpec, box: Box, cancelled: _Cancelled, scope: Scope) -> None:
        """Take over what was finished of a prediction that was cancelled, as one undoable step."""
        if document not in self._workbench.documents:
            self._session.say(self._what_is_gone(document))
            return
        if cancelled.is_predicted:
            self._session.say(f"{how_far(document)} Segment {self.name_of(scope)} takes over the rest.")
            return
        goes_on = f"Segment {self.name_of(scope)} goes on where it stopped."
        if cancelled.finished is None:
            self._session.say(f"Cancelled. The labels are as they were; {goes_on}")
            return
        place, labels = cancelled.finished
        sizes = {letter: part.stop - part.start for letter, part in zip(label_axes(document.axes), box, strict=True)}
        inner = [place.get(letter, slice(0, size)) for letter, size in sizes.items()]
        part = tuple(slice(b.start + i.start, b.start + i.stop) for b, i in zip(box, inner, strict=True))
        document.fill(labels, part, linked=spec.linked_axes)
        self._session.say(f"Cancelled with {_how_many(place, sizes)} done, which stay. {goes_on}")

    def _what_is_gone(self, document: Document) -> str:
        """Return what is said where layers were removed meanwhile."""
        if document.image not in self._workbench.viewer.layers:
            return "The image was removed while it was segmented. Open it again: what was corrected comes back with it."
        back = "Restore the labels brings them back as they were; " if self._session.restorable else ""
        return f"The layer was removed while it was segmented. {back}Segment begins anew."

    def _memory_for(self, box: Box) -> InMemory:
        """Return what a short prediction is held in: that of one of the same box that was cancelled, or a new one."""
        return self._begun[1] if self._begun is not None and self._begun[0] == box else InMemory()

    @staticmethod
    def _place_for(document: Document) -> Path:
        """Return where a long prediction is kept, so that one that was ended goes on: with the corrections."""
        if document.store is not None and not document.store.read_only:
            return document.store.path / "prediction.zarr"
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"prediction-{os.getpid()}.zarr"

    def box(self, scope: Scope) -> Box:
        """Return what a scope is, in voxels of the labels."""
        bench = self._workbench
        image, axes = bench.image, bench.session.axes
        if image is None or not axes:
            return ()
        if scope is Scope.IMAGE:
            return tuple(slice(0, n) for n in label_shape(image, axes))
        step = tuple(bench.viewer.dims.current_step)
        return view_box(image, axes, step, whole_plane=scope is Scope.SLICE)

    def scopes(self) -> list[Scope]:
        """Return what the image has: slices only where there are several."""
        planes = [part.stop for part in self.box(Scope.IMAGE)[:-2]]
        return [Scope.IMAGE, *([Scope.SLICE] if any(n > 1 for n in planes) else []), Scope.VIEW]

    def name_of(self, scope: Scope) -> str:
        """Return what a scope is called: the plane of a movie is a frame."""
        axes = self._session.axes
        return "frame" if scope is Scope.SLICE and "T" in axes and "Z" not in axes else scope.value

    def tell_result(self, document: Document, spec: ModelSpec, labels: Any) -> None:
        """Say what was found and what to do next; `labels` are those that came of it."""
        session = self._session
        blended = _BLENDED if self.provenance(document).get("halo") == "blended" else ""
        if document.normalization(spec).is_constant:
            session.say("This image has the same value everywhere: there is nothing to find.", problem=True)
        elif isinstance(document, ObjectDocument):
            count = document.object_count((slice(None),) * document.labels.ndim)
            is_whole = isinstance(labels, np.ndarray) and labels.shape[-2:] == document.shape[-2:]
            bench = self._workbench
            doubts = (
                (bench.suiting.advice() or (doubt(labels, spec) if is_whole else "")) if not session.checked else ""
            )
            next_step = doubts or "Correct what is wrong, confirm what is right, then press Train."
            parts = (f"{how_many(count)}.", bench.suiting.news(), bench.sizing.tell_found(spec), next_step)
            found = " ".join(filter(None, parts)) + blended
            knows_size = spec.object_diameter_px is not None
            nothing = "Check the object size, or press Try models." if knows_size else ask_for_truth(spec)
            session.say(found if count else f"No objects. {nothing}", problem=not count or bool(doubts))
        else:
            session.say(f"Segmented. Paint where it is wrong, then press Train.{blended}")


def _how_many(place: Mapping[str, slice], sizes: Mapping[str, int]) -> str:
    """Return how much of a stack or movie is finished, in words."""
    frames, slices = sizes.get("T", 1), sizes.get("Z", 1)
    if place["Z"].stop < slices or frames == 1:
        return f"{place['Z'].stop} of {slices} slices" + " of the first frame" * (frames > 1)
    return f"{place['T'].stop} of {frames} frames"

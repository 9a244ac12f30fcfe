"""The documents of a window: made, brought back from disk, put aside, and let go."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_unet.errors import UNetError
from napari_unet.gui import room
from napari_unet.gui.class_document import ClassDocument
from napari_unet.gui.document import kind_of
from napari_unet.gui.hints import OPEN_AN_IMAGE
from napari_unet.gui.jobs import Progress
from napari_unet.gui.keeping import Keeping, parting_line
from napari_unet.gui.layers import label_shape, show_thumbnail
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.resting import Resting
from napari_unet.gui.session import JobState, Tool

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from threading import Event as StopFlag

    from napari.layers import Image, Labels

    from napari_unet.correction import Store, WhenChanged
    from napari_unet.gui.document import Document
    from napari_unet.gui.held import Held
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import ModelSpec

    Key = tuple[int, str, str]

__all__ = ["Documents"]

_AT_ONCE = 2**22
"""Voxels of labels that are read while the window waits: less than a second."""

_THUMBNAILS_MS = 300
"""Rest after which the layer list shows what was changed."""

_COMING = "Your corrections are being opened. What needs them can be used as soon as they are there."
_LATER = "Your corrections are opened as soon as what is running has ended."


class Documents:
    """Labels by image, axes and kind of object. Iterating gives those whose layers are in the viewer.

    What takes long to read back is read in a worker, as the prediction job: the image can be looked at meanwhile.

    Parameters
    ----------
    workbench : Workbench
        Its `document` is set to the one of the chosen image.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._keeping = Keeping(workbench.session)
        self._put_aside: set[Key] = set()
        self._all: list[Document] = []
        self._opening: tuple[Key, Store] | None = None
        self._wanted: Key | None = None
        self._closed = False
        self._parting: tuple[Image, str] | None = None  # the image that was removed, and its labels that are not saved
        self._thumbnails = Resting(_THUMBNAILS_MS, self._show_thumbnails)
        self._session.events.prediction.connect(self._on_prediction)

    def __iter__(self) -> Iterator[Document]:
        return iter(tuple(self._all))

    def __contains__(self, document: Document) -> bool:
        return document in self._all

    def has_labels(self, image: Image) -> bool:
        """Return whether labels were made for an image."""
        return any(one.image is image for one in self._all)

    def labels_of(self, image: Image) -> list[Labels]:
        """Return the layers that were made for an image."""
        return [layer for one in self._all if one.image is image for layer in one.layers]

    def has_corrections(self) -> bool:
        """Return whether the image was worked on before."""
        image = self._workbench.image
        kind = kind_of(self._workbench.spec)
        return image is not None and self._keeping.has_corrections(image, self._session.axes, kind)

    # --- which one is worked on --------------------------------------------------------------------------

    def find(self) -> None:
        """Take up the document that was made for this image, these axes and this kind of object, if there is one."""
        bench, session, image, spec = self._workbench, self._session, self._workbench.image, self._workbench.spec
        self._stop_opening_others()
        fitting = [one for one in self._all if one.image is image and one.axes == session.axes]
        bench.document = next((one for one in fitting if bench.classes.fits(one, spec)), None)
        bench.classes.meet()
        bench.inputs_changed()
        bench.update_counts()
        if bench.document is None and session.image and bench.problem is None and image is not None:
            known = self._keeping.has_corrections(image, session.axes, kind_of(spec))
            session.restorable = known and self._key() in self._put_aside
            if known and not session.restorable:
                # napari is still busy with the layer that it tells us of
                QTimer.singleShot(0, partial(self._bring_back, self._key()))

    def restore(self) -> None:
        """Bring back the labels that were taken out of the viewer."""
        self._put_aside.discard(self._key())
        if self.ensure() is not None:
            self._tell_restored()

    def answer(self, *, take_over: bool) -> None:
        """Take corrections over that were made on other pixels, or set them aside and begin anew."""
        if self.ensure("adopt" if take_over else "set aside") is not None:
            self._workbench.say_next()

    def ensure(self, when_changed: WhenChanged = "refuse", *, restores: bool = False) -> Document | None:
        """Return the document of the image, made where there is none yet, with what was corrected before.

        None where that cannot be, or not yet, which is said. Labels of a large image that were removed need `restores`.
        """
        bench, session = self._workbench, self._session
        if bench.document is not None:
            for layer in bench.document.layers:
                if layer not in bench.viewer.layers:
                    bench.shelf.add(layer)
            return bench.document
        image = bench.image
        if image is None or not session.image or bench.problem is not None:
            session.say(bench.problem or OPEN_AN_IMAGE, problem=True)
            return None
        shape = label_shape(image, session.axes)
        takes_long = prod(shape) > _AT_ONCE and self.has_corrections()
        stays_away = not restores and (takes_long or not room.fits(shape)) and self._was_removed()
        if stays_away or (takes_long and self._has_to_wait()):
            return None
        store = self._keeping.open(image, session.axes, kind_of(bench.spec), when_changed)
        if session.question:
            session.say(session.question, problem=True)
            return None
        if store is not None:
            bench.classes.meet(store)
        if takes_long and store is not None and not store.is_empty:
            self._open_in_background(image, store)
            return None
        return self._take_up(image, store)

    # --- reading back ------------------------------------------------------------------------------------

    def _was_removed(self) -> bool:
        """Whether the user has taken the labels out of the viewer, which is said."""
        if self._key() in self._put_aside:
            self._session.say(
                "The labels of this image were removed. Restore the labels, or Segment, brings them back."
            )
        return self._key() in self._put_aside

    def _has_to_wait(self) -> bool:
        """Whether what takes long cannot be opened now, which is said."""
        key = self._key()
        self._put_aside.discard(key)
        if self._opening is not None and self._opening[0] == key:
            self._session.say(_COMING)
        elif self._session.prediction is not JobState.IDLE:
            self._wanted = key
            self._session.say(_LATER)
        else:
            return False
        return True

    def _open_in_background(self, image: Image, store: Store) -> None:
        bench, session, key = self._workbench, self._session, self._key()
        reading = _class_of(bench.spec).read_back(label_shape(image, session.axes), store)
        self._opening = key, store

        def run(stop: StopFlag) -> Generator[Any, None, Held | str | None]:
            try:
                while not stop.is_set():
                    fraction = next(reading)
                    yield Progress(fraction, f"Opening your corrections: {fraction:.0%}. You can look meanwhile.")
            except StopIteration as done:
                held: Held = done.value
                return held
            except UNetError as error:
                return str(error)
            return None

        def done(held: Held | str | None) -> None:
            self._opening = None
            if held is None or isinstance(held, str) or key != self._key():
                self._keeping.close(store)
                if held is None and key == self._key():
                    self._put_aside.add(key)
                    session.restorable = True
                    session.say("Cancelled. Your corrections are on disk as they were: Restore brings them back.")
                elif isinstance(held, str):
                    session.say(held, problem=True)
                return
            self._take_up(image, store, held)
            self._tell_restored()

        bench.jobs.start("prediction", run, on_result=done, message="Opening your corrections...")

    def _stop_opening_others(self) -> None:
        if self._opening is not None and self._opening[0] != self._key():
            self._workbench.jobs.stop("prediction", "Another image was chosen...")
        if self._wanted != self._key():
            self._wanted = None

    def _on_prediction(self, state: JobState) -> None:
        if state is JobState.IDLE and self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            QTimer.singleShot(0, partial(self._bring_back, wanted))

    def _take_up(self, image: Image, store: Store | None, held: Held | None = None) -> Document:
        """Make the document, and put its layers into the viewer."""
        bench, spec, axes = self._workbench, self._workbench.spec, self._session.axes
        kind = kind_of(spec)
        others = [one for one in self._all if one.image is image]
        for layer in (layer for one in others for layer in one.layers):
            layer.visible = False
        name = f"{image.name} {kind.removeprefix('background, ')}" if others else image.name
        document: Document = (
            ClassDocument(image, axes, name, spec, store, held)
            if spec is not None and spec.task == "semantic"
            else ObjectDocument(image, axes, name, kind, store, held)
        )
        for layer in document.layers:
            bench.shelf.add(layer)
        bench.viewer.layers.selection.active = document.editable
        document.changed.connect(bench.update_counts)
        document.changed.connect(self._thumbnails.ask)
        bench.correcting.follow(document)
        self._all.append(document)
        bench.document = document
        if self._key() in self._put_aside:
            self._put_aside.discard(self._key())
            if not document.is_large:
                document.clear()  # its labels were deleted: they come back with Restore, or with undo
        if store is not None and store.read_only:
            document.editable.editable = False
        if store is not None:
            bench.sizing.restore(store.facts)
        bench.inputs_changed()
        bench.update_counts()
        return document

    def _show_thumbnails(self) -> None:
        viewer = self._workbench.viewer
        if viewer.dims.ndisplay == 2:
            for layer in (layer for document in self._all for layer in document.layers):
                show_thumbnail(layer, viewer.dims.point)

    def _bring_back(self, key: Key) -> None:
        """Show what was corrected before, if that is still wanted."""
        if self._closed or self._workbench.document is not None or key != self._key() or key in self._put_aside:
            return
        if self.ensure() is not None:
            self._tell_restored()

    def _tell_restored(self) -> None:
        document, session = self._workbench.document, self._session
        store = document.store if document is not None else None
        if store is None:
            return
        back = f"Your corrections are back: {session.checked} checked. Go on, or press Train."
        told = store.notice if store.read_only else f"{store.notice} {back}".strip()
        session.say(told, problem=store.read_only)

    # --- the end -----------------------------------------------------------------------------------------

    def forget_layer(self, layer: Any) -> None:
        """Let go of the documents whose layer is gone from the viewer; labels go with their image if they are saved."""
        bench = self._workbench
        kept, lost = any(key[0] == id(layer) for key in self._put_aside), ""
        for document in list(self._all):
            if layer is not document.image and layer is not document.editable:
                continue
            self._all.remove(document)
            is_saved = self._let_go(document)
            goes_along = layer is document.image and (is_saved or not (document.has_labels or document.corrections))
            for one in document.layers if goes_along else document.outlines:
                bench.shelf.take_down(one)
            bench.segmenting.forget(document)
            key = (id(document.image), document.axes, document.kind)
            if layer is document.image:
                kept |= is_saved and document.has_labels
                lost = lost if goes_along else document.editable.name
            elif document.has_labels or document.corrections:
                self._put_aside.add(key)
            if document is bench.document:
                bench.document = None
                self._session.tool = Tool.NONE
                bench.update_counts()
                self._session.restorable = key in self._put_aside and document.store is not None
        self._put_aside = {key for key in self._put_aside if key[0] != id(layer)}
        if lost or (kept and self._session.prediction is JobState.IDLE):  # what is cancelled says what becomes of it
            self._parting = layer, lost
            QTimer.singleShot(0, self._tell_parting)  # when another image is chosen, or none

    def put_away(self, image: Image) -> None:
        """Take an image out of the viewer, with its labels: another takes its place."""
        labels, layers = self.labels_of(image), self._workbench.viewer.layers
        layers.remove(image)  # first: labels that go alone are kept for Restore
        if self._parting is not None and not self._parting[1]:
            self._parting = None
        for layer in labels if self._parting is None else []:
            if layer in layers:
                layers.remove(layer)

    def _tell_parting(self) -> None:
        parting, self._parting, session = self._parting, None, self._session
        if parting is None or self._closed:
            return
        image, lost = parting
        is_offered = not session.image and not session.strip
        session.say(parting_line(image, lost, continue_is_offered=is_offered), problem=bool(lost))

    def close(self) -> None:
        """Write what is left and let go of everything."""
        self._closed = True
        self._thumbnails.stop()
        self._session.events.prediction.disconnect(self._on_prediction)
        for document in self._all:
            self._let_go(document)
        self._all.clear()
        if self._opening is not None:
            self._keeping.close(self._opening[1])

    def _let_go(self, document: Document) -> bool:
        """Return whether all that it holds is on disk."""
        document.changed.disconnect(self._workbench.update_counts)
        document.changed.disconnect(self._thumbnails.ask)
        self._workbench.correcting.let_go(document)
        document.close()
        return self._keeping.close(document.store)

    def _key(self) -> Key:
        """Return what tells one document from another, whether it is made yet or not."""
        bench = self._workbench
        return id(bench.image), self._session.axes, kind_of(bench.spec)


def _class_of(spec: ModelSpec | None) -> type[Document]:
    return ClassDocument if spec is not None and spec.task == "semantic" else ObjectDocument

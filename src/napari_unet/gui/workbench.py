"""The image, the model and the labels that are worked on. Owns no widget."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_unet.correction import are_we_done, is_good_enough
from napari_unet.gui.choosing import Choosing
from napari_unet.gui.class_document import ClassDocument
from napari_unet.gui.classes import Classes
from napari_unet.gui.contributions import model_imported
from napari_unet.gui.correcting import Correcting
from napari_unet.gui.document import Document, kind_of
from napari_unet.gui.estimating import Estimating
from napari_unet.gui.forecast import Forecast
from napari_unet.gui.hints import OPEN_AN_IMAGE, ask_for_truth, plural_kind
from napari_unet.gui.importing import Importing
from napari_unet.gui.inputs import Inputs
from napari_unet.gui.jobs import Jobs
from napari_unet.gui.keeping import Keeping
from napari_unet.gui.layers import Shelf, image_layers, is_usable_image
from napari_unet.gui.learning import Learning
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.opening import Opening
from napari_unet.gui.origin import misplaced, origin_of, set_axes
from napari_unet.gui.projects import Projects
from napari_unet.gui.results import Results
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.session import Session, Tool
from napari_unet.gui.sizing import Sizing
from napari_unet.gui.trying import Trying
from napari_unet.gui.tuning import Tuning
from napari_unet.gui.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_unet.correction import WhenChanged
    from napari_unet.models import Model, ModelSpec

__all__ = ["Workbench"]


class Workbench:
    """Carries out what the user asks for and keeps the session up to date.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
    session : Session
    on_training_event : callable, optional
        Called in the main thread for each step and score of a training.

    Attributes
    ----------
    image : Image or None
        The layer that is worked on.
    document : Document or None
        Labels of the chosen image; made with the first segmentation or stroke.
    shelf : Shelf
        Where the layers are put that it makes.
    jobs : Jobs
    choosing : Choosing
    segmenting : Segmenting
    correcting : Correcting
    learning : Learning
    versions : Versions
    classes : Classes
    tuning : Tuning
    estimating : Estimating
    forecast : Forecast
    results : Results
    opening : Opening
    projects : Projects
    inputs : Inputs
    importing : Importing
    problem : str or None
        Why the image cannot be used as it is, and what to do.
    sizing : Sizing
    trying : Trying
    """

    def __init__(
        self, viewer: ViewerModel, session: Session, on_training_event: Callable[[Any], None] | None = None
    ) -> None:
        self.viewer = viewer
        self.session = session
        self.image: Image | None = None
        self.document: Document | None = None
        self.jobs = Jobs(session, on_training_event or (lambda _: None))
        self.choosing = Choosing(self)
        self.segmenting = Segmenting(self)
        self.correcting = Correcting(self)
        self.learning = Learning(self)
        self.versions = Versions(self)
        self.classes = Classes(self)
        self.tuning = Tuning(self)
        self.estimating = Estimating(self)
        self.forecast = Forecast(self)
        self.results = Results(self)
        self.opening = Opening(self)
        self.projects = Projects(self)
        self.inputs = Inputs(self)
        self.importing = Importing(self)
        self.sizing = Sizing(self)
        self.trying = Trying(self)
        self.shelf = Shelf(viewer)
        self._keeping = Keeping(session)
        self._put_aside: set[tuple[int, str, str]] = set()
        self._documents: list[Document] = []
        self.problem: str | None = None
        self._closed = False
        model_imported.connect(self.choosing.choose)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    # --- image and model ---------------------------------------------------------------------------------

    def choose_image(self, name: str, axes: str | None = None) -> None:
        """Work on the image layer of that name; labels that were made for it come along."""
        self.correcting.put_tool_away()
        self.sizing.end()
        self.trying.end()
        self.session.image, self.session.axes, self.session.question = "", "", ""
        self.image = next((one for one in image_layers(self.viewer.layers) if one.name == name), None)
        self.problem = is_usable_image(self.image) if self.image is not None else None
        if self.image is not None and self.problem is None:
            if axes is not None:
                set_axes(self.image, axes)
            self.session.image = self.image.name
            self.session.axes = origin_of(self.image).axes
            self.problem = misplaced(self.session.axes)
        self.find_document()
        self.say_next()

    @property
    def model(self) -> Model | None:
        """The model in use; None for a new one that is not trained yet."""
        return self.choosing.model

    @property
    def spec(self) -> ModelSpec | None:
        """Spec of the model in use, trained or not."""
        return self.choosing.spec

    def inputs_changed(self) -> None:
        """Let the document see what feeds the model now."""
        self.tuning.forget_maps()
        if self.document is not None and self.spec is not None:
            self.document.feed(self.inputs.pixels(self.spec))

    @property
    def object_size(self) -> float | None:
        """Typical diameter of the objects in pixels, None where the image is not rescaled."""
        return self.session.object_size or None

    # --- document ---------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Bring back the labels that were taken out of the viewer."""
        self._put_aside.discard(self._key())
        if self.ensure_document() is not None:
            self._tell_restored()

    def answer(self, *, take_over: bool) -> None:
        """Take corrections over that were made on other pixels, or set them aside and begin anew."""
        if self.ensure_document("adopt" if take_over else "set aside") is not None:
            self.say_next()

    def ensure_document(self, when_changed: WhenChanged = "refuse") -> Document | None:
        """Return the document of the image, made where there is none yet, with what was corrected before."""
        if self.document is not None:
            for layer in self.document.layers:
                if layer not in self.viewer.layers:
                    self.shelf.add(layer)
            return self.document
        image, spec = self.image, self.spec
        if image is None or not self.session.image or self.problem is not None:
            self.session.say(self.problem or OPEN_AN_IMAGE, problem=True)
            return None
        kind, axes = kind_of(spec), self.session.axes
        store = self._keeping.open(image, axes, kind, when_changed)
        if self.session.question:
            self.session.say(self.session.question, problem=True)
            return None
        if store is not None:
            self.classes.meet(store)
            spec, kind = self.spec, kind_of(self.spec)
        others = [one for one in self._documents if one.image is image]
        for layer in (layer for one in others for layer in one.layers):
            layer.visible = False
        name = f"{image.name} {kind}" if others else image.name
        document: Document = (
            ClassDocument(image, axes, name, spec, store)
            if spec is not None and spec.task == "semantic"
            else ObjectDocument(image, axes, name, kind, store)
        )
        for layer in document.layers:
            self.shelf.add(layer)
        self.viewer.layers.selection.active = document.editable
        document.changed.connect(self.update_counts)
        self.correcting.follow(document)
        self._documents.append(document)
        self.document = document
        if self._key() in self._put_aside:
            self._put_aside.discard(self._key())
            if not document.is_large:
                document.clear()  # its labels were deleted: they come back with Restore, or with undo
        if store is not None and store.read_only:
            document.editable.editable = False
        self.inputs_changed()
        self.update_counts()
        return document

    def find_document(self) -> None:
        """Take up the document that was made for this image, these axes and this kind of object, if there is one."""
        image, spec = self.image, self.spec
        axes = self.session.axes
        fitting = [one for one in self._documents if one.image is image and one.axes == axes]
        self.document = next((one for one in fitting if self.classes.fits(one, spec)), None)
        self.classes.meet()
        self.inputs_changed()
        self.update_counts()
        if self.document is None and self.session.image and self.problem is None and image is not None:
            known = self._keeping.has_corrections(image, axes, kind_of(spec))
            self.session.restorable = known and self._key() in self._put_aside
            if known and not self.session.restorable:
                # napari is still busy with the layer that it tells us of
                QTimer.singleShot(0, partial(self._bring_back, self._key()))

    def has_labels(self, image: Image) -> bool:
        """Return whether labels were made for an image."""
        return any(one.image is image for one in self._documents)

    def has_corrections(self) -> bool:
        """Return whether the image was worked on before."""
        image = self.image
        return image is not None and self._keeping.has_corrections(image, self.session.axes, kind_of(self.spec))

    def labels_of(self, image: Image) -> list[Labels]:
        """Return the layers that were made for an image."""
        return [layer for one in self._documents if one.image is image for layer in one.layers]

    @property
    def documents(self) -> tuple[Document, ...]:
        """All whose layers are in the viewer."""
        return tuple(self._documents)

    def holds(self, document: Document) -> bool:
        """Return whether a document's layers are still there."""
        return document in self._documents

    def update_counts(self) -> None:
        """Tell the session what there is now."""
        document, session, spec = self.document, self.session, self.spec
        semantic = spec is not None and spec.task == "semantic"
        session.classes = tuple(one.name for one in spec.classes) if spec is not None and semantic else ()
        session.checked, session.corrected = document.counts() if document is not None else (0, 0)
        session.segmented = document is not None and document.has_labels
        session.objects = len(document.objects) if isinstance(document, ObjectDocument) else 0
        done = (document.decided, set(document.corrected)) if isinstance(document, ObjectDocument) else ([], set())
        session.so_far, session.good_enough = are_we_done(*done), is_good_enough(*done)
        session.restorable = session.restorable and document is None
        session.newer = self.learning.newer_corrections()
        session.versions = self.versions.offered()
        session.unfinished = self.learning.unfinished()
        if document is not None and document.store is not None:
            document.store.remember(
                checked=session.checked,
                corrected=session.corrected,
                model=session.model,
                object_size=session.object_size,
            )

    def say_next(self) -> None:
        """Say what to do next."""
        if self.problem is not None:
            self.session.say(self.problem, problem=True)
        elif not self.session.image:
            self.session.say(OPEN_AN_IMAGE)
        elif self.model is None:
            self.session.say(ask_for_truth(self.spec))
        elif not self.session.segmented:
            self.session.say(f"Press Segment to find {plural_kind(self.model.spec)}, or draw them yourself.")
        else:
            self.session.say("Correct what is wrong, confirm what is right, then press Train.")

    # --- life --------------------------------------------------------------------------------------------

    def close(self, *_: object) -> None:
        """Stop all work and let go of the viewer. Harmless when it is done already."""
        if self._closed:
            return
        self._closed = True
        model_imported.disconnect(self.choosing.choose)
        self.correcting.close()
        self.estimating.close()
        self.forecast.close()
        self.tuning.close()
        self.projects.close()
        self.importing.close()
        self.jobs.abandon()
        self.shelf.close()
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        for document in self._documents:
            self._let_go(document)
        self._documents.clear()

    # --- inner -------------------------------------------------------------------------------------------

    def _bring_back(self, key: tuple[int, str, str]) -> None:
        """Show what was corrected before, if that is still wanted."""
        if self._closed or self.document is not None or key != self._key() or key in self._put_aside:
            return
        if self.ensure_document() is not None:
            self._tell_restored()

    def _tell_restored(self) -> None:
        store, session = self.document.store if self.document is not None else None, self.session
        if store is None:
            return
        size = float(store.facts.get("object_size", 0.0))
        if size and not session.object_size:
            session.object_size = size
        back = f"Your corrections are back: {session.checked} checked. Go on, or press Train."
        session.say(f"{store.notice} {back}" if store.notice else back, problem=store.read_only)

    def _key(self) -> tuple[int, str, str]:
        """Return what tells one document from another, whether it is made yet or not."""
        return id(self.image), self.session.axes, kind_of(self.spec)

    def _let_go(self, document: Document) -> None:
        document.changed.disconnect(self.update_counts)
        self.correcting.let_go(document)
        document.close()
        self._keeping.close(document.store)

    def _on_layer_removed(self, event: Any) -> None:
        layer = event.value
        for room in (self.learning, self.sizing, self.trying, self.tuning, self.correcting):
            room.forget_layer(layer)
        for document in list(self._documents):
            if layer is not document.image and layer is not document.editable:
                continue
            self._documents.remove(document)
            self._let_go(document)
            for outline in document.outlines:
                self.shelf.take_down(outline)
            self.segmenting.forget(document)
            key = (id(document.image), document.axes, document.kind)
            if layer is document.image:
                self._put_aside = {one for one in self._put_aside if one[0] != id(layer)}
            elif document.has_labels:
                self._put_aside.add(key)
            if document is self.document:
                self.document = None
                self.session.tool = Tool.NONE
                self.update_counts()
                self.session.restorable = key in self._put_aside and document.store is not None

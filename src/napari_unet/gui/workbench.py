"""The image, the model and the labels that are worked on. Owns no widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from napari_unet.correction import are_we_done, is_good_enough
from napari_unet.gui.choosing import Choosing
from napari_unet.gui.classes import Classes
from napari_unet.gui.contributions import model_imported
from napari_unet.gui.correcting import Correcting
from napari_unet.gui.documents import Documents
from napari_unet.gui.estimating import Estimating
from napari_unet.gui.forecast import Forecast
from napari_unet.gui.hints import OPEN_AN_IMAGE, ask_for_truth, plural_kind
from napari_unet.gui.importing import Importing
from napari_unet.gui.inputs import Inputs
from napari_unet.gui.jobs import Jobs
from napari_unet.gui.layers import Shelf, image_layers, is_usable_image
from napari_unet.gui.learning import Learning
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.opening import Opening
from napari_unet.gui.origin import file_of, misplaced, origin_of, set_axes
from napari_unet.gui.outlining import Outlining
from napari_unet.gui.projects import Projects
from napari_unet.gui.results import Results
from napari_unet.gui.segmenting import Segmenting
from napari_unet.gui.sizing import Sizing
from napari_unet.gui.suiting import Suiting
from napari_unet.gui.trying import Trying
from napari_unet.gui.tuning import Tuning
from napari_unet.gui.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_unet.gui.document import Document
    from napari_unet.gui.session import Session
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
    documents : Documents
        Those of all images.
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
    suiting : Suiting
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
        self.suiting = Suiting(self)
        self.trying = Trying(self)
        self.shelf = Shelf(viewer)
        self.documents = Documents(self)
        self._outlining = Outlining(self)
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
        before = self.image
        self.image = next((one for one in image_layers(self.viewer.layers) if one.name == name), None)
        self.problem = is_usable_image(self.image) if self.image is not None else None
        if self.image is not None and self.problem is None:
            if axes is not None:
                set_axes(self.image, axes)
            self.session.image = self.image.name
            self.session.axes = origin_of(self.image).axes
            self.problem = misplaced(self.session.axes)
            self.sizing.follow(self.image)
            self.suiting.suit()
        self.documents.find()
        if before is not None and self.image is not None and before is not self.image:
            self._show_instead(before, self.image)
        self.say_next()

    def _show_instead(self, before: Image, now: Image) -> None:
        """Put an image out of sight, with its labels, where the one worked on now is of another file."""
        old, new = file_of(before), file_of(now)
        if not old or not new or old == new:
            return
        for image in image_layers(self.viewer.layers):
            if file_of(image) == old:
                for layer in (image, *self.documents.labels_of(image)):
                    layer.visible = False
            elif file_of(image) == new:
                image.visible = True
        if self.document is not None:
            flat = self.viewer.dims.ndisplay == 2
            for labels in self.document.layers:
                labels.visible = flat or labels not in self.document.outlines
        # napari may still be busy with the layer that it tells us of
        QTimer.singleShot(0, lambda: self._look_at(now))

    def _look_at(self, image: Image) -> None:
        if not self._closed and image is self.image and image in self.viewer.layers:
            self.viewer.reset_view(layers=[image])
            selection = self.viewer.layers.selection
            if selection.active is not None and not selection.active.visible:
                selection.active = self.document.editable if self.document is not None else image

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
                size_from=str(session.size_from),
                **({"channels": list(spec.channels), "spatial_dims": spec.spatial_dims} if spec is not None else {}),
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
            what = f"Press Segment to find {plural_kind(self.model.spec)}, or draw them yourself."
            self.session.say(f"{self.suiting.why} {what}".strip())
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
        self._outlining.close()
        self.projects.close()
        self.importing.close()
        self.jobs.abandon()
        self.shelf.close()
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self.documents.close()

    def _on_layer_removed(self, event: Any) -> None:
        layer = event.value
        for room in (
            self.learning,
            self.sizing,
            self.suiting,
            self.trying,
            self.tuning,
            self.correcting,
            self.documents,
        ):
            room.forget_layer(layer)

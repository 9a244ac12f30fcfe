"""What the user can ask for: image, model, segment, correct. Owns no widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.errors import UNetError
from napari_unet.gui.contributions import model_imported
from napari_unet.gui.document import ClassDocument, Document, ObjectDocument, kind_of
from napari_unet.gui.jobs import Jobs
from napari_unet.gui.layers import Shelf, axes_choices, image_layers, is_usable_image, view_box
from napari_unet.gui.learning import Learning, ask_for_truth
from napari_unet.gui.session import JobState, Scope, Session, Tool
from napari_unet.images import label_axes
from napari_unet.models import ClassSpec, ModelSpec, NetworkSpec, list_models, load_model
from napari_unet.prediction import PredictConfig, Prediction, iter_predict

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from threading import Event as StopFlag

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_unet.correction import Box
    from napari_unet.models import Model

__all__ = ["Workbench"]

_TOOL_MODES = {
    Tool.NONE: "pan_zoom",
    Tool.DRAW: "paint",
    Tool.BACKGROUND: "erase",
    Tool.DELETE: "pick",
    Tool.CONFIRM: "pick",
}
_TOOL_HINTS = {
    Tool.NONE: "Drag to move the image. Choose a tool to correct, or press Train.",
    Tool.DRAW: "Draw: a stroke on background makes a new object, one on an object extends it.",
    Tool.BACKGROUND: "Background: paint where nothing is; it erases what is there.",
    Tool.DELETE: "Delete: click an object that is not there.",
    Tool.CONFIRM: "Object is right: click objects that are outlined as they should be.",
}
_CLASS_TOOL_HINTS = {
    Tool.DRAW: "Paint the class that is chosen below the tools.",
    Tool.BACKGROUND: "Erase: forget what was painted here.",
}
_CLASS_COLORS = ("#ffcc00", "#ff453a", "#0a84ff", "#bf5af2", "#ff9f0a", "#64d2ff")
_OPEN_AN_IMAGE = "Open an image: File > Open, or File > Open Sample > U-Net."


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
    model : Model or None
        The model in use; None for a new one that is not trained yet.
    shelf : Shelf
        Where the layers are put that it makes.
    jobs : Jobs
    learning : Learning
    """

    def __init__(
        self, viewer: ViewerModel, session: Session, on_training_event: Callable[[Any], None] | None = None
    ) -> None:
        self.viewer = viewer
        self.session = session
        self.image: Image | None = None
        self.document: Document | None = None
        self.model: Model | None = None
        self.jobs = Jobs(session, on_training_event or (lambda _: None))
        self.learning = Learning(self)
        self.shelf = Shelf(viewer)
        self._draft: ModelSpec | None = None
        self._documents: list[Document] = []
        self._segmenting: Document | None = None
        self._problem: str | None = None
        self._closed = False
        model_imported.connect(self.choose_model)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    # --- image and model ---------------------------------------------------------------------------------

    def choose_image(self, name: str, axes: str | None = None) -> None:
        """Work on the image layer of that name; labels that were made for it come along."""
        self._put_tool_away()
        self.session.image, self.session.axes = "", ""
        self.image = next((one for one in image_layers(self.viewer.layers) if one.name == name), None)
        self._problem = is_usable_image(self.image) if self.image is not None else None
        if self.image is not None and self._problem is None:
            self.session.image = self.image.name
            self.session.axes = axes or axes_choices(self.image)[0]
        self._find_document()
        self._say_next()

    def choose_model(self, name: str) -> None:
        """Use the model of that name."""
        if name == self.session.model and self.spec is not None:
            return
        try:
            self.use_model(load_model(name), name)
        except UNetError as error:
            self.session.say(str(error), problem=True)

    def use_model(self, model: Model, name: str | None = None) -> None:
        """Use a model that is loaded already."""
        self._put_tool_away()
        self.model, self._draft = model, None
        self.session.model = name or model.spec.name
        self._find_document()
        self._say_next()

    def new_model(self, name: str, *, task: str, classes: tuple[str, ...], spatial_dims: int) -> bool:
        """Start a model from nothing: makes the empty layer and selects the brush. False if that cannot be."""
        name = name.strip()
        problem = None
        if not name or any(letter in name for letter in '/\\:*?"<>|'):
            problem = "Give the new model a name of letters and digits."
        elif name in list_models():
            problem = f"There is a model {name!r} already. Choose another name."
        elif spatial_dims == 3 and "Z" not in self.session.axes:
            problem = "A 3-D model needs a stack: choose an image with Z."
        if problem is not None:
            self.session.say(problem, problem=True)
            return False
        self._put_tool_away()
        colors = (_CLASS_COLORS[n % len(_CLASS_COLORS)] for n in range(len(classes)))
        self._draft = ModelSpec.model_validate(
            {
                "name": name,
                "task": task,
                "classes": [ClassSpec(name=one, color=color) for one, color in zip(classes, colors, strict=True)],
                "network": NetworkSpec.model_validate({"spatial_dims": spatial_dims}),
            }
        )
        self.model = None
        self.session.model = name
        self._find_document()
        if self._ensure_document() is not None:
            self.choose_tool(Tool.DRAW)
            self.session.say(ask_for_truth(self.spec))
        return True

    @property
    def spec(self) -> ModelSpec | None:
        """Spec of the model in use, trained or not."""
        return self.model.spec if self.model is not None else self._draft

    @property
    def object_size(self) -> float | None:
        """Typical diameter of the objects in pixels, None where the image is not rescaled."""
        return self.session.object_size or None

    # --- segment -----------------------------------------------------------------------------------------

    def segment(self, scope: Scope = Scope.IMAGE) -> None:
        """Predict the image, the slice or the view, in the background."""
        model = self.model
        if self.session.prediction is not JobState.IDLE:
            self.session.say("Already segmenting. Cancel it first.")
            return
        if model is None:
            self.session.say(f"This model has not learned anything yet. {ask_for_truth(self.spec)}", problem=True)
            return
        document = self._ensure_document()
        if document is None:
            return
        box = self.box(scope)
        self._segmenting = document

        def take_over(result: Prediction) -> None:
            if document not in self._documents:
                self.session.say("The layer was removed while it was segmented. Choose an image and segment again.")
                return
            document.fill(result.labels, box)
            self.session.segmented = True
            self._tell_result(document, model.spec)

        self.jobs.start(
            "prediction",
            lambda stop: self.predict(document, model, box, stop),
            on_result=take_over,
            message="Segmenting...",
        )

    def cancel(self) -> None:
        """Stop the prediction; the labels stay as they are."""
        self.jobs.stop("prediction", "Cancelling...")

    def predict(self, document: Document, model: Model, box: Box, stop: StopFlag) -> Generator[Any, None, Prediction]:
        """Return the work of predicting a box of a document; run it in a job."""
        result = yield from iter_predict(
            document.image.data,
            model,
            axes=document.axes,
            region=dict(zip(label_axes(document.axes), box, strict=True)),
            normalization=document.normalization(model.spec),
            config=PredictConfig(object_diameter_px=self.object_size),
            stop=stop,
        )
        return result

    def box(self, scope: Scope) -> Box:
        """Return what a scope is, in voxels of the labels of the document."""
        if self.document is None:
            return ()
        layer = self.document.editable
        if scope is Scope.IMAGE:
            return tuple(slice(0, n) for n in layer.data.shape)
        return view_box(layer, tuple(self.viewer.dims.current_step), whole_plane=scope is Scope.SLICE)

    # --- correct -----------------------------------------------------------------------------------------

    def choose_tool(self, tool: Tool) -> None:
        """Make a tool act in the canvas; the one in use again puts it away."""
        document = self._ensure_document()
        if document is None:
            return
        tool = Tool.NONE if tool is self.session.tool else tool
        self.viewer.layers.selection.active = document.editable
        self.session.tool = tool
        document.editable.mode = _TOOL_MODES[tool]
        hints = _TOOL_HINTS | (_CLASS_TOOL_HINTS if isinstance(document, ClassDocument) else {})
        self.session.say(hints[tool])

    def choose_class(self, number: int) -> None:
        """Paint a class of a semantic model next, counted from 0 = background."""
        document = self._ensure_document()
        if isinstance(document, ClassDocument):
            document.editable.selected_label = number + 1
            if self.session.tool is not Tool.DRAW:
                self.choose_tool(Tool.DRAW)

    def selected_class(self) -> int:
        """Return the class that is painted next, 0 = background."""
        document = self.document
        return max(0, int(document.editable.selected_label) - 1) if isinstance(document, ClassDocument) else 0

    def complete(self, scope: Scope = Scope.VIEW) -> None:
        """Declare everything in the view, the slice or the image right."""
        document = self.document
        if not isinstance(document, ObjectDocument):
            self.session.say("Segment the image first, then say where it is right.", problem=True)
        elif self.viewer.dims.ndisplay != 2:
            self.session.say("Switch to the 2-D display: a view of it can be complete.", problem=True)
        else:
            count = document.complete(self.box(scope))
            self.session.say(f"{count} objects are right and nothing is missing here. Go on, or press Train.")

    def objects_in(self, scope: Scope) -> int | None:
        """Return how many objects are in the view, slice or image; None where it cannot be declared complete."""
        if not isinstance(self.document, ObjectDocument) or self.viewer.dims.ndisplay != 2:
            return None
        return self.document.object_count(self.box(scope))

    def undo(self) -> None:
        """Take back the last change."""
        done = self.document is not None and self.document.undo()
        self.session.say("Taken back." if done else "There is nothing to take back.")

    def redo(self) -> None:
        """Make the last undone change again."""
        done = self.document is not None and self.document.redo()
        self.session.say("Made again." if done else "There is nothing to make again.")

    # --- life --------------------------------------------------------------------------------------------

    def close(self, *_: object) -> None:
        """Stop all work and let go of the viewer. Harmless when it is done already."""
        if self._closed:
            return
        self._closed = True
        model_imported.disconnect(self.choose_model)
        self.jobs.abandon()
        self.shelf.close()
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)
        for document in self._documents:
            self._let_go(document)
        self._documents.clear()

    # --- inner -------------------------------------------------------------------------------------------

    def _find_document(self) -> None:
        """Take up the document that was made for this image, these axes and this kind of object, if there is one."""
        image, spec = self.image, self.spec
        wanted = (self.session.axes, kind_of(spec))
        fitting = [one for one in self._documents if one.image is image and (one.axes, one.kind) == wanted]
        self.document = fitting[0] if fitting else None
        self.session.segmented = self.document is not None and bool(self.document.labels.any())
        self._update_counts()

    def _ensure_document(self) -> Document | None:
        """Return the document of the image, made where there is none yet."""
        if self.document is not None:
            for layer in self.document.layers:
                if layer not in self.viewer.layers:
                    self.shelf.add(layer)
            return self.document
        image, spec = self.image, self.spec
        if image is None or not self.session.image:
            self.session.say(_OPEN_AN_IMAGE, problem=True)
            return None
        others = [one for one in self._documents if one.image is image]
        for layer in (layer for one in others for layer in one.layers):
            layer.visible = False
        kind = kind_of(spec)
        name = f"{image.name} {kind}" if others else image.name
        document: Document = (
            ClassDocument(image, self.session.axes, name, spec)
            if spec is not None and spec.task == "semantic"
            else ObjectDocument(image, self.session.axes, name, kind)
        )
        for layer in document.layers:
            self.shelf.add(layer)
        self.viewer.layers.selection.active = document.editable
        document.changed.connect(self._update_counts)
        document.editable.mouse_drag_callbacks.insert(0, self._on_click)
        document.editable.events.mode.connect(self._on_mode)
        self._documents.append(document)
        self.document = document
        return document

    def _let_go(self, document: Document) -> None:
        document.changed.disconnect(self._update_counts)
        document.editable.mouse_drag_callbacks.remove(self._on_click)
        document.editable.events.mode.disconnect(self._on_mode)
        document.close()

    def _update_counts(self) -> None:
        checked, corrected = self.document.counts() if self.document is not None else (0, 0)
        self.session.checked, self.session.corrected = checked, corrected

    def _put_tool_away(self) -> None:
        self.session.tool = Tool.NONE
        if self.document is not None:
            self.document.editable.mode = _TOOL_MODES[Tool.NONE]

    def _say_next(self) -> None:
        """Say what to do next."""
        if self._problem is not None:
            self.session.say(self._problem, problem=True)
        elif not self.session.image:
            self.session.say(_OPEN_AN_IMAGE)
        elif self.model is None:
            self.session.say(ask_for_truth(self.spec))
        elif not self.session.segmented:
            self.session.say(f"Press Segment to find {_kinds(self.model.spec)}, or draw them yourself.")
        else:
            self.session.say("Correct what is wrong, confirm what is right, then press Train.")

    def _tell_result(self, document: Document, spec: ModelSpec) -> None:
        if document.normalization(spec).is_constant:
            self.session.say("This image has the same value everywhere: there is nothing to find.", problem=True)
        elif isinstance(document, ObjectDocument):
            count = document.object_count((slice(None),) * document.labels.ndim)
            found = f"{count} objects. Correct what is wrong, confirm what is right, then press Train."
            self.session.say(found if count else f"No objects found. {ask_for_truth(self.spec)}")
        else:
            self.session.say("Segmented. Paint where it is wrong, then press Train.")

    def _on_mode(self) -> None:
        """Follow napari's own mode buttons."""
        if self.document is None:
            return
        mode = str(self.document.editable.mode)
        if mode != _TOOL_MODES[self.session.tool]:
            self.session.tool = {"paint": Tool.DRAW, "erase": Tool.BACKGROUND}.get(mode, Tool.NONE)

    def _on_click(self, layer: Labels, event: Any) -> None:
        document = self.document
        clicks = self.session.tool in (Tool.DELETE, Tool.CONFIRM) and event.button == 1
        if not clicks or not isinstance(document, ObjectDocument) or layer is not document.editable:
            return
        number = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        if not number:
            self.session.say("There is no object here. Click inside one.")
        elif self.session.tool is Tool.DELETE:
            document.delete(int(number))
            self.session.say("Deleted. Control-Z takes it back.")
        else:
            document.confirm(int(number))
            self.session.say("Right, and so it stays. Click the next one, or press Train.")

    def _on_layer_removed(self, event: Any) -> None:
        layer = event.value
        self.learning.forget_layer(layer)
        for document in list(self._documents):
            if layer is not document.image and layer is not document.editable:
                continue
            self._documents.remove(document)
            self._let_go(document)
            for outline in document.outlines:
                self.shelf.take_down(outline)
            in_use = document in (self._segmenting, self.document)
            if document is self.document:
                self.document = None
                self.session.tool, self.session.segmented = Tool.NONE, False
                self._update_counts()
            if in_use:
                self.jobs.stop("prediction", "The layer was removed: cancelling...")


def _kinds(spec: ModelSpec) -> str:
    """Return what a model finds, in the plural where it is one kind of object."""
    kind = kind_of(spec)
    if spec.task == "semantic" or (kind.endswith("s") and kind != "nucleus"):
        return kind
    return {"nucleus": "nuclei"}.get(kind, f"{kind}s")

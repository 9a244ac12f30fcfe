"""The tools, and what they do to the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.gui.class_document import ClassDocument
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.session import Scope, Tool

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench

__all__ = ["Correcting"]

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


class Correcting:
    """The second step of the loop.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session

    def follow(self, document: Document) -> None:
        """Act on clicks and modes of a document's layer."""
        document.editable.mouse_drag_callbacks.insert(0, self._on_click)
        document.editable.events.mode.connect(self._on_mode)

    def let_go(self, document: Document) -> None:
        """Leave a document's layer to itself."""
        document.editable.mouse_drag_callbacks.remove(self._on_click)
        document.editable.events.mode.disconnect(self._on_mode)

    def choose_tool(self, tool: Tool) -> None:
        """Make a tool act in the canvas; the one in use again puts it away."""
        document = self._workbench.ensure_document()
        if document is None:
            return
        tool = Tool.NONE if tool is self._session.tool else tool
        self._workbench.viewer.layers.selection.active = document.editable
        self._session.tool = tool
        document.editable.mode = _TOOL_MODES[tool]
        hints = _TOOL_HINTS | (_CLASS_TOOL_HINTS if isinstance(document, ClassDocument) else {})
        self._session.say(hints[tool])

    def choose_class(self, number: int) -> None:
        """Paint a class of a semantic model next, counted from 0 = background."""
        document = self._workbench.ensure_document()
        if isinstance(document, ClassDocument):
            document.editable.selected_label = number + 1
            if self._session.tool is not Tool.DRAW:
                self.choose_tool(Tool.DRAW)

    def selected_class(self) -> int:
        """Return the class that is painted next, 0 = background."""
        document = self._workbench.document
        return max(0, int(document.editable.selected_label) - 1) if isinstance(document, ClassDocument) else 0

    def complete(self, scope: Scope = Scope.VIEW) -> None:
        """Declare everything in the view, the slice or the image right."""
        document = self._workbench.document
        if not isinstance(document, ObjectDocument):
            self._session.say("Segment the image first, then say where it is right.", problem=True)
        elif self._workbench.viewer.dims.ndisplay != 2:
            self._session.say("Switch to the 2-D display: a view of it can be complete.", problem=True)
        else:
            count = document.complete(self._workbench.segmenting.box(scope))
            self._session.say(f"{count} objects are right and nothing is missing here. Go on, or press Train.")

    def objects_in(self, scope: Scope) -> int | None:
        """Return how many objects are in the view, slice or image; None where it cannot be declared complete."""
        if not isinstance(self._workbench.document, ObjectDocument) or self._workbench.viewer.dims.ndisplay != 2:
            return None
        return self._workbench.document.object_count(self._workbench.segmenting.box(scope))

    def undo(self) -> None:
        """Take back the last change."""
        done = self._workbench.document is not None and self._workbench.document.undo()
        self._session.say("Taken back." if done else "There is nothing to take back.")

    def redo(self) -> None:
        """Make the last undone change again."""
        done = self._workbench.document is not None and self._workbench.document.redo()
        self._session.say("Made again." if done else "There is nothing to make again.")

    def put_tool_away(self) -> None:
        """Let the mouse move the image again."""
        self._session.tool = Tool.NONE
        if self._workbench.document is not None:
            self._workbench.document.editable.mode = _TOOL_MODES[Tool.NONE]

    def _on_mode(self) -> None:
        """Follow napari's own mode buttons."""
        if self._workbench.document is None:
            return
        mode = str(self._workbench.document.editable.mode)
        if mode != _TOOL_MODES[self._session.tool]:
            self._session.tool = {"paint": Tool.DRAW, "erase": Tool.BACKGROUND}.get(mode, Tool.NONE)

    def _on_click(self, layer: Labels, event: Any) -> None:
        document = self._workbench.document
        clicks = self._session.tool in (Tool.DELETE, Tool.CONFIRM) and event.button == 1
        if not clicks or not isinstance(document, ObjectDocument) or layer is not document.editable:
            return
        number = layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        if not number:
            self._session.say("There is no object here. Click inside one.")
        elif self._session.tool is Tool.DELETE:
            document.delete(int(number))
            self._session.say("Deleted. Control-Z takes it back.")
        else:
            document.confirm(int(number))
            self._session.say("Right, and so it stays. Click the next one, or press Train.")

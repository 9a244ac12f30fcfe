"""The tools, and what they do to the document."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_unet.gui.class_document import ClassDocument
from napari_unet.gui.clicking import Clicking
from napari_unet.gui.document import bind_undo_keys
from napari_unet.gui.highlight import Highlight
from napari_unet.gui.hints import how_many
from napari_unet.gui.in_pieces import changed_in_pieces, how_far
from napari_unet.gui.keys import Keys
from napari_unet.gui.looking import Looking
from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.proposing import Proposing
from napari_unet.gui.session import JobState, Scope, Tool
from napari_unet.gui.tools import ACTION_KEYS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.correction import Box
    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench

__all__ = ["Correcting"]

_NO_TOOL = "Drag to move the image. Choose a tool to correct, or press Train."
_BUSY = "Wait until what is running has ended, or cancel it."
_AGAIN = ("Made again.", "There is nothing to make again.")
_OTHER_KEY = {"Control-Z": "Control-Shift-Z", "Control-Shift-Z": "Control-Z"}
_MODES = {Tool.NONE: "pan_zoom"} | {tool: info.mode for tool, info in TOOLS.items()}
_CLASS_HINTS = {
    Tool.DRAW: "Paint the class that is chosen below the tools.",
    Tool.BACKGROUND: "Erase: forget what was painted here.",
}
_STATUS_BRUSHES = (Tool.IGNORE, Tool.FORGET)
_BRUSH = 0.25
"""Width of a brush, in diameters of a typical object."""
_NARROWEST, _WIDEST = 3, 40


class Correcting:
    """The second step of the loop.

    Parameters
    ----------
    workbench : Workbench

    Attributes
    ----------
    proposing : Proposing
    looking : Looking
    scope : Scope
        What is declared complete by the button and its key.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._highlight = Highlight(workbench)
        self.proposing = Proposing(workbench, self._highlight)
        self._clicking = Clicking(workbench, self.proposing, self._highlight)
        self.looking = Looking(workbench, self._highlight)
        self.scope = Scope.VIEW
        self._brushes: WeakKeyDictionary[Document, float] = WeakKeyDictionary()
        self._keys = Keys(workbench.viewer)
        for tool, info in TOOLS.items():
            self._keys.bind(info.key, partial(self.choose_tool, tool))
        acts: dict[str, Callable[[], None]] = {
            "complete": self.complete,
            "next": self.looking.next,
            "right_next": self.looking.confirm,
            "larger": partial(self.proposing.walk, larger=True),
            "smaller": partial(self.proposing.walk, larger=False),
            "undo": self.undo,
            "redo": self.redo,
        }
        for name, act in acts.items():
            self._keys.bind(ACTION_KEYS[name], act)

        workbench.viewer.dims.events.ndisplay.connect(self._on_display)

    def follow(self, document: Document) -> None:
        """Act on clicks and modes of a document's layer."""
        layer = document.editable
        self._brushes[document] = layer.brush_size
        layer.mouse_drag_callbacks.insert(0, self._clicking.on_press)
        layer.mouse_move_callbacks.append(self.proposing.on_move)
        layer.mouse_wheel_callbacks.append(self.proposing.on_wheel)
        layer.events.mode.connect(self._on_mode)
        document.edited.connect(self._clicking.flag)
        document.edited.connect(self.looking.reset)
        for one in (layer, *document.outlines):  # the keys say what they did, as the buttons do
            bind_undo_keys(one, partial(self._undo, document), partial(self._redo, document))

    def let_go(self, document: Document) -> None:
        """Leave a document's layer to itself."""
        layer = document.editable
        layer.mouse_drag_callbacks.remove(self._clicking.on_press)
        layer.mouse_move_callbacks.remove(self.proposing.on_move)
        layer.mouse_wheel_callbacks.remove(self.proposing.on_wheel)
        layer.events.mode.disconnect(self._on_mode)
        document.edited.disconnect(self._clicking.flag)
        document.edited.disconnect(self.looking.reset)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        self._highlight.forget_layer(layer)

    def close(self) -> None:
        """Give the keys back."""
        self._keys.release()
        self._workbench.viewer.dims.events.ndisplay.disconnect(self._on_display)
        self.proposing.end()
        self.looking.close()
        self._highlight.close()

    # --- tools -------------------------------------------------------------------------------------------

    def choose_tool(self, tool: Tool) -> None:
        """Make a tool act in the canvas; the one in use again puts it away."""
        document = self._workbench.documents.ensure()
        if document is None:
            return
        problem = self._why_not(document, tool)
        if problem:
            self._session.say(problem, problem=True)
            return
        layer, selection = document.editable, self._workbench.viewer.layers.selection
        if tool is self._session.tool and selection.active == layer:
            tool = Tool.NONE
        selection.active = layer
        self._end_tool()
        self._session.tool = tool
        if tool is Tool.PROPOSE and isinstance(document, ObjectDocument):
            self.proposing.begin(document)
        self._suit_brush(document)
        layer.mode = _MODES[tool]
        if _MODES[tool] == "pick":
            layer.cursor = "circle" if tool in _STATUS_BRUSHES else "cross"
            layer.brush_size = layer.brush_size  # the size of the cursor follows
        hints = _CLASS_HINTS if isinstance(document, ClassDocument) else {}
        self._session.say(hints.get(tool) or (TOOLS[tool].hint if tool in TOOLS else _NO_TOOL))

    def _suit_brush(self, document: Document) -> None:
        """Make the brush as wide as suits the objects, unless the user has set it."""
        spec, layer = self._workbench.spec, document.editable
        width = self._workbench.object_size or (spec.object_diameter_px if spec is not None else None)
        if width is not None and layer.brush_size == self._brushes.get(document):
            layer.brush_size = min(_WIDEST, max(_NARROWEST, round(_BRUSH * width)))
            self._brushes[document] = layer.brush_size

    def put_tool_away(self) -> None:
        """Let the mouse move the image again; another image or model comes."""
        self._end_tool()
        self.looking.reset()
        self._highlight.take_down()
        self._session.tool = Tool.NONE
        if self._workbench.document is not None:
            self._workbench.document.editable.mode = _MODES[Tool.NONE]

    def offers(self, tool: Tool) -> bool:
        """Return whether a tool has something to work on with this image and model."""
        spec = self._workbench.spec
        if spec is not None and spec.task == "semantic":
            return tool in _CLASS_HINTS
        return "Z" in self._session.axes or not TOOLS[tool].for_stacks

    def choose_class(self, number: int) -> None:
        """Paint a class of a semantic model next, counted from 0 = background."""
        document = self._workbench.documents.ensure()
        if isinstance(document, ClassDocument):
            document.editable.selected_label = number + 1
            if self._session.tool is not Tool.DRAW:
                self.choose_tool(Tool.DRAW)

    def selected_class(self) -> int:
        """Return the class that is painted next, 0 = background."""
        document = self._workbench.document
        return max(0, int(document.editable.selected_label) - 1) if isinstance(document, ClassDocument) else 0

    # --- complete ----------------------------------------------------------------------------------------

    def complete(self, scope: Scope | None = None) -> None:
        """Declare everything in the view, the slice or the image right."""
        document = self._workbench.document
        if not isinstance(document, ObjectDocument):
            self._session.say("Segment the image first, then say where it is right.", problem=True)
        elif self._workbench.viewer.dims.ndisplay != 2:
            self._session.say("Switch to the 2-D display: a view of it can be complete.", problem=True)
        elif document.store is not None and document.store.read_only:
            self._session.say(document.store.notice, problem=True)
        else:
            box = self._workbench.segmenting.box(scope or self.scope)
            if document.is_too_much(box):
                self._complete_in_pieces(document, box)
            else:
                self._tell_complete(document.complete(box))

    def _complete_in_pieces(self, document: ObjectDocument, box: Box) -> None:
        """Declare more complete than memory can hold twice."""
        session, bench = self._session, self._workbench
        if session.prediction is not JobState.IDLE:
            session.say(_BUSY, problem=True)
            return
        count = document.object_count(box)

        def done(whole: bool) -> None:
            if whole and document in bench.documents:
                self._tell_complete(count)
            elif not whole:
                session.say(f"{how_far(document)} Complete again checks the rest.")

        bench.jobs.start(
            "prediction",
            lambda stop: changed_in_pieces(document, lambda: document.complete_in_pieces(box), "Checking", stop),
            on_result=done,
            message="Checking...",
        )

    def _tell_complete(self, count: int) -> None:
        found = f"{how_many(count)} {'is' if count == 1 else 'are'} right and nothing is missing here"
        self._session.say(f"{found if count else 'All of this is background'}. Go on, or press Train.")

    def objects_in(self, scope: Scope) -> int | None:
        """Return how many objects are in the view, slice or image; None where it cannot be declared complete."""
        if not isinstance(self._workbench.document, ObjectDocument) or self._workbench.viewer.dims.ndisplay != 2:
            return None
        return self._workbench.document.object_count(self._workbench.segmenting.box(scope))

    # --- undo --------------------------------------------------------------------------------------------

    def undo(self) -> None:
        """Take back the last change."""
        self._undo(self._workbench.document)

    def redo(self) -> None:
        """Make the last undone change again."""
        self._redo(self._workbench.document)

    def _undo(self, document: Document | None) -> None:
        self._walk(document, back=True)

    def _redo(self, document: Document | None) -> None:
        self._walk(document, back=False)

    def _walk(self, document: Document | None, *, back: bool) -> None:
        done, none = ("Taken back.", "There is nothing to take back.") if back else _AGAIN
        if document is not None and document.takes_long(back=back):
            self._walk_in_pieces(document, done, back=back)
            return
        if document is not None and document.is_busy:
            self._session.say(_BUSY, problem=True)
            return
        walked = document is not None and (document.undo() if back else document.redo())
        self._session.say(done if walked else none)

    def _walk_in_pieces(self, document: Document, done: str, *, back: bool) -> None:
        """Take back, or make again, what was done to all of a large image."""
        session, bench = self._session, self._workbench
        if session.prediction is not JobState.IDLE:
            session.say(_BUSY, problem=True)
            return
        doing, key = ("Taking back", "Control-Z") if back else ("Making again", "Control-Shift-Z")

        def tell(whole: bool) -> None:
            left = f"Cancelled with {document.filled:.0%} of it {'taken back' if back else 'made again'}."
            session.say(done if whole else f"{left} {key} goes on, {_OTHER_KEY[key]} goes the way it came.")

        bench.jobs.start(
            "prediction",
            lambda stop: changed_in_pieces(document, lambda: document.walk_in_pieces(back=back), doing, stop),
            on_result=tell,
            message=f"{doing}...",
        )

    # --- inner -------------------------------------------------------------------------------------------

    def _why_not(self, document: Document, tool: Tool) -> str:
        """Return why a tool cannot be used here; empty if it can."""
        if document.store is not None and document.store.read_only:
            return document.store.notice
        if tool is Tool.NONE:
            return ""
        if document.is_busy:
            return "The labels are being changed. Correct them when that has ended, or cancel it."
        if self.offers(tool):
            flat = self._workbench.viewer.dims.ndisplay == 2 or not TOOLS[tool].in_planes
            return "" if flat else f"{TOOLS[tool].text} works in planes. Switch to the 2-D display."
        if isinstance(document, ClassDocument):
            return f"{TOOLS[tool].text} is a tool for objects. Classes are painted and erased."
        return f"{TOOLS[tool].text} needs a stack: this image has no Z. If it has, set its axes above."

    def _end_tool(self) -> None:
        self.proposing.end()
        self._clicking.forget()

    def _on_display(self) -> None:
        """Put away a tool that the display has no use for."""
        document, tool = self._workbench.document, self._session.tool
        if document is None or tool is Tool.NONE:
            return
        problem = self._why_not(document, tool)
        if problem:
            self._end_tool()
            self._session.tool = Tool.NONE
            document.editable.mode = _MODES[Tool.NONE]
            self._session.say(problem, problem=True)

    def _on_mode(self) -> None:
        """Follow napari's own mode buttons."""
        if self._workbench.document is None:
            return
        mode = str(self._workbench.document.editable.mode)
        if mode != _MODES[self._session.tool]:
            self._end_tool()
            self._session.tool = {"paint": Tool.DRAW, "erase": Tool.BACKGROUND}.get(mode, Tool.NONE)

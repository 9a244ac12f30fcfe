"""Step 2: correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QPushButton, QWidget

from napari_unet.gui.session import Scope, Tool
from napari_unet.gui.widgets import Section, button, row, set_choices, wrapped_label

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["CorrectPanel"]


class CorrectPanel(Section):
    """The tools, and what is checked so far."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("2  Correct")
        self._workbench = workbench
        self._session = workbench.session
        self.tools = {
            Tool.DRAW: self._tool("Draw", Tool.DRAW, "Draw a new object, or extend the one where the stroke starts."),
            Tool.BACKGROUND: self._tool(
                "Background",
                Tool.BACKGROUND,
                "Erase, and tell that nothing is here; also where nothing was found.",
            ),
            Tool.DELETE: self._tool("Delete", Tool.DELETE, "Click an object that is not there."),
            Tool.CONFIRM: self._tool(
                "Object is right", Tool.CONFIRM, "Click objects that are outlined as they should be."
            ),
        }
        self.classes = QComboBox()
        self.classes.setObjectName("classes")
        self.classes.setToolTip("The class to paint next.")
        self.complete = button("View is complete", self._complete_view, name="complete")
        self.complete_more = QComboBox()
        self.complete_more.setObjectName("complete_scope")
        self.complete_more.addItems(["view", "slice", "image"])
        self.undo = button(
            "Undo", workbench.correcting.undo, name="undo", tooltip="Take back the last change (Control-Z)."
        )
        self.redo = button("Redo", workbench.correcting.redo, name="redo", tooltip="Make it again (Control-Shift-Z).")
        self.counts = wrapped_label("counts")
        self._object_rows: list[QWidget] = [
            row(self.tools[Tool.DELETE], self.tools[Tool.CONFIRM], stretch=(1, 2)),
            row(self.complete, self.complete_more, stretch=(3, 1)),
        ]
        self.add(row(self.tools[Tool.DRAW], self.tools[Tool.BACKGROUND], stretch=(1, 1)))
        self.add(self.classes)
        for one in self._object_rows:
            self.add(one)
        self.add(row(self.undo, self.redo, self.counts, stretch=(1, 1, 4)))
        self.classes.activated.connect(workbench.correcting.choose_class)
        self.complete_more.currentTextChanged.connect(self._count_soon)
        # the camera moves many times a second; the count follows when it rests
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(150)
        self._timer.timeout.connect(self._render_complete)
        for name in ("image", "model", "tool", "checked", "corrected", "segmented"):
            getattr(self._session.events, name).connect(self._render)
        workbench.viewer.dims.events.current_step.connect(self._count_soon)
        workbench.viewer.dims.events.ndisplay.connect(self._count_soon)
        self._camera = workbench.viewer.scene.camera
        self._camera.events.connect(self._count_soon)
        self._render()

    def close_connections(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        self._workbench.viewer.dims.events.current_step.disconnect(self._count_soon)
        self._workbench.viewer.dims.events.ndisplay.disconnect(self._count_soon)
        self._camera.events.disconnect(self._count_soon)

    def _tool(self, text: str, tool: Tool, tooltip: str) -> QPushButton:
        return button(text, lambda: self._choose(tool), name=f"tool_{tool.value}", tooltip=tooltip, checkable=True)

    def _choose(self, tool: Tool) -> None:
        self._workbench.correcting.choose_tool(tool)
        self._render()

    def _complete_view(self) -> None:
        self._workbench.correcting.complete(Scope(self.complete_more.currentText()))

    def _count_soon(self) -> None:
        self._timer.start()

    def _render(self) -> None:
        session, spec = self._session, self._workbench.spec
        semantic = spec is not None and spec.task == "semantic"
        for tool, one in self.tools.items():
            one.setEnabled(bool(session.image))
            one.setChecked(session.tool is tool)
        self.tools[Tool.BACKGROUND].setText("Erase" if semantic else "Background")
        self.classes.setVisible(semantic)
        if semantic and spec is not None:
            names = ["background", *(one.name for one in spec.classes)]
            selected = self._workbench.correcting.selected_class()
            set_choices(self.classes, names, names[min(selected, len(names) - 1)])
        for holder in self._object_rows:
            holder.setVisible(not semantic)
        unit = "pixels painted" if semantic else "checked"
        self.counts.setText(f"{session.checked} {unit}" + ("" if semantic else f", {session.corrected} corrected"))
        self._count_soon()

    def _render_complete(self) -> None:
        scope = self.complete_more.currentText()
        count = self._workbench.correcting.objects_in(Scope(scope))
        self.complete.setEnabled(count is not None)
        what = scope.capitalize()
        self.complete.setText(f"{what} is complete" + (f": {count} objects" if count is not None else ""))
        self.complete.setToolTip(
            f"Every object in the {scope} is right and nothing is missing: learn its empty places too."
            if count is not None
            else "Segment or draw first; not in the 3-D display."
        )

"""Step 2: correct."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QComboBox, QGridLayout, QPushButton, QWidget

from napari_unet.correction import tell_counts
from napari_unet.gui.class_chooser import ClassChooser
from napari_unet.gui.hints import how_many
from napari_unet.gui.session import Scope, Tool
from napari_unet.gui.sizing import ENOUGH_OBJECTS
from napari_unet.gui.tones import LINK
from napari_unet.gui.tools import ACTION_KEYS, TOOLS
from napari_unet.gui.widgets import Section, button, narrow, row, set_choices, wrapped_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_unet.gui.workbench import Workbench

__all__ = ["CorrectPanel"]

_COLUMNS = 3
_PADDING = 10
"""Pixels of a button beside its text."""
_FOLDER = "Segment the folder"


class CorrectPanel(Section):
    """The tools, what is checked so far, and where to look next."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__("2  Correct")
        self._workbench = workbench
        self._session = workbench.session
        correcting = workbench.correcting
        self.tools = {
            tool: button(
                info.text,
                partial(self._choose, tool),
                name=f"tool_{tool.value}",
                tooltip=f"{info.does} Key: {_spelled(info.key)}.",
                checkable=True,
            )
            for tool, info in TOOLS.items()
        }
        self.classes = ClassChooser(workbench)
        self.complete = button("View is complete", correcting.complete, name="complete")
        self.complete_more = narrow(QComboBox())
        self.complete_more.setObjectName("complete_scope")
        self.complete_more.setToolTip("The visible part of it, the slice that is shown, or the whole image.")
        self.undo = self._action("Undo", correcting.undo, "undo", "Take back the last change.")
        self.redo = self._action("Redo", correcting.redo, "redo", "Make it again.")
        self.next = self._action(
            "Next", correcting.looking.next, "next", "Go to the object or place that is most doubtful."
        )
        self.right_next = self._action(
            "Right, next", correcting.looking.confirm, "right_next", "What is shown is right as it is; go to the next."
        )
        self.counts = wrapped_label("counts")
        self.counts.setToolTip("Corrected: drawn, changed, or taken away. What is gone counts, too.")
        self.so_far = wrapped_label("so_far")
        self.so_far.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.take_size = button(
            "",
            workbench.sizing.take_from_checked,
            name="size_from_checked",
            tooltip="Make the median diameter of the checked objects, or the width of long ones, the object size.",
        )
        self._lay_out()
        self._follow()
        self._render()

    def _lay_out(self) -> None:
        self.complete_more.setMaximumWidth(86)
        complete = row(self.complete, self.complete_more, stretch=(1, 0))
        self._only_objects: list[QWidget] = [complete, self.next, self.right_next]
        self._grid = QGridLayout()
        self._grid.setSpacing(4)
        holder = QWidget()
        holder.setLayout(self._grid)
        self._grid.setContentsMargins(0, 0, 0, 0)
        for tool_button in self.tools.values():
            tool_button.setParent(holder)
        self._shown: list[Tool] = []
        for one in (
            holder,
            self.classes,
            complete,
            row(self.undo, self.redo, self.next, self.right_next, stretch=(2, 2, 2, 3)),
            self.counts,
            self.so_far,
            self.take_size,  # below all that a person presses here: it comes while they press it
        ):
            self.add(one)

    def _follow(self) -> None:
        """Render again whenever something has changed."""
        self.complete_more.currentTextChanged.connect(self._choose_scope)
        # the camera moves many times a second; the count follows when it rests
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(150)
        self._timer.timeout.connect(self._render_complete)
        for name in ("image", "axes", "model", "tool", "checked", "corrected", "objects", "so_far", "segmented"):
            getattr(self._session.events, name).connect(self._render)
        self._session.events.prediction.connect(self._count_soon)
        viewer = self._workbench.viewer
        viewer.dims.events.current_step.connect(self._count_soon)
        viewer.dims.events.ndisplay.connect(self._count_soon)
        self._camera = viewer.scene.camera
        self._camera.events.connect(self._count_soon)

    def close_connections(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        self._workbench.viewer.dims.events.current_step.disconnect(self._count_soon)
        self._workbench.viewer.dims.events.ndisplay.disconnect(self._count_soon)
        self._camera.events.disconnect(self._count_soon)

    def _action(self, text: str, act: Callable[[], None], name: str, tooltip: str) -> QPushButton:
        return button(text, act, name=name, tooltip=f"{tooltip} Key: {_spelled(ACTION_KEYS[name])}.")

    def _choose(self, tool: Tool) -> None:
        self._workbench.correcting.choose_tool(tool)
        self._render()

    def _choose_scope(self, text: str) -> None:
        self._workbench.correcting.scope = next(one for one in Scope if self._workbench.segmenting.name_of(one) == text)
        self._count_soon()

    def _count_soon(self) -> None:
        self._timer.start()

    def _render(self) -> None:
        session, spec = self._session, self._workbench.spec
        semantic = spec is not None and spec.task == "semantic"
        self._arrange([tool for tool in TOOLS if self._workbench.correcting.offers(tool)])
        for tool, one in self.tools.items():
            one.setEnabled(bool(session.image))
            one.setChecked(session.tool is tool)
        self.tools[Tool.DRAW].setText("Paint" if semantic else TOOLS[Tool.DRAW].text)
        self.tools[Tool.BACKGROUND].setText("Erase" if semantic else TOOLS[Tool.BACKGROUND].text)
        self.classes.setVisible(semantic)
        for holder in self._only_objects:
            holder.setVisible(not semantic)
        for one in (self.undo, self.redo):
            one.setEnabled(bool(session.image))
        for one in (self.next, self.right_next):
            one.setEnabled(session.segmented)
        knows_size = spec is not None and spec.knows_size
        self.take_size.setVisible(knows_size and session.checked >= ENOUGH_OBJECTS)
        self.take_size.setText(f"Take the size of the {session.checked} checked objects")
        self._offer_scopes()
        counts = tell_counts(session.checked, session.objects, session.corrected)
        self.counts.setText(f"{session.checked} pixels painted" if semantic else counts)
        self.counts.setVisible(session.segmented or session.checked > 0)
        self.so_far.setText(session.so_far.replace(_FOLDER, f'<a href="folder" style="color: {LINK};">{_FOLDER}</a>'))
        self.so_far.setVisible(bool(session.so_far))
        self._count_soon()

    def _offer_scopes(self) -> None:
        """Offer to declare complete what the image has."""
        correcting, scopes = self._workbench.correcting, self._workbench.segmenting.scopes()[::-1]
        if correcting.scope not in scopes:
            correcting.scope = Scope.VIEW
        name_of = self._workbench.segmenting.name_of
        set_choices(self.complete_more, [name_of(scope) for scope in scopes], name_of(correcting.scope))

    def _arrange(self, shown: list[Tool]) -> None:
        """Lay out the tools that there is something to do for."""
        if shown == self._shown:
            return
        self._shown = shown
        for tool, one in self.tools.items():
            self._grid.removeWidget(one)
            one.setVisible(tool in shown)
        for place, tool in enumerate(shown):
            self._grid.addWidget(self.tools[tool], *divmod(place, _COLUMNS))

    def _render_complete(self) -> None:
        correcting = self._workbench.correcting
        scope, count = self._workbench.segmenting.name_of(correcting.scope), correcting.objects_in(correcting.scope)
        self.complete.setEnabled(count is not None)
        text = f"{scope.capitalize()} is complete" + (f": {how_many(count)}" if count is not None else "")
        if self.complete.fontMetrics().horizontalAdvance(text) > self.complete.width() - _PADDING:
            text = text.removesuffix(" objects")
        self.complete.setText(text)
        key = _spelled(ACTION_KEYS["complete"])
        self.complete.setToolTip(
            f"Every object in the {scope} is right and nothing is missing: learn its empty places too. Key: {key}."
            if count is not None
            else "Segment or draw first; not in the 3-D display."
        )


def _spelled(key: str) -> str:
    """Return a key as people write it."""
    return {",": "comma", ".": "full stop"}.get(key, key.replace("-", "+"))

"""The class to paint next, and one more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QComboBox, QLineEdit, QVBoxLayout, QWidget

from napari_unet.gui.widgets import button, narrow, row, set_choices

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["ClassChooser"]

_ADD = "Add class..."
_PALETTE = {
    "yellow": "#ffcc00",
    "red": "#ff453a",
    "blue": "#0a84ff",
    "purple": "#bf5af2",
    "orange": "#ff9f0a",
    "cyan": "#64d2ff",
    "green": "#30d158",
    "pink": "#ff6fae",
}


class ClassChooser(QWidget):
    """Background and the classes of the model with their colours; the last entry adds one, inline."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self.combo = narrow(QComboBox())
        self.combo.setObjectName("classes")
        self.combo.setToolTip("The class to paint next.")
        self.name = QLineEdit()
        self.name.setObjectName("class_name")
        self.name.setPlaceholderText("name of the class")
        self.color = narrow(QComboBox(), 3)
        self.color.setObjectName("class_color")
        for name, color in _PALETTE.items():
            self.color.addItem(_swatch(color), name)
        self._form = row(
            self.name, self.color,
            button("Add", self._add, name="add_class", tooltip="Add the class; what the model knows stays."),
            stretch=(3, 2, 1),
        )  # fmt: skip
        self._form.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.combo)
        layout.addWidget(self._form)
        self.combo.activated.connect(self._choose)
        self.name.returnPressed.connect(self._add)
        workbench.session.events.model.connect(self._hide_form)
        for name in ("image", "model", "tool", "classes", "segmented"):
            getattr(workbench.session.events, name).connect(self.render_classes)
        self.render_classes()

    def render_classes(self) -> None:
        """Show the classes of the model in use."""
        names = ["background", *self._workbench.session.classes]
        if len(names) == 1:
            self._form.hide()
        elif not self._form.isVisible():
            selected = min(self._workbench.correcting.selected_class(), len(names) - 1)
            set_choices(self.combo, [*names, _ADD], names[selected])
            spec = self._workbench.spec
            for place, one in zip(range(1, len(names)), spec.classes if spec is not None else (), strict=False):
                self.combo.setItemIcon(place, _swatch(one.color))

    def _hide_form(self) -> None:
        self._form.hide()

    def _choose(self, place: int) -> None:
        adds = place == self.combo.count() - 1
        self._form.setVisible(adds)
        if not adds:
            self._workbench.correcting.choose_class(place)
            return
        spec = self._workbench.spec
        taken = {one.color for one in spec.classes} if spec is not None else set()
        free = next((n for n, color in enumerate(_PALETTE.values()) if color not in taken), 0)
        self.color.setCurrentIndex(free)
        self.name.clear()
        self.name.setFocus()
        self._workbench.session.say("Say what the new class is called, then press Add.")

    def _add(self) -> None:
        if self._workbench.classes.add(self.name.text(), _PALETTE[self.color.currentText()]):
            self._form.hide()
            self.render_classes()


def _swatch(color: str) -> QIcon:
    picture = QPixmap(12, 12)
    picture.fill(QColor(color))
    return QIcon(picture)

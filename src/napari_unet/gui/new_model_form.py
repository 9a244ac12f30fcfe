"""A new model: its name, and what it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QWidget

from napari_unet.gui.widgets import button, narrow, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["NewModelForm"]


class NewModelForm(QWidget):
    """Name, objects or classes, planes or volumes: inline, no dialog."""

    def __init__(self, create: Callable[[], None]) -> None:
        super().__init__()
        self.name = QLineEdit()
        self.name.setObjectName("new_name")
        self.name.setPlaceholderText("for example: my cells")
        self.task = quiet(QComboBox())
        self.task.setObjectName("new_task")
        self.task.addItems(["objects", "classes"])
        self.task.setToolTip("objects: each gets a number of its own. classes: each pixel gets a class.")
        self.classes = QLineEdit("class A, class B")
        self.classes.setObjectName("new_classes")
        self.dims = quiet(QComboBox())
        self.dims.setObjectName("new_dims")
        self.dims.addItems(["2-D (planes)", "3-D (volumes)"])
        self.channels = narrow(QComboBox())
        self.channels.setObjectName("new_channels")
        self.channels.setToolTip("One channel, which is chosen above, or all: where the colour tells things apart.")
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 0, 4)
        layout.addRow("Name", self.name)
        layout.addRow("Finds", self.task)
        self._classes_caption = QLabel("Classes")
        layout.addRow(self._classes_caption, self.classes)
        layout.addRow("Sees", self.dims)
        self._channels_caption = QLabel("Channels")
        layout.addRow(self._channels_caption, self.channels)
        layout.addRow("", button("Create", create, name="create", tooltip="Make the empty layer and select the brush."))
        self.name.returnPressed.connect(create)
        self.task.currentTextChanged.connect(self._show_classes)
        self._channel_names: tuple[str, ...] = ()
        self.offer_channels(())
        self._show_classes()

    @property
    def task_name(self) -> str:
        """Return the task, ``"instances"`` or ``"semantic"``."""
        return "semantic" if self.task.currentText() == "classes" else "instances"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, or of the object."""
        if self.task_name == "instances":
            return (self.name.text().strip() or "object",)
        return tuple(name.strip() for name in self.classes.text().split(",") if name.strip()) or ("class A",)

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return 2 + self.dims.currentIndex()

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of what the model shall see."""
        return self._channel_names if self.channels.currentIndex() == 1 else ("image",)

    def offer_channels(self, names: Sequence[str], *, are_colours: bool = False) -> None:
        """Offer all channels of the image, first of all if they are its colours; nothing where it has one."""
        self._channel_names = tuple(names)
        several = len(names) > 1
        for widget in (self._channels_caption, self.channels):
            widget.setVisible(several)
        self.channels.clear()
        one = "their brightness" if are_colours else "one of them"
        self.channels.addItems([one, f"all {len(names)}: {', '.join(names)}"] if several else ["one"])
        self.channels.setCurrentIndex(int(several and are_colours))

    def offer_volumes(self, stack: bool) -> None:
        """Offer 3-D only where the image is a stack."""
        self.dims.setEnabled(stack)
        if not stack:
            self.dims.setCurrentIndex(0)

    def _show_classes(self) -> None:
        semantic = self.task_name == "semantic"
        self.classes.setVisible(semantic)
        self._classes_caption.setVisible(semantic)

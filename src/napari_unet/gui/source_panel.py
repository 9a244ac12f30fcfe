"""Which image, which model; and a new model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_unet.gui.layers import axes_choices, image_layers
from napari_unet.gui.widgets import button, row, set_choices, wrapped_label
from napari_unet.models import list_models

if TYPE_CHECKING:
    from napari_unet.gui.workbench import Workbench

__all__ = ["SourcePanel"]

_NEW_MODEL = "New model..."


class SourcePanel(QWidget):
    """Choosers of image, axes and model that follow the layer list and the library."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__()
        self._workbench = workbench
        self._session = workbench.session
        self.image = QComboBox()
        self.image.setObjectName("image")
        self.image.setToolTip("The image layer to work on.")
        self.axes = QComboBox()
        self.axes.setObjectName("axes")
        self.axes.setToolTip(
            "What the dimensions mean: T time, C channels, Z slices. napari does not know; correct it here."
        )
        self.shape = wrapped_label("shape")
        self.model = QComboBox()
        self.model.setObjectName("model")
        self.model.setToolTip("What to find. Models of your own appear here; drop a model file on napari to add one.")
        for combo in (self.image, self.axes, self.model):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(5)
        self.object_size = QSpinBox()
        self.object_size.setObjectName("object_size")
        self.object_size.setRange(0, 999)
        self.object_size.setSuffix(" px")
        self.object_size.setSpecialValueText("as it is")
        self.object_size.valueChanged.connect(self._choose_size)
        self.form = NewModelForm(self._create)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row(_caption("Image"), self.image, self.axes, stretch=(0, 3, 1)))
        layout.addWidget(self.shape)
        layout.addWidget(row(_caption("Model"), self.model, stretch=(0, 1)))
        layout.addWidget(row(_caption("Object size"), self.object_size, stretch=(0, 1)))
        layout.addWidget(self.form)
        self.form.hide()
        self.image.textActivated.connect(self._workbench.choose_image)
        self.axes.textActivated.connect(self._choose_axes)
        self.model.textActivated.connect(self._choose_model)
        self._layers = workbench.viewer.layers
        self._connections(connect=True)
        self._session.events.image.connect(self._show_image)
        self._session.events.axes.connect(self._show_image)
        self._session.events.model.connect(self.show_models)
        self._session.events.model.connect(self._show_size)
        self.show_models()
        self._show_size()
        self._follow_layers()

    def close_connections(self) -> None:
        """Let go of the layer list."""
        self._connections(connect=False)

    def show_models(self) -> None:
        """List what the library holds now."""
        names = list(list_models())
        current = self._session.model
        if current and current not in names:
            names.append(current)  # a new one that is not trained yet
        set_choices(self.model, [*names, _NEW_MODEL], current)

    def _connections(self, *, connect: bool) -> None:
        for name in ("inserted", "removed", "reordered"):
            emitter = getattr(self._layers.events, name)
            (emitter.connect if connect else emitter.disconnect)(self._follow_layers)
        for layer in image_layers(self._layers):
            (layer.events.name.connect if connect else layer.events.name.disconnect)(self._follow_layers)

    def _follow_layers(self, event: Any = None) -> None:
        images = image_layers(self._layers)
        inserted = next((one for one in images if event is not None and one is getattr(event, "value", None)), None)
        inserted = inserted if getattr(event, "type", "") == "inserted" else None
        if inserted is not None:
            inserted.events.name.connect(self._follow_layers)
        names = [layer.name for layer in images]
        current = self._workbench.image
        if current is not None and current in images and self._session.image:
            self._session.image = current.name  # it may have been renamed
        if self._session.image not in names or not names:
            self._workbench.choose_image(names[-1] if names else "")
        elif inserted is not None and not self._session.segmented and self._session.checked == 0:
            self._workbench.choose_image(inserted.name)
        self._show_image()

    def _show_image(self) -> None:
        layer = next((one for one in image_layers(self._layers) if one.name == self._session.image), None)
        set_choices(self.image, [one.name for one in image_layers(self._layers)], self._session.image)
        choices = list(axes_choices(layer)) if layer is not None else []
        set_choices(self.axes, choices, self._session.axes)
        self.axes.setEnabled(len(choices) > 1)
        self.image.setEnabled(self.image.count() > 0)
        self.shape.setVisible(layer is not None)
        if layer is not None:
            size = " x ".join(map(str, layer.data.shape))
            self.shape.setText(f"{size} {layer.data.dtype}")

    def _show_size(self) -> None:
        spec = self._workbench.spec
        known = spec.object_diameter_px if spec is not None else None
        self.object_size.setEnabled(known is not None)
        self.object_size.setToolTip(
            f"Typical diameter of the objects in the image. Objects that {self._session.model!r} learned from were "
            f"{known:.0f} px wide: set it where yours differ much, and the image is rescaled for the model."
            if known is not None
            else "This model does not know the size of its objects yet."
        )

    def _choose_size(self, pixels: int) -> None:
        self._session.object_size = float(pixels) if pixels > 1 else 0.0

    def _choose_axes(self, axes: str) -> None:
        self._workbench.choose_image(self._session.image, axes)

    def _choose_model(self, name: str) -> None:
        if name == _NEW_MODEL:
            self.form.offer_volumes("Z" in self._session.axes)
            self.form.show()
            self.form.name.setFocus()
            self._session.say("Say what the new model shall find, then press Create.")
            return
        self.form.hide()
        self._workbench.choose_model(name)
        self.show_models()  # a damaged one is not in use

    def _create(self) -> None:
        made = self._workbench.new_model(
            self.form.name.text(),
            task=self.form.task_name,
            classes=self.form.class_names,
            spatial_dims=self.form.spatial_dims,
        )
        if made:
            self.form.hide()
        self.show_models()


class NewModelForm(QWidget):
    """Name, objects or classes, planes or volumes: inline, no dialog."""

    def __init__(self, create: Any) -> None:
        super().__init__()
        self.name = QLineEdit()
        self.name.setObjectName("new_name")
        self.name.setPlaceholderText("for example: my cells")
        self.task = QComboBox()
        self.task.setObjectName("new_task")
        self.task.addItems(["objects", "classes"])
        self.task.setToolTip("objects: each gets a number of its own. classes: each pixel gets a class.")
        self.classes = QLineEdit("class A, class B")
        self.classes.setObjectName("new_classes")
        self.dims = QComboBox()
        self.dims.setObjectName("new_dims")
        self.dims.addItems(["2-D (planes)", "3-D (volumes)"])
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 0, 4)
        layout.addRow("Name", self.name)
        layout.addRow("Finds", self.task)
        self._classes_caption = QLabel("Classes")
        layout.addRow(self._classes_caption, self.classes)
        layout.addRow("Sees", self.dims)
        layout.addRow("", button("Create", create, name="create", tooltip="Make the empty layer and select the brush."))
        self.name.returnPressed.connect(create)
        self.task.currentTextChanged.connect(self._show_classes)
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

    def offer_volumes(self, stack: bool) -> None:
        """Offer 3-D only where the image is a stack."""
        self.dims.setEnabled(stack)
        if not stack:
            self.dims.setCurrentIndex(0)

    def _show_classes(self) -> None:
        semantic = self.task_name == "semantic"
        self.classes.setVisible(semantic)
        self._classes_caption.setVisible(semantic)


def _caption(text: str) -> QLabel:
    label = QLabel(text)
    label.setMinimumWidth(42)
    return label

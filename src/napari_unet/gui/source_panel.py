"""Which image, which model; and a new model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_unet.gui.inputs_panel import InputsPanel
from napari_unet.gui.layers import image_layers, is_usable_image
from napari_unet.gui.new_model_form import NewModelForm
from napari_unet.gui.opening import image_path
from napari_unet.gui.origin import axes_choices, file_of, origin_of
from napari_unet.gui.size_panel import SizePanel
from napari_unet.gui.widgets import button, caption, narrow, row, set_choices, wrapped_label
from napari_unet.images import IMAGE_SUFFIXES
from napari_unet.models import list_models

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_unet.gui.workbench import Workbench

__all__ = ["SourcePanel"]

_NEW_MODEL = "New model..."


class SourcePanel(QWidget):
    """Choosers of image, axes and model that follow the layer list and the library.

    Parameters
    ----------
    workbench : Workbench
    open_folder, import_labels : QPushButton
        Get a place beside *Open image...*.
    """

    def __init__(self, workbench: Workbench, open_folder: QPushButton, import_labels: QPushButton) -> None:
        super().__init__()
        self._workbench = workbench
        self._session = workbench.session
        self.image = narrow(QComboBox())
        self.image.setObjectName("image")
        self.image.setToolTip("The image layer to work on.")
        self.axes = narrow(QComboBox())
        self.axes.setObjectName("axes")
        self.shape = wrapped_label("shape")
        self.level = narrow(QComboBox())
        self.level.setObjectName("level")
        self.level.setToolTip(
            "Resolution of the pyramid. It opens at the one at which the objects are as large as the model knows them."
        )
        self.open = button(
            "Open image...",
            self._open,
            name="open_image",
            tooltip="TIFF, OME-TIFF, ImageJ TIFF, PNG, or a file inside of an OME-Zarr: each channel becomes a layer, "
            "with pixel sizes and names.",
        )
        self.split = button(
            "Split channels",
            workbench.opening.split,
            name="split_channels",
            tooltip="Put a layer for each channel in the place of this image.",
        )
        self.inputs = InputsPanel(workbench)
        self.model = narrow(QComboBox())
        self.model.setObjectName("model")
        self.model.setToolTip("What to find. Models of your own appear here; drop a model file on napari to add one.")
        self.sizes = SizePanel(workbench)
        self.form = NewModelForm(self._create)
        self._lay_out(open_folder, import_labels)
        self.image.textActivated.connect(self._workbench.choose_image)
        self.axes.textActivated.connect(self._choose_axes)
        self.level.activated.connect(workbench.opening.choose_level)
        self.model.textActivated.connect(self._choose_model)
        self._layers = workbench.viewer.layers
        self._connections(connect=True)
        self._session.events.image.connect(self._show_image)
        self._session.events.axes.connect(self._show_image)
        self._session.events.model.connect(self.show_models)
        self.show_models()
        self._follow_layers()

    def _lay_out(self, open_folder: QPushButton, import_labels: QPushButton) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row(caption("Image"), self.image, self.axes, self.level, stretch=(0, 3, 1, 1)))
        self._about = row(self.shape, self.split, stretch=(2, 1))
        layout.addWidget(self._about)
        layout.addWidget(row(self.open, open_folder, import_labels, stretch=(6, 6, 7)))
        layout.addWidget(row(caption("Model"), self.model, self.sizes.try_models, stretch=(0, 3, 2)))
        layout.addWidget(self.inputs)
        layout.addWidget(self.sizes)
        layout.addWidget(self.form)
        self.form.hide()

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
        elif inserted is not None and (self._is_untouched or self._is_of_another_file(inserted)):
            self._workbench.choose_image(inserted.name)
        self._show_image()

    @property
    def _is_untouched(self) -> bool:
        return not self._session.segmented and self._session.checked == 0

    def _is_of_another_file(self, layer: Image) -> bool:
        """Return whether a layer was opened by the user, and not made from what is worked on."""
        current = self._workbench.image
        return file_of(layer) not in ("", "" if current is None else file_of(current))

    def _show_image(self) -> None:
        layer = next((one for one in image_layers(self._layers) if one.name == self._session.image), None)
        set_choices(self.image, [one.name for one in image_layers(self._layers)], self._session.image)
        usable = layer is not None and is_usable_image(layer) is None
        choices = list(axes_choices(layer)) if layer is not None and usable else []
        set_choices(self.axes, choices, self._session.axes)
        self.axes.setEnabled(len(choices) > 1)
        self.image.setEnabled(self.image.count() > 0)
        self._about.setVisible(usable)
        self.split.setVisible(bool({"C", "S"} & set(self._session.axes)))
        self.level.hide()
        if layer is not None and usable:
            self._show_origin(layer)
        self.inputs.render_rows()

    def _show_origin(self, layer: Image) -> None:
        """Show what is known of the image, and how."""
        known = origin_of(layer)
        size = " x ".join(map(str, layer.data.shape))
        sides = [f"{known.pixel_size_um[letter]:.3g}" for letter in known.axes if letter in known.pixel_size_um]
        text = f"{size} {layer.data.dtype}" + (f", {' x '.join(sides)} µm" if sides else "")
        self.shape.setText(text if known.sure else f"{text}. {known.why}")
        self.axes.setToolTip(
            f"What the dimensions mean: T time, C channels, Z slices.\n{known.why}\nCorrect it here if that is wrong."
        )
        self.level.setVisible(known.levels > 1)
        set_choices(self.level, [f"level {n}" for n in range(known.levels)], f"level {known.level}")

    def _open(self) -> None:
        """Ask for image files."""
        patterns = " ".join(f"*{suffix}" for suffix in (*IMAGE_SUFFIXES, ".zattrs", ".zgroup", ".zarray"))
        chosen, _ = QFileDialog.getOpenFileNames(self, "Open image", "", f"Images ({patterns} zarr.json)")
        for path in dict.fromkeys(image_path(one) for one in chosen):
            self._workbench.opening.open(path)

    def _choose_axes(self, axes: str) -> None:
        self._workbench.choose_image(self._session.image, axes)

    def _choose_model(self, name: str) -> None:
        if name == _NEW_MODEL:
            self.form.offer_volumes("Z" in self._session.axes)
            self.form.offer_channels(self._workbench.inputs.names(), are_colours="S" in self._session.axes)
            self.form.show()
            self.form.name.setFocus()
            self._session.say("Say what the new model shall find, then press Create.")
            return
        self.form.hide()
        self._workbench.choosing.choose(name)
        self.show_models()  # a damaged one is not in use

    def _create(self) -> None:
        made = self._workbench.choosing.begin(
            self.form.name.text(),
            task=self.form.task_name,
            classes=self.form.class_names,
            spatial_dims=self.form.spatial_dims,
            channels=self.form.channel_names,
        )
        if made:
            self.form.hide()
        self.show_models()

"""The maps of a prediction, kept for the sliders of the thresholds, and the layers that show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_unet.gui.layers import make_map

if TYPE_CHECKING:
    import numpy as np
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_unet.correction import Box
    from napari_unet.gui.document import Document
    from napari_unet.gui.workbench import Workbench
    from napari_unet.models import Model

__all__ = ["KeptMaps", "MapLayers"]


@dataclass(frozen=True, eq=False)
class KeptMaps:
    """The maps of a prediction, with what they were made of.

    Attributes
    ----------
    document : Document
        Its labels are made of them.
    model : Model
    box : Box
        Where they are: one plane, of its labels.
    object_size : float or None
        That of the image at that time.
    axes : str
        Of the pixels.
    scale : float
        By which the image was resized.
    values : ndarray of float32
        As they were predicted.
    """

    document: Document
    model: Model
    box: Box
    object_size: float | None
    axes: str
    scale: float
    values: NDArray[np.float32]

    def covers(self, box: Box) -> bool:
        """Return whether a box lies within theirs."""
        return all(s.start <= b.start and b.stop <= s.stop for s, b in zip(self.box, box, strict=True))

    def planes(self, box: Box) -> NDArray[np.float32]:
        """Return the maps (``CYX``) of a rectangle within the plane."""
        plane = self.values.reshape(-1, *self.values.shape[-2:])
        rows, columns = (
            slice(b.start - s.start, b.stop - s.start) for b, s in zip(box[-2:], self.box[-2:], strict=True)
        )
        part: NDArray[np.float32] = plane[:, rows, columns]
        return part


class MapLayers:
    """Shows maps as layers, below the labels.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._layers: list[Image] = []

    def show(self, maps: KeptMaps) -> None:
        """Put a layer of each map into the viewer, the first one visible."""
        document, viewer = maps.document, self._workbench.viewer
        if document.editable not in viewer.layers:
            return
        active = viewer.layers.selection.active
        for number, (spec, values) in enumerate(zip(maps.model.spec.maps, maps.planes(maps.box), strict=True)):
            layer = make_map(document.image, document.axes, maps.box, values, f"{document.image.name} {spec.name}")
            layer.visible = number == 0
            self._layers.append(layer)
            viewer.layers.insert(viewer.layers.index(document.layers[0]), layer)
        viewer.layers.selection.active = active
        self._session.has_maps = True
        self._session.say("The maps lie below the labels: what the network says before the thresholds.")

    def take_down(self) -> None:
        """Take the layers out of the viewer."""
        layers, self._layers = self._layers, []
        self._session.has_maps = False
        for layer in layers:
            self._workbench.shelf.take_down(layer)

    def forget_layer(self, layer: Any) -> None:
        """Note that a layer is gone from the viewer."""
        self._layers = [one for one in self._layers if one is not layer]
        self._session.has_maps = bool(self._layers)

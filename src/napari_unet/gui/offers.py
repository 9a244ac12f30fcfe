"""What could be done with what is there: images that lie in one layer, labels of other programs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from qtpy.QtCore import QTimer

from napari_unet.correction import Project, find_label_pairs
from napari_unet.errors import UNetError
from napari_unet.gui.layers import foreign_labels, label_shape
from napari_unet.gui.origin import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.layers import Image, Labels

    from napari_unet.gui.importing import Importing
    from napari_unet.gui.workbench import Workbench

__all__ = ["Offers", "path_of", "tell_pairs"]


@dataclass(frozen=True)
class _Offer:
    key: tuple[str, Any]
    text: str
    accept: Callable[[], None]
    buttons: tuple[str, str] = ("Import", "Not now")
    decline: Callable[[], None] = lambda: None


class Offers:
    """Keeps the session told of layers and files that could be used, one offer at a time.

    Parameters
    ----------
    workbench : Workbench
    importing : Importing
        Takes labels over.
    """

    def __init__(self, workbench: Workbench, importing: Importing) -> None:
        self._workbench, self._importing = workbench, importing
        self._session = workbench.session
        self._declined: set[tuple[str, Any]] = set()
        self._offer: _Offer | None = None
        self._accepted: tuple[str, Any] | None = None
        self._painted: WeakSet[Labels] = WeakSet()
        self._closed = False
        for event in self._events():
            event.connect(self._look_soon)

    def accept(self) -> None:
        """Take up the offer."""
        if self._offer is not None:
            self._accepted = self._offer.key
            self._offer.accept()

    def settle(self) -> None:
        """Do not offer again what was taken up last: it is done."""
        if self._accepted is not None:
            self._declined.add(self._accepted)
            self._accepted = None
        self.look()

    def decline(self) -> None:
        """Do not offer it again."""
        if self._offer is not None:
            self._declined.add(self._offer.key)
            self._offer.decline()
            self.look()

    def look(self) -> None:
        """Look for what there is."""
        if self._closed:
            return
        for layer in foreign_labels(self._workbench.viewer.layers):
            if layer not in self._painted:
                self._painted.add(layer)
                layer.events.paint.connect(self._on_paint)
        self._offer = next((one for one in self._offers() if one.key not in self._declined), None)
        self._session.offer_buttons = self._offer.buttons if self._offer is not None else ("", "")
        self._session.offer = self._offer.text if self._offer is not None else ""

    def close(self) -> None:
        """Let go of the viewer."""
        self._closed = True
        for event in self._events():
            event.disconnect(self._look_soon)
        for layer in self._painted:
            layer.events.paint.disconnect(self._on_paint)

    def _events(self) -> tuple[Any, ...]:
        ours, layers = self._session.events, self._workbench.viewer.layers.events
        return layers.inserted, layers.removed, ours.image, ours.strip

    def _look_soon(self, _: Any = None) -> None:
        # what is being put into the viewer is not known to be ours yet
        QTimer.singleShot(0, self.look)

    def _offers(self) -> Iterator[_Offer]:
        bench, image = self._workbench, self._workbench.image
        if image is None or not self._session.image or bench.problem is not None:
            return
        folder, count = images_in(image)
        if folder is not None:
            text = f"This layer is a folder of {count} images, stacked by napari: neither slices nor time."
            buttons = (f"Open as {count} images", "It is one stack")
            open_them = partial(bench.opening.open_as_images, image, folder)
            axes = "TZYX"[-image.ndim :] + "S" * image.rgb
            keep = partial(bench.choose_image, image.name, axes)
            yield _Offer(("stack", id(image)), text, open_them, buttons, keep)
        shape = _squeezed(label_shape(image, self._session.axes))
        for layer in reversed(foreign_labels(bench.viewer.layers)):
            sides = layer.data[0].shape if layer.multiscale else layer.data.shape
            if layer.visible and _squeezed(sides) == shape:
                text = f"{layer.name!r} is a labels layer of its own: what is drawn there is not learned."
                use = partial(self._importing.choose_layer, layer)
                yield _Offer(("layer", id(layer)), text, use, ("Use this layer", "Not now"))
        project, path = bench.projects.project, path_of(image)
        if project is not None:
            entries = project.entries()
            mine = [one.path for one in entries if one.store is None or (one.path == path and not one.checked)]
            pairs = find_label_pairs(mine)
            if pairs and any(one.store is None for one in entries if one.path in {image for image, _ in pairs}):
                text = tell_pairs(pairs, len(project.images))
                yield _Offer(("folder", (project.folder, project.kind)), text, self._importing.choose_folder)
        elif path is not None and not bench.documents.has_corrections():
            for _, labels in find_label_pairs([path]):
                text = f"There are labels for this image: {labels.name}."
                yield _Offer(("file", labels), text, partial(self._importing.choose_file, labels))

    def _on_paint(self, event: Any) -> None:
        """Tell whoever paints in a layer of another program that nothing is learned from it."""
        layer = event.source
        self._declined.discard(("layer", id(layer)))
        self.look()
        if self._offer is not None and self._offer.key == ("layer", id(layer)):
            self._session.say(f"Strokes in {layer.name!r} are not learned. Press Use this layer.", problem=True)


def images_in(layer: Image) -> tuple[Path | None, int]:
    """Return the folder whose images napari has stacked into a layer, and how many there are; None: it is no such."""
    path = layer.source.path
    if path is None or "://" in str(path) or not 3 <= layer.ndim <= 4 or not Path(path).is_dir():
        return None, 0
    try:
        images = Project(Path(path)).images
    except UNetError:
        return None, 0
    # a zarr image is a folder too
    return (Path(path), len(images)) if len(images) > 1 and Path(path) not in images else (None, 0)


def tell_pairs(pairs: Sequence[tuple[Path, Path]], images: int) -> str:
    """Return how many images have labels, in a sentence."""
    have = "has" if len(pairs) == 1 else "have"
    return f"{len(pairs)} of {images} images {have} labels of another program, such as {pairs[0][1].name}."


def path_of(image: Image) -> Path | None:
    """Return the file of an image; None if it has none on this machine."""
    path = origin_of(image).path or image.source.path
    return Path(path).absolute() if path and "://" not in str(path) else None


def _squeezed(shape: Sequence[int]) -> list[int]:
    return [n for n in shape if n > 1]

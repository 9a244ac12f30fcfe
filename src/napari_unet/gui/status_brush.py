"""The brushes that write status and leave the labels: Ignore and Forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.gui.strokes import footprint

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_unet.annotation import Status
    from napari_unet.correction import Box
    from napari_unet.gui.object_document import ObjectDocument

__all__ = ["paint_status"]

_CLICK = 1.5
"""Pixels that the mouse may move during a click."""


def paint_status(
    document: ObjectDocument, layer: Labels, event: Any, value: Status
) -> Generator[None, None, int | None]:
    """Follow a stroke and mark where it went; a click on an object marks all of it. One step of undo.

    Returns the number of the object, 0 for a stroke, None where nothing was marked.
    """
    path = [layer.world_to_data(event.position)]
    number = layer.get_value(
        event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
    )
    in_a_plane = len(event.dims_displayed) == 2
    shown: list[tuple[Box, NDArray[np.uint8]]] = []
    yield
    while event.type == "mouse_move":
        path.append(layer.world_to_data(event.position))
        if in_a_plane and not _is_click(path):
            _preview(document, footprint(path[-2:], layer.brush_size, layer.data.shape), value, shown)
        yield
    for box, before in reversed(shown):
        document.status[box] = before  # what is seen follows with the mark
    went = footprint(path, layer.brush_size, layer.data.shape) if in_a_plane else None
    if number and _is_click(path):
        document.mark_object(int(number), value)
        return int(number)
    if went is None:
        return None
    document.mark(*went, value)
    return 0


def _is_click(path: list[NDArray[np.float64]]) -> bool:
    return bool(np.ptp(np.array(path)[:, -2:], axis=0).max() <= _CLICK)


def _preview(
    document: ObjectDocument,
    went: tuple[Box, NDArray[np.bool_]] | None,
    value: Status,
    shown: list[tuple[Box, NDArray[np.uint8]]],
) -> None:
    """Show a part of a stroke, and note what was there before."""
    if went is not None:
        box, mask = went
        before = document.status[box].copy()
        document.preview_status(box, np.where(mask, np.uint8(value), before))
        shown.append((box, before))

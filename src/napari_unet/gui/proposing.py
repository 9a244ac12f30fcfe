"""Propose: the outline of a missed object follows the mouse, and a click accepts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer

from napari_unet.gui.object_document import ObjectDocument
from napari_unet.gui.session import Scope, Tool

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_unet.correction import Proposal
    from napari_unet.gui.highlight import Highlight
    from napari_unet.gui.workbench import Workbench

__all__ = ["Proposing"]

_THROTTLE_MS = 15


class Proposing:
    """Shows what would be accepted under the mouse.

    Parameters
    ----------
    workbench : Workbench
    highlight : Highlight
    """

    def __init__(self, workbench: Workbench, highlight: Highlight) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._highlight = highlight
        self._point: tuple[int, ...] | None = None
        self._walked = False
        self.proposal: Proposal | None = None
        """What is outlined."""
        self._moved = False
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_THROTTLE_MS)
        self._timer.timeout.connect(self._look)

    @property
    def is_waiting(self) -> bool:
        """Whether the outline is still to follow the mouse."""
        return self._moved

    def begin(self, document: ObjectDocument) -> None:
        """Get ready to outline something in the view: the tool was taken."""
        if self._workbench.viewer.dims.ndisplay == 2:
            self._highlight.prepare(document.editable, self._workbench.segmenting.box(Scope.VIEW))

    def on_move(self, layer: Labels, event: Any) -> None:
        """Follow the mouse, not faster than one can see."""
        if self._session.tool is not Tool.PROPOSE or len(event.dims_displayed) != 2:
            return
        self._point = tuple(int(c) for c in np.rint(layer.world_to_data(event.position)))
        self._moved = True
        if not self._timer.isActive():
            self._look()

    def on_wheel(self, _: Labels, event: Any) -> None:
        """Walk through the outlines with Shift and the wheel."""
        if self._session.tool is Tool.PROPOSE and "Shift" in event.modifiers:
            self.walk(larger=sum(event.delta) > 0)
            event.handled = True

    def walk(self, *, larger: bool) -> None:
        """Show the next larger or smaller outline."""
        if self._session.tool is not Tool.PROPOSE or self.proposal is None:
            return
        self.proposal = self.proposal.grow() if larger else self.proposal.shrink()
        self._walked = True
        self._show()

    def accept(self, document: ObjectDocument, point: tuple[int, ...]) -> int | None:
        """Make an object of what is outlined at a point and return its number, None if nothing is."""
        self._moved = False
        self._look_at(document, point)
        proposal = self.proposal
        self._forget()
        return document.accept(proposal) if proposal is not None else None

    def end(self) -> None:
        """Outline nothing: the tool is put away."""
        self._timer.stop()
        self._moved = False
        self._forget()
        self._highlight.rest()

    def _look(self) -> None:
        """Follow the mouse, where it has moved; the next look is some time later."""
        document = self._workbench.document
        if not self._moved:
            return
        self._moved = False
        if self._session.tool is Tool.PROPOSE and isinstance(document, ObjectDocument) and self._point is not None:
            self._look_at(document, self._point)
            self._timer.start()

    def _forget(self) -> None:
        self._walked = False
        if self.proposal is not None:
            self.proposal = None
            self._highlight.clear()

    def _look_at(self, document: ObjectDocument, point: tuple[int, ...]) -> None:
        self._point = point
        if self._walked and self._holds(point):
            return  # what the user has chosen stays until the mouse leaves it
        self._walked = False
        inside = all(0 <= c < n for c, n in zip(point, document.shape, strict=True))
        spec = self._workbench.spec
        body = spec is not None and spec.network.spatial_dims == 3 and document.z_axis == len(document.shape) - 3
        size = self._workbench.object_size or (spec.object_diameter_px if spec is not None else None)
        found = document.propose(point, dims=3 if body else 2, object_diameter_px=size) if inside else None
        if found is None:
            self._forget()
            return
        self.proposal = found
        self._show()

    def _holds(self, point: tuple[int, ...]) -> bool:
        if self.proposal is None:
            return False
        local = [c - s.start for c, s in zip(point, self.proposal.box, strict=True)]
        mask = self.proposal.mask
        return all(0 <= c < n for c, n in zip(local, mask.shape, strict=True)) and bool(mask[tuple(local)])

    def _show(self) -> None:
        document = self._workbench.document
        if self.proposal is not None and document is not None:
            self._highlight.show(document.editable, self.proposal.box, self.proposal.mask)

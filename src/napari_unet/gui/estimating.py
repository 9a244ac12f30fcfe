"""How long segmenting will take, worked out in the background whenever something changes that decides it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from napari_unet.gui.resting import Resting
from napari_unet.gui.session import JobState, Scope
from napari_unet.gui.worker import Job
from napari_unet.images import label_axes
from napari_unet.prediction import Estimate, estimate

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event as StopFlag

    from napari_unet.gui.workbench import Workbench

__all__ = ["Estimating"]

_REST_MS = 300
_SMALL = 2**21
"""Voxels that are worth no question: the whole image is meant as long as the speed is not known."""


class Estimating:
    """Keeps the estimates of the session up to date.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._job: Job | None = None
        self._timer = Resting(_REST_MS, self._start)
        for name in ("image", "axes", "model", "object_size", "device", "precision", "halo", "average"):
            getattr(self._session.events, name).connect(self._forget)
        self._session.events.prediction.connect(self.refresh_soon)
        viewer = workbench.viewer
        self._emitters = (viewer.scene.camera.events, viewer.dims.events.current_step)
        for emitter in self._emitters:
            emitter.connect(self.refresh_soon)

    def refresh_soon(self) -> None:
        """Work it out again when everything rests."""
        self._timer.ask()

    def main_scope(self) -> Scope:
        """Return what the primary button runs on: the whole image where that is quick, else the view."""
        whole = self._session.estimates.get(Scope.IMAGE)
        if whole is not None:
            return Scope.IMAGE if whole.is_quick else Scope.VIEW
        box = self._workbench.segmenting.box(Scope.IMAGE)
        return Scope.IMAGE if prod(part.stop for part in box) <= _SMALL else Scope.VIEW

    def close(self) -> None:
        """Let go of the viewer."""
        self._timer.stop()
        for emitter in self._emitters:
            emitter.disconnect(self.refresh_soon)
        if self._job is not None:
            self._job.abandon()

    def _forget(self) -> None:
        self._session.estimates = {}
        self.refresh_soon()

    def _start(self) -> None:
        bench, session = self._workbench, self._session
        model, image, axes = bench.model, bench.image, session.axes
        if model is None or image is None or not session.image or bench.problem is not None:
            return
        busy = session.prediction is not JobState.IDLE or session.training is not JobState.IDLE
        if busy or self._job is not None:
            self._timer.ask()  # the speed of a busy machine says nothing
            return
        boxes = {scope: bench.segmenting.box(scope) for scope in Scope}
        config = bench.choosing.predict_config()
        letters = label_axes(axes)
        shape = tuple(part.stop for part in boxes[Scope.IMAGE])

        def run(_: StopFlag) -> Generator[Any, None, dict[Scope, Estimate]]:
            yield from ()
            return {
                scope: estimate(shape, model, config, axes=letters, region=dict(zip(letters, box, strict=True)))
                for scope, box in boxes.items()
                if all(part.stop > part.start for part in box)
            }

        def show(found: dict[Scope, Estimate]) -> None:
            if (bench.model, bench.image, session.axes) == (model, image, axes):
                session.estimates = found

        self._job = Job(
            "U-Net estimate",
            run,
            on_result=show,
            on_error=lambda _: None,  # it will be told when it is segmented
            on_end=self._on_end,
        )
        self._job.start()

    def _on_end(self) -> None:
        self._job = None

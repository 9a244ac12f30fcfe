"""How fast a training is on this machine, worked out in the background before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_unet.gui.preloading import load_what_training_needs
from napari_unet.gui.resting import Resting
from napari_unet.gui.session import JobState
from napari_unet.gui.worker import Job
from napari_unet.prediction import thread_count
from napari_unet.training import TrainConfig, estimate

if TYPE_CHECKING:
    from collections.abc import Generator
    from threading import Event as StopFlag

    from napari_unet.gui.workbench import Workbench

__all__ = ["Forecast", "how_to_compute", "steps_line"]

_REST_MS = 400


class Forecast:
    """Keeps `Session.step_seconds` up to date as soon as there is something to learn from.

    Parameters
    ----------
    workbench : Workbench
    """

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._session = workbench.session
        self._job: Job | None = None
        self._known: Any = None
        self._timer = Resting(_REST_MS, self._start)
        for name in ("image", "axes", "model", "device", "precision", "checked"):
            getattr(self._session.events, name).connect(self._timer.ask)
        self._session.events.training.connect(self._forget)

    def close(self) -> None:
        """Stop working it out."""
        self._timer.stop()
        if self._job is not None:
            self._job.abandon()

    def _forget(self) -> None:
        self._known = None  # a training corrects what was measured
        self._timer.ask()

    def _start(self) -> None:
        bench, session = self._workbench, self._session
        spec, fine_tuning = bench.spec, bench.model is not None
        if spec is None or not session.checked or session.training is not JobState.IDLE:
            return
        if session.prediction is not JobState.IDLE or self._job is not None:
            self._timer.ask()  # the speed of a busy machine says nothing
            return
        settings = how_to_compute(session.device, session.precision)
        slices = bench.document.shape[-3] if spec.spatial_dims == 3 and bench.document is not None else 1
        key = (spec.network, spec.in_channels, len(spec.maps), fine_tuning, slices, *settings.items())
        if key == self._known:
            return
        self._known = key

        def run(_: StopFlag) -> Generator[Any, None, float]:
            yield from ()
            load_what_training_needs()
            return estimate(spec, TrainConfig(**settings), slices=slices, fine_tuning=fine_tuning).seconds_per_step

        def show(seconds: float) -> None:
            session.step_seconds = seconds

        def fail(_: str) -> None:
            session.step_seconds = 0.0  # the training itself will say why

        self._job = Job("U-Net forecast", run, on_result=show, on_error=fail, on_end=self._on_end)
        self._job.start()

    def _on_end(self) -> None:
        self._job = None


def how_to_compute(device: str, precision: str) -> dict[str, Any]:
    """Return the settings of a training that follow from the machine; one core stays with the window."""
    return {
        "device": device,
        "precision": precision if precision in ("float32", "bfloat16") else "auto",
        "threads": max(1, thread_count() - 1),
    }


def steps_line(minutes: float, step_seconds: float) -> str:
    """Return how many steps fit into some minutes, in words; empty where that is not known yet."""
    if step_seconds <= 0:
        return ""
    steps = max(1, round(60 * minutes / step_seconds))
    rounded = steps if steps < 20 else round(steps, -1) if steps < 1000 else round(steps, -2)
    return f"about {rounded} step{'s' if rounded != 1 else ''} here"

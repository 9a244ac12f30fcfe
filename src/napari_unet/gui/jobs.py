"""The background jobs of a session: at most one prediction and one training, their progress and their end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event as StopFlag
from typing import TYPE_CHECKING, Any

from napari_unet.events import FileStarted, Finishing, Notice, StepDone, TileDone, Validated
from napari_unet.gui.session import JobState
from napari_unet.gui.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_unet.gui.session import Session

__all__ = ["CANCELLED", "Jobs", "MainThread", "Progress", "in_words"]


_TELL_EVERY = 0.25
"""Seconds between two steps of a training that are told."""
CANCELLED = "Cancelled. Nothing was changed."


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    fraction : float
        0 to 1.
    message : str
    """

    fraction: float
    message: str


class MainThread:
    """What a job has done in the main thread before it goes on: yield it, then `wait`.

    Parameters
    ----------
    act : callable
    """

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._done = act, StopFlag()

    def run(self) -> None:
        """Do it; called in the main thread."""
        try:
            self._act()
        finally:
            self._done.set()

    def wait(self, stop: StopFlag) -> bool:
        """Wait until it is done; False where the job is to end instead."""
        while not self._done.wait(0.1):
            if stop.is_set():
                return False
        return True


class Jobs:
    """Starts and stops jobs and tells the session how they stand.

    A prediction pauses the training between two steps: the user waits for it.

    Parameters
    ----------
    session : Session
    on_training_event : callable
        Called in the main thread for each step and score of a training.
    """

    def __init__(self, session: Session, on_training_event: Callable[[Any], None]) -> None:
        self._session = session
        self._on_training_event = on_training_event
        self._running: dict[str, Job] = {}
        self._file: FileStarted | None = None
        self._notice, self._told = "", 0.0
        self._training_may_go_on = StopFlag()
        self._training_may_go_on.set()

    def start(
        self,
        kind: str,
        make: Callable[[StopFlag], Generator[Any, None, Any]],
        *,
        on_result: Callable[[Any], None],
        message: str,
        cancelled: str = CANCELLED,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Start a job, ``"prediction"`` or ``"training"``.

        `cancelled` is what is said where it was stopped; `then` is called when it is
        over, and had a result.
        """
        self._session.move(kind, JobState.RUNNING)
        self._session.progress = 0.0
        if kind == "prediction":
            self._training_may_go_on.clear()
        else:
            self._notice, self._told, self._session.enough = "", 0.0, False
        gate = self._training_may_go_on if kind == "training" else None
        next_ = [lambda: None]

        def take(result: Any) -> None:
            next_[0] = then
            on_result(result)

        def end() -> None:
            self._on_end(kind)
            next_[0]()

        job = Job(
            f"U-Net {kind}",
            lambda stop: _paused_by(make(stop), gate),
            on_event=lambda event: self._on_event(kind, event),
            on_result=take,
            on_error=lambda text: self._on_error(kind, text, cancelled or CANCELLED),
            on_end=end,
        )
        self._running[kind] = job
        self._session.say(message)
        job.start()

    def stop(self, kind: str, message: str) -> None:
        """Ask a running job to end: a prediction within a second, a training after the step in progress."""
        if getattr(self._session, kind) is JobState.RUNNING:
            self._session.move(kind, JobState.STOPPING)
            self._running[kind].stop()
            self._session.say(message)

    def abandon(self) -> None:
        """End every job without another word."""
        for job in self._running.values():
            job.abandon()
        self._training_may_go_on.set()

    def _on_event(self, kind: str, event: Any) -> None:
        session = self._session
        running = getattr(session, kind) is JobState.RUNNING
        # while a prediction runs, bar and message are the prediction's
        shown = running and (kind == "prediction" or session.prediction is JobState.IDLE)
        if isinstance(event, MainThread):
            event.run()
        if isinstance(event, Progress) and shown:
            session.progress = event.fraction
            session.say(event.message)
        if isinstance(event, FileStarted):
            self._file = event
        if isinstance(event, TileDone) and shown:
            self._show_tiles(event)
        elif isinstance(event, StepDone) and shown and self._is_time_to_tell():
            session.progress = event.fraction
            # what the training has to tell stays in sight; steps come faster than one can read
            said = self._notice or "You can go on correcting."
            session.say(f"Training: step {event.step}, {in_words(event.seconds_left)} left. {said}")
        elif isinstance(event, Finishing) and shown:
            session.say(f"Trained. Setting the thresholds and comparing, some seconds more. {self._notice}".strip())
        elif isinstance(event, Notice):
            session.say(event.message)
            if kind == "training":
                self._notice = event.message
                session.enough = session.enough or event.kind == "no_gain"
        if isinstance(event, StepDone | Validated):
            self._on_training_event(event)

    def _is_time_to_tell(self) -> bool:
        """Return whether the last step that was told is some time ago; more often, the window would have no rest."""
        now = time.monotonic()
        if now - self._told < _TELL_EVERY:
            return False
        self._told = now
        return True

    def _show_tiles(self, event: TileDone) -> None:
        session, file = self._session, self._file
        left = f"{event.done} of {event.total} tiles, {in_words(event.seconds_left)} left"
        if file is None:
            session.progress = event.done / event.total
            session.say(f"Segmenting: {left}.")
        else:
            session.progress = (file.number - 1 + event.done / event.total) / file.total
            session.say(f"Segmenting {file.path.name} ({file.number} of {file.total}): {left}.")

    def _on_error(self, kind: str, text: str, cancelled: str) -> None:
        if getattr(self._session, kind) is JobState.STOPPING:
            self._session.say(cancelled)
        else:
            self._session.say(text, problem=True)

    def _on_end(self, kind: str) -> None:
        self._session.move(kind, JobState.IDLE)
        del self._running[kind]
        if kind == "prediction":
            self._file, self._told = None, 0.0  # message and bar are the training's again, from its next step on
            self._training_may_go_on.set()
        if not self._running:
            self._session.progress = -1.0


def _paused_by(core: Generator[Any, None, Any], gate: StopFlag | None) -> Generator[Any, None, Any]:
    """Run a generator, waiting between two of its steps while the gate is down."""
    try:
        while True:
            if gate is not None:
                gate.wait()
            try:
                event = next(core)
            except StopIteration as done:
                return done.value
            yield event
    finally:
        core.close()


def in_words(seconds: float) -> str:
    """Return a time that something takes, in words."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"

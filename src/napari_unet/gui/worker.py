"""Runs a core generator in a background thread and hands its events to the main thread."""

from __future__ import annotations

import logging
from functools import partial
from threading import Event as StopFlag
from typing import TYPE_CHECKING, Any, TypeVar

from napari.qt.threading import create_worker
from qtpy.QtCore import QThreadPool

from napari_unet.errors import UNetError
from napari_unet.gui.turns import in_short_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

__all__ = ["Job"]

_log = logging.getLogger(__name__)
_R = TypeVar("_R")

_AT_ONCE = 8
"""Jobs that run side by side, whatever the number of cores."""


class Job:
    """One run of a generator in a background thread.

    Parameters
    ----------
    name : str
        What napari calls it when it asks whether to close the window all the same.
    make : callable
        Takes a stop flag and returns the generator. It is called in the thread.
    on_event, on_result, on_error, on_end : callable
        Called in the main thread: for each event (default: nothing is done), with the generator's result, with the
        message of an error, and always last, however it ended.

    Notes
    -----
    `quit` on a napari worker does not close its generator: it is closed here, in its own thread, so that it can keep
    what it has reached. A job is stopped through a flag that the generator polls. Qt workers swallow
    `RuntimeError`, so every error becomes one of ours. napari keeps every worker for as long as its window lives, so
    a job that is over lets go of what it was made of.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[StopFlag], Generator[Any, None, _R]],
        *,
        on_event: Callable[[Any], None] = lambda _: None,
        on_result: Callable[[_R], None],
        on_error: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._stop = StopFlag()
        self._hooks: dict[str, Callable[..., None]] = {
            "event": on_event,
            "result": on_result,
            "error": on_error,
            "end": on_end,
        }
        work = _guarded(make, self._stop, lambda: bool(self._worker.abort_requested))
        self._worker = create_worker(_Task(name, work), _start_thread=False)
        # the function keeps the job alive as long as its worker; methods are held weakly
        self._worker.yielded.connect(lambda event: self._tell("event", event))
        self._worker.returned.connect(self._sort_out)
        self._worker.finished.connect(self._end)
        # napari quits its workers when the window closes: then nothing may be touched any more
        self._worker.aborted.connect(self.abandon)

    def start(self) -> None:
        """Start the thread, without waiting for another to end: a training would halt all else on two cores."""
        pool = QThreadPool.globalInstance()
        assert pool is not None
        pool.setMaxThreadCount(max(pool.maxThreadCount(), _AT_ONCE))
        self._worker.start()

    def stop(self) -> None:
        """Ask the generator to end; its result or error still arrives."""
        self._stop.set()

    def abandon(self) -> None:
        """End without another word: the panel is gone."""
        self._hooks.clear()
        self._stop.set()
        self._worker.quit()

    @property
    def stop_flag(self) -> StopFlag:
        """The flag that the generator polls."""
        return self._stop

    def _tell(self, what: str, *arguments: Any) -> None:
        if what in self._hooks:
            self._hooks[what](*arguments)

    def _sort_out(self, outcome: Any) -> None:
        if isinstance(outcome, _Failure):
            self._tell("error", outcome.message)
        else:
            self._tell("result", outcome)

    def _end(self) -> None:
        self._tell("end")
        self._hooks.clear()


class _Task(partial):  # type: ignore[type-arg]
    """A generator function that is shown to the user by a name."""

    def __new__(cls, name: str, function: Callable[..., Any]) -> Self:
        task = super().__new__(cls, function)
        task.name = name
        return task

    name: str

    def __repr__(self) -> str:
        return self.name


class _Failure:
    def __init__(self, message: str) -> None:
        self.message = message


def _guarded(
    make: Callable[[StopFlag], Generator[Any, None, Any]], stop: StopFlag, is_over: Callable[[], bool]
) -> Callable[[], Generator[Any, None, Any]]:
    once = [make]

    def run() -> Generator[Any, None, Any]:
        try:
            return (yield from _until(in_short_turns(once.pop()(stop)), is_over))
        except UNetError as error:
            return _Failure(str(error))
        except Exception as error:
            _log.exception("a background job failed")
            return _Failure(f"Something went wrong inside the program ({type(error).__name__}: {error}). "
                            "Nothing is lost; try again, and report it if it comes back.")  # fmt: skip

    return run


def _until(core: Generator[Any, None, Any], is_over: Callable[[], bool]) -> Generator[Any, None, Any]:
    """Run a generator and close it as soon as nobody will ask for more."""
    while True:
        try:
            event = next(core)
        except StopIteration as done:
            return done.value
        if is_over():
            core.close()
        yield event

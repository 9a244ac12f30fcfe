"""Ends what somebody wants to stop."""

from __future__ import annotations

from concurrent.futures import Future, wait
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol

from napari_unet.errors import PredictionError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Asking", "Flag", "StoppedError", "check", "unless_stopped"]

_LOOK_EVERY = 0.05
"""Seconds."""


class StoppedError(PredictionError):
    """Somebody wanted it stopped."""


class Flag(Protocol):
    """Anything that can be asked whether somebody wants it stopped: a `threading.Event`."""

    def is_set(self) -> bool:
        """Return whether it is to stop."""


class Asking:
    """A flag that is set when a function says so.

    Parameters
    ----------
    is_set : callable
    """

    def __init__(self, is_set: Callable[[], bool]) -> None:
        self.is_set = is_set


def check(stop: Flag | None) -> None:
    """Do nothing as long as nobody wants it stopped. Long work calls it often.

    Raises
    ------
    StoppedError
        If the flag is set.
    """
    if stop is not None and stop.is_set():
        raise StoppedError("Stopped before it was finished.")


def unless_stopped(stop: Flag | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns that takes long and cannot be interrupted, such as a watershed.

    Where it is stopped, the function is left to itself in a thread that nobody waits for, not even at the end of the
    program: what it is given must not be changed later.

    Parameters
    ----------
    stop : threading.Event or alike, optional
        None: it is called right here.
    function : callable
    *arguments : object

    Raises
    ------
    StoppedError
        If the flag is set before it returns.
    """
    if stop is None:
        return function(*arguments)
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(function(*arguments))
        except BaseException as error:  # raised again where it is waited for
            outcome.set_exception(error)

    Thread(target=run, name="unless stopped", daemon=True).start()
    while not outcome.done():
        check(stop)
        wait([outcome], _LOOK_EVERY)
    return outcome.result()

"""Waits until the user rests."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QGuiApplication

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TIDY_MS", "Resting", "hands_rest"]

TIDY_MS = 15_000
"""Rest after which a layer goes that only helped; taking it out halts the window for a moment, as putting it in."""


class Resting:
    """Calls a function when nobody has asked for it for a while.

    Parameters
    ----------
    milliseconds : int
    call : callable
    """

    def __init__(self, milliseconds: int, call: Callable[[], None]) -> None:
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(milliseconds)
        self._timer.timeout.connect(call)

    def ask(self) -> None:
        """Call it when this was not asked for again in the meantime."""
        self._timer.start()

    def stop(self) -> None:
        """Do not call it."""
        with suppress(RuntimeError):  # Qt is gone already when Python ends
            self._timer.stop()

    @property
    def is_waiting(self) -> bool:
        """Whether the call is still to come."""
        return bool(self._timer.isActive())


def hands_rest() -> bool:
    """Return whether no mouse button is held: nothing is drawn or dragged that a halt of the window would spoil."""
    return bool(QGuiApplication.mouseButtons() == Qt.MouseButton.NoButton)

"""Short turns for the threads of Python while something works in the background."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

__all__ = ["in_short_turns"]

_SECONDS = 0.0005
"""A thread that has Python to itself gives it up after so long where another waits; Python's own 0.005 s are felt, for
the window asks for it again with each of the hundred calls that draw a frame."""

_lock = Lock()
_working: list[float] = []
"""For each that works, what was set before it began."""


def in_short_turns(core: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    """Run a generator, and let the other threads have short turns meanwhile. Close it when it is not run to its end."""
    with _short_turns():
        return (yield from core)


@contextmanager
def _short_turns() -> Iterator[None]:
    with _lock:
        _working.append(sys.getswitchinterval())
        sys.setswitchinterval(min(_SECONDS, _working[0]))
    try:
        yield
    finally:
        with _lock:
            before = _working[0]
            _working.pop()
            if not _working:
                sys.setswitchinterval(before)

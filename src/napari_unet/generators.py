"""Work that says how far it is, done to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["drained"]

_R = TypeVar("_R")


def drained(steps: Generator[Any, Any, _R]) -> _R:
    """Return the result of a generator, whatever it yields on the way."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: _R = done.value
            return result

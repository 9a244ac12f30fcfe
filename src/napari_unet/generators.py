"""Work that says how far it is: walked, done to its end, or a part of more work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Steps", "drained", "scaled"]

_Y = TypeVar("_Y")
_R = TypeVar("_R")


class Steps(Generic[_Y, _R]):
    """A generator to walk in a loop, once, whose result is there afterwards.

    Parameters
    ----------
    work : generator

    Attributes
    ----------
    result
        What it returned; there is none before its end.
    """

    result: _R

    def __init__(self, work: Generator[_Y, Any, _R]) -> None:
        self._work = work

    def __iter__(self) -> Generator[_Y]:
        """Walk what it yields."""
        self.result = yield from self._work


def drained(work: Generator[Any, Any, _R]) -> _R:
    """Return the result of a generator, whatever it yields on the way."""
    steps = Steps(work)
    for _ in steps:
        pass
    return steps.result


def scaled(work: Generator[float, Any, _R], start: float, stop: float) -> Generator[float, None, _R]:
    """Return work that says how far it is as a part of more work: from `start` to `stop`, instead of 0 to 1."""
    steps = Steps(work)
    for fraction in steps:
        yield start + (stop - start) * fraction
    return steps.result

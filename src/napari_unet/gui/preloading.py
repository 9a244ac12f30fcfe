"""Imports what a training needs before it is needed, such that the window does not halt."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["load_what_training_needs"]

_LATE = ("torch._dynamo",)
"""What torch imports when the first optimiser of a program is made: eight hundred modules."""

_lock = Lock()


def load_what_training_needs() -> None:
    """Import it, in a worker, where that has not been done."""
    with _lock, _no_search_for_garbage():
        for name in _LATE:
            import_module(name)


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """Spare what is made here the search for garbage, which would halt every thread for some tenths of a second.

    It goes to what is searched seldom, as what has been there for long.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.unfreeze()
            gc.enable()

"""Ends what somebody wants to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.errors import PredictionError

if TYPE_CHECKING:
    from threading import Event as StopFlag

__all__ = ["check"]


def check(stop: StopFlag | None) -> None:
    """Do nothing as long as nobody wants it stopped. Long work calls it often.

    Raises
    ------
    PredictionError
        If the flag is set.
    """
    if stop is not None and stop.is_set():
        raise PredictionError("Stopped before it was finished.")

"""Minutes, steps or epochs: how much of a training is done, and when to validate."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.training.config import TrainConfig

__all__ = ["Budget"]


class Budget:
    """Minutes or steps, whichever was asked for.

    Parameters
    ----------
    config : TrainConfig
    most : int, optional
        Steps after which it is used up in any case.
    """

    def __init__(self, config: TrainConfig, most: int | None = None) -> None:
        self._steps = config.steps
        self._most = most
        self._seconds = 60 * (config.minutes or 5.0)
        self._start = time.monotonic()
        self._done = 0
        self._validated = 0.0
        self._seconds_validating = self._last_validation = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start; those before a training was broken off count too."""
        return time.monotonic() - self._start

    @property
    def fraction(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        used = self._done / self._steps if self._steps else self.elapsed / self._seconds
        return min(1.0, max(used, self._done / self._most if self._most else 0.0))

    @property
    def is_at_most(self) -> bool:
        """Whether it is used up before the minutes or steps that were asked for."""
        asked_for = self._done >= self._steps if self._steps else self.elapsed >= self._seconds
        return self._most is not None and self._done >= self._most and not asked_for

    @property
    def left(self) -> float:
        """Share of the budget that is left, 0 to 1."""
        return 1.0 - self.fraction

    @property
    def seconds_left(self) -> float:
        """Estimate of the time that is left."""
        steps = min((n for n in (self._steps, self._most) if n is not None), default=None)
        to_go = float("inf") if steps is None else self.elapsed / max(1, self._done) * max(0, steps - self._done)
        return to_go if self._steps else min(to_go, max(0.0, self._seconds - self.elapsed))

    def begin(self) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def step_done(self) -> None:
        """Count a step."""
        self._done += 1

    def validation_is_due(self, ending: bool) -> bool:
        """Tell whether to validate now: up to twelve times, and at the end.

        With a budget of minutes at most a tenth of them goes into it, so that its cost decides how often.
        """
        if self.left == 0 or ending:
            return True
        if self.fraction < self._validated + 1 / 12:
            return False
        cheap = self._seconds_validating + self._last_validation <= 0.1 * self.elapsed
        return self._steps is not None or cheap

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Measure what a validation costs."""
        self._validated = self.fraction
        start = time.monotonic()
        yield
        self._last_validation = time.monotonic() - start
        self._seconds_validating += self._last_validation

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "elapsed": self.elapsed,
            "done": self._done,
            "validated": self._validated,
            "seconds_validating": self._seconds_validating,
            "last_validation": self._last_validation,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self._start = time.monotonic() - state["elapsed"]
        self._done = state["done"]
        self._validated = state["validated"]
        self._seconds_validating = state["seconds_validating"]
        self._last_validation = state["last_validation"]

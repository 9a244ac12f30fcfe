"""What long work reports while it runs: small immutable records, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Event", "Notice", "Score", "StepDone", "TileDone", "Validated"]


@dataclass(frozen=True)
class Score:
    """How well labels agree with the truth on held-out areas.

    Attributes
    ----------
    average_precision : float
        TP / (TP + FP + FN) at IoU 0.5, for instances; mean IoU over the classes, for classes.
    foreground_iou : float
        Intersection over union of foreground against background.
    objects : int
        Number of true objects it was computed on.
    """

    average_precision: float
    foreground_iou: float
    objects: int


@dataclass(frozen=True)
class TileDone:
    """One batch of tiles has been predicted."""

    done: int
    total: int
    seconds_left: float


@dataclass(frozen=True)
class StepDone:
    """One optimisation step has been taken.

    `fraction` (0 to 1) counts in the unit of the budget: minutes or steps.
    """

    step: int
    fraction: float
    loss: float
    parts: dict[str, float] = field(default_factory=dict)
    seconds_left: float = 0.0


@dataclass(frozen=True)
class Validated:
    """The network has been scored on the held-out areas."""

    step: int
    score: Score
    is_best: bool


@dataclass(frozen=True)
class Notice:
    """Something the user should be told once, such as a fallback to the CPU."""

    message: str


Event = TileDone | StepDone | Validated | Notice

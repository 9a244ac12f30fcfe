"""What long work reports while it runs: small immutable records, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Event",
    "FileDone",
    "FileFailed",
    "FileSkipped",
    "FileStarted",
    "Finishing",
    "Notice",
    "Score",
    "StepDone",
    "TileDone",
    "Validated",
]


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
class Finishing:
    """The last step has been taken; thresholds are set and models compared, which takes some seconds."""


@dataclass(frozen=True)
class Notice:
    """Something the user should be told once, such as a fallback to the CPU.

    Attributes
    ----------
    message : str
        In the user's words.
    kind : str
        For programs, where several can come: ``"out_of_memory"``, ``"went_back"``, ``"device"``, ``"no_gain"``,
        ``"resumed"``, ``"checkpoint"``, ``"epochs"``.
    """

    message: str
    kind: str = ""


@dataclass(frozen=True)
class FileStarted:
    """An image of a batch is begun: `number` counts from 1."""

    path: Path
    number: int
    total: int


@dataclass(frozen=True)
class FileDone:
    """The labels of an image are written; `found` counts objects or classes."""

    path: Path
    labels: Path
    found: int
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileSkipped:
    """An image of a batch was not segmented: `labels` is what is there already, None if it has none of its own."""

    path: Path
    labels: Path | None
    why: str


@dataclass(frozen=True)
class FileFailed:
    """An image of a batch cannot be segmented; the others go on."""

    path: Path
    message: str


Event = TileDone | StepDone | Validated | Finishing | Notice | FileStarted | FileDone | FileSkipped | FileFailed

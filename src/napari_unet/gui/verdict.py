"""How a new model compares with the old one, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unet.training import Paired, Trained

__all__ = ["advice_on", "verdict_on"]


def advice_on(trained: Trained) -> str:
    """Return ``"use"``, ``"keep"`` or ``"unsure"``; a first model of its kind has no old one to keep."""
    if trained.paired is None:
        return "use"
    return trained.paired.advice if trained.paired.total else "unsure"


def verdict_on(trained: Trained) -> str:
    """Return what was gained and lost, and what to do."""
    unit, measure = ("classes", "Mean IoU") if trained.model.spec.task == "semantic" else ("objects", "AP50")
    score, paired = trained.score, trained.paired
    facts = ["Stopped early."] if trained.stopped else []
    value = f"{measure} {score.average_precision:.2f}" if score is not None else ""
    if paired is not None and paired.total:
        counts = _counts(paired, unit)
        facts.append(f"{value}: {counts}." if value else f"{counts.capitalize()}.")
    elif score is not None:
        facts.append(f"{value} on {score.objects} held-out objects.")
    return " ".join([*facts, _what_to_do(paired)])


def _counts(paired: Paired, unit: str) -> str:
    seen = "held-out" if paired.held_out else "learned"
    text = f"gained {paired.gained}, lost {paired.lost} of {paired.total} {seen} {unit}"
    if paired.false_before or paired.false_after:
        text += f"; false ones: {paired.false_before} before, {paired.false_after} now"
    return text


def _what_to_do(paired: Paired | None) -> str:
    if paired is None:
        return "The outlines show what it finds."
    advice = paired.advice if paired.total else "unsure"
    if advice == "use":
        return "The new model is better: use it."
    if advice == "keep":
        worse = "The old model is better" if paired.held_out else "It does worse even where it has learned"
        return f"{worse}: keep the old one."
    if not paired.total:
        return "Compare the outlines yourself."
    why = "No clear difference" if paired.held_out else "It has seen these"
    return f"{why}: compare the outlines yourself."

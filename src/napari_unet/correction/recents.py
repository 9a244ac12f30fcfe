"""What was worked on lately, for the first line of an empty panel."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from napari_unet.correction.places import read_json, replace_json
from napari_unet.user_data import data_folder

__all__ = ["RecentWork", "note_recent", "recent"]

_KEPT = 20


@dataclass(frozen=True)
class RecentWork:
    """One store that was worked on.

    Attributes
    ----------
    name : str
        Of the image.
    image : str or None
        Its path.
    store : str
        Path of the store.
    kind : str
        What is corrected.
    when : float
        Last change, in seconds since the epoch.
    checked, corrected : int
        Objects.
    """

    name: str
    image: str | None
    store: str
    kind: str
    when: float
    checked: int = 0
    corrected: int = 0

    def line(self, now: float) -> str:
        """Return ``Continue img_03 (yesterday 18:40, 37 checked)``; `now` in seconds since the epoch."""
        then, today = datetime.fromtimestamp(self.when), datetime.fromtimestamp(now)
        days = (today.date() - then.date()).days
        day = {0: "today", 1: "yesterday"}.get(days, f"{then:%A}" if 1 < days < 7 else f"{then:%Y-%m-%d}")
        return f"Continue {Path(self.name).stem} ({day} {then:%H:%M}, {self.checked} checked)"


def recent(limit: int = 5) -> list[RecentWork]:
    """Return the stores that were worked on last, the newest first. Those that are gone are left out."""
    found = [work for entry in _entries() if (work := _parse(entry)) is not None and Path(work.store).is_dir()]
    return sorted(found, key=lambda work: -work.when)[:limit]


def note_recent(work: RecentWork) -> None:
    """Put a store at the top of the list. A list that cannot be written is done without."""
    others = [entry for entry in _entries() if entry.get("store") != work.store]
    with suppress(OSError):
        data_folder().mkdir(parents=True, exist_ok=True)
        replace_json(_file(), {"stores": [asdict(work), *others][:_KEPT]})


def _file() -> Path:
    return data_folder() / "recent.json"


def _entries() -> list[dict[str, Any]]:
    entries = read_json(_file()).get("stores", [])
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _parse(entry: dict[str, Any]) -> RecentWork | None:
    try:
        return RecentWork(**entry)
    except TypeError:
        return None

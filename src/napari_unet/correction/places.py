"""Small JSON files that are replaced whole, and folders whose names are certain to be on the disk."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from napari_unet.images import replace_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_json", "replace_json", "sync_folder"]


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file and put it in the place of the old one at once."""
    replace_file(path, json.dumps(content).encode())


def sync_folder(folder: Path) -> None:
    """Have the disk confirm the names in a folder, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

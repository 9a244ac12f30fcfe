"""What this machine has learned about itself: how fast a network runs here, and how much of it fits."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_unet.user_data import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from napari_unet.network import UNet

__all__ = ["recall", "remember", "signature"]

_DAYS = 7
"""Older entries are forgotten: drivers, cards and other programs change."""


def signature(network: UNet, device: torch.device, precision: str) -> str:
    """Return what tells runs apart that may differ in speed or memory."""
    shapes = [list(p.shape) for p in network.parameters()]
    code = hashlib.sha256(json.dumps([shapes, network.padding, network.flat_levels]).encode()).hexdigest()[:12]
    return f"{device.type} {precision} {code}"


def recall(key: str) -> dict[str, Any]:
    """Return what is known under a key, empty where nothing is."""
    entry = _read().get(key, {})
    return entry if time.time() - entry.get("time", 0) < _DAYS * 86400 else {}


def remember(key: str, **facts: float) -> None:
    """Add facts to what is known under a key. A cache that cannot be written is done without."""
    entries = _read()
    entries[key] = {**recall(key), **facts, "time": time.time()}
    path = _path()
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(entries))
        temporary.replace(path)


def _read() -> dict[str, dict[str, Any]]:
    with suppress(OSError, ValueError):
        entries = json.loads(_path().read_text())
        if isinstance(entries, dict):
            return {key: entry for key, entry in entries.items() if isinstance(entry, dict)}
    return {}


def _path() -> Path:
    return cache_folder() / "prediction.json"

"""Where the user's own things are: models, recent work, corrections that cannot lie beside their image."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path, user_data_path

__all__ = ["HOME_VARIABLE", "cache_folder", "data_folder"]

HOME_VARIABLE = "NAPARI_UNET_HOME"
"""Environment variable that names another folder, for example on a drive with more space."""


def data_folder() -> Path:
    """Return the user's data folder. It may not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home).expanduser() if home else user_data_path("napari-unet", appauthor=False)


def cache_folder() -> Path:
    """Return where things are that can be made again. It may not exist yet."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home).expanduser() / "cache" if home else user_cache_path("napari-unet", appauthor=False)

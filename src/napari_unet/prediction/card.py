"""A graphics card that this machine has and torch cannot use, and what to install."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

__all__ = ["CardProblem", "installed_card", "unused_card"]

TORCH_PAGE = "https://pytorch.org/get-started/locally"


@dataclass(frozen=True)
class CardProblem:
    """A card that torch cannot use.

    Attributes
    ----------
    found : str
        Which card, and why it is not used.
    advice : str
        What to install.
    """

    found: str
    advice: str


def unused_card(torch: Any = None) -> CardProblem | None:
    """Return which card of this machine torch cannot use, and the line that installs what is missing.

    Asks ``nvidia-smi``, which takes about a second: remember the answer.

    Parameters
    ----------
    torch : module, optional
        None: torch as it is installed.

    Returns
    -------
    CardProblem or None
        None where torch uses the card, or where there is none.
    """
    if torch is None:
        import torch
    card = installed_card()
    if card is None or torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return CardProblem(
            f"{card}, but torch {torch.__version__} is a build for the CPU",
            f"Linux: pip install --force-reinstall torch. Windows: the line with CUDA from {TORCH_PAGE}",
        )
    return CardProblem(
        f"{card}, but torch cannot use it: its driver is too old for CUDA {torch.version.cuda}",
        f"Update the NVIDIA driver, or take a torch for an older CUDA from {TORCH_PAGE}",
    )


def installed_card() -> str | None:
    """Return name and driver of the first card that ``nvidia-smi`` lists, None where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return None
    name, _, driver = lines[0].rpartition(", ")
    return f"{name} (driver {driver})"

"""What the benchmarks share: results that survive an interruption, tables, and what machine it was."""

from __future__ import annotations

import json
import platform
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import napari_unet as nu

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


class Runs:
    """Results by name in a JSON file. What is there is not run again.

    Parameters
    ----------
    path : Path
        Written after each run; it may exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of that name; run it and keep it if there is none."""
        if name not in self.results:
            self.results[name] = {**run(), **machine()}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self.results, indent=1))
            temporary.replace(self._path)
            print(f"  {name}: {_short(self.results[name])}", flush=True)
        result: dict[str, Any] = self.results[name]
        return result


def machine() -> dict[str, Any]:
    """Return the date, the device and the threads that a result was made with."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"
    return {"date": date.today().isoformat(), "device": device, "threads": torch.get_num_threads()}


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers get three decimals, what is missing "not run"."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def add_options(parser: argparse.ArgumentParser, results: str, steps: int) -> None:
    """Add the options that all training benchmarks have."""
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, help=f"training steps of each run (default {steps})")
    budget.add_argument("--minutes", type=float, help="or minutes")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="other settings of the recipe, also augmentation.NAME=VALUE",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--results", type=Path, default=Path(results), help="what is there is not run again")
    parser.set_defaults(default_steps=steps)


def train_config(options: argparse.Namespace, **values: Any) -> nu.TrainConfig:
    """Return the settings that the options ask for."""
    torch.set_num_threads(options.threads)
    budget = {"minutes": options.minutes} if options.minutes else {"steps": options.steps or options.default_steps}
    changed: dict[str, Any] = {}
    for setting in options.set:
        name, value = setting.split("=", 1)
        group, _, inner = name.rpartition(".")
        (changed.setdefault(group, {}) if group else changed)[inner] = value
    return nu.TrainConfig.model_validate({**budget, "threads": options.threads, **values, **changed})


def budget_name(options: argparse.Namespace) -> str:
    """Return the budget and what else was set in words, for the names of results."""
    budget = f"{options.minutes:g} min" if options.minutes else f"{options.steps or options.default_steps} steps"
    return ", ".join([budget, *options.set])


def _cell(value: Any) -> str:
    if value is None:
        return "not run"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _short(result: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_cell(value)}" for name, value in result.items() if isinstance(value, float | int | str))

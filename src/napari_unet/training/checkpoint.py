"""A training that was broken off goes on where it was: one file, never unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from napari_unet.errors import CheckpointError
from napari_unet.events import Event, Notice, Score, StepDone, Validated
from napari_unet.images import replace_file
from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_unet.models import Model
    from napari_unet.training.sampling import Field

__all__ = ["Unfinished", "fingerprint", "read_checkpoint", "read_unfinished", "write_checkpoint"]

_DOCUMENT = "document"
_VERSION = 1
_EVENTS = {kind.__name__: kind for kind in (StepDone, Validated, Notice)}


@dataclass(frozen=True)
class Unfinished:
    """A training that was broken off.

    Attributes
    ----------
    model : str
        Name of the model that it started from, or that was trained from scratch.
    config : TrainConfig
        Its settings: with these it goes on.
    minutes, steps : float, int
        How far it had come.
    is_finished : bool
        Whether that was its end: what is left is to decide on its result.
    """

    model: str
    config: TrainConfig
    minutes: float
    steps: int
    is_finished: bool = False

    @property
    def progress(self) -> str:
        """How far it had come, in words: "3 of 5 min", "20 of 300 steps"."""
        if self.config.steps is not None:
            return f"{self.steps} of {self.config.steps} steps"
        return f"{self.minutes:.0f} of {self.config.minutes or 5.0:.0f} min"


def fingerprint(config: TrainConfig, model: Model, fields: Sequence[Field]) -> str:
    """Return what tells one training from another: settings, first weights and data."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(config.model_dump_json().encode())
    digest.update(model.spec.model_dump_json().encode())
    for name, tensor in model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
    for field in fields:
        targets = field.targets
        learned = (targets.classes, targets.learn, targets.distances, targets.learn_distances, targets.presumed)
        for array in (field.image, *learned):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_checkpoint(
    path: Path, of: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any], history: Sequence[Event]
) -> None:
    """Write a checkpoint, first under a temporary name: one that is there is always whole.

    Parameters
    ----------
    path : Path
    of : str
        `fingerprint` of the training.
    tensors : mapping of str to Tensor
    state : mapping
        Whatever else there is to keep, as JSON can.
    history : sequence of Event

    Raises
    ------
    OSError
        If it cannot be written there.
    """
    events = [[type(event).__name__, asdict(event)] for event in history]
    document = json.dumps({"version": _VERSION, "of": of, "state": state, "history": events}).encode()
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content[_DOCUMENT] = torch.frombuffer(bytearray(document), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(content))


def read_checkpoint(path: Path, of: str) -> tuple[dict[str, Tensor], dict[str, Any], list[Event]] | None:
    """Return tensors, state and history of a checkpoint; None if there is none.

    Raises
    ------
    CheckpointError
        If it is damaged, or of another training.
    """
    try:
        tensors = load(path.read_bytes())
        document = json.loads(tensors.pop(_DOCUMENT).numpy().tobytes())
        belongs = document["version"] == _VERSION and document["of"] == of
        history = [_event(kind, values) for kind, values in document["history"]]
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"The checkpoint {path} cannot be read ({error}). Delete it to start the training from the beginning."
        ) from error
    if not belongs:
        raise CheckpointError(
            f"The checkpoint {path} is of another training: its images, labels, settings or first weights differ. "
            "Delete it, or choose another file, to start this training from the beginning."
        )
    return tensors, document["state"], history


def read_unfinished(path: str | Path) -> Unfinished | None:
    """Return what a checkpoint is of, without reading its weights; None if there is none that can go on.

    Parameters
    ----------
    path : path
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.get_tensor(_DOCUMENT).numpy().tobytes())["state"]
        config = TrainConfig.model_validate(state["config"])
        minutes, steps = state["budget"]["elapsed"] / 60, state["trainer"]["steps_done"]
        return Unfinished(state["model"], config, minutes, steps, state.get("is_finished", False))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _event(kind: str, values: dict[str, Any]) -> Event:
    if kind == "Validated":
        values = {**values, "score": Score(**values["score"])}
    event: Event = _EVENTS[kind](**values)
    return event

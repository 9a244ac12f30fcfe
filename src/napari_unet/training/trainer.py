"""One step after the other: the network with its optimiser, running average and source of patches."""

from __future__ import annotations

import copy
import math
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_unet.errors import TrainingError
from napari_unet.events import Event, Notice, StepDone
from napari_unet.models import Model
from napari_unet.prediction import has_bfloat16, is_out_of_memory, thread_count, threads
from napari_unet.training.losses import loss_of
from napari_unet.training.patches import PatchReader
from napari_unet.training.resolving import margin_of, patch_size
from napari_unet.training.sampling import PatchSampler, Place
from napari_unet.training.weights import average_into, make_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.network import UNet
    from napari_unet.training.budget import Budget
    from napari_unet.training.config import TrainConfig
    from napari_unet.training.sampling import Field

__all__ = ["Trainer"]

_REMEMBER_EVERY = 20
_MAX_FAILURES = 6
_RATE_AFTER_FAILURE = 0.3


@dataclass(frozen=True)
class _Batch:
    """Patches as the network gets them, ``BC(Z)YX`` on the training device."""

    image: Tensor
    distances: Tensor
    masks: Tensor


class Trainer:
    """Takes steps, and survives what can go wrong in one.

    Too little memory: the batch goes through the network in smaller chunks, with the gradients of the whole batch.
    A loss or gradient that is not a number: back to the last good weights, with a lower rate.

    Parameters
    ----------
    model : Model
        Its network is trained in place.
    fields : sequence of Field
    config : TrainConfig
    rng : numpy Generator
        Draws the patches.
    device : torch.device
    mistakes : sequence of ndarray of bool
        Where the model is wrong, for each field; more patches are drawn there.
    rehearsal : sequence of Field
        Of what the model knew before; each batch has a share of patches of them.
    """

    def __init__(
        self,
        model: Model,
        fields: Sequence[Field],
        config: TrainConfig,
        rng: np.random.Generator,
        device: torch.device,
        *,
        mistakes: Sequence[NDArray[np.bool_]] = (),
        rehearsal: Sequence[Field] = (),
    ) -> None:
        self._spec = model.spec
        self._config = config
        self._rate = config.learning_rate
        self._rng = rng
        self.device = device
        self.precision = config.precision
        if config.precision == "auto":
            self.precision = "bfloat16" if has_bfloat16(device) else "float32"
        self._batch = config.batch or 1
        self._patch = patch_size(model, fields, config)
        self._margin = margin_of(model)
        core = [n - 2 * m for n, m in zip(self._patch, self._margin, strict=True)]
        self._sampler = PatchSampler(
            fields, core, rng,
            mistakes=mistakes, favour_mistakes=config.favour_mistakes, presume=config.background_prior > 0,
        )  # fmt: skip
        self._rehearsed = max(1, round(self._batch * config.rehearsal)) if rehearsal and config.rehearsal else 0
        self._rehearsal = PatchSampler(rehearsal, core, rng) if self._rehearsed else None
        self._fields = len(fields)
        self._reader = PatchReader([*fields, *rehearsal], device)
        self._generator = torch.Generator().manual_seed(config.seed)
        layout = torch.channels_last if self._spec.spatial_dims == 2 else torch.channels_last_3d
        self._network: UNet = model.network.to(device, memory_format=layout)  # type: ignore[call-overload]
        self._network.train()
        for norm in _norms(self._network):
            norm.train(config.batch_norm != "keep")
        self._average = copy.deepcopy(self._network).eval().requires_grad_(False)
        self._optimizer = make_optimizer(self._network, config)
        prior = config.background_prior if self._sampler.presumes else 0.0
        self._loss = loss_of(self._spec, prior, 1.0 if config.distance_weight is None else config.distance_weight)
        self.threads = config.threads or thread_count()
        self.steps_done = 0
        self._chunk = self._batch
        self._rate_factor = 1.0
        self._failures = 0
        self._good: deque[dict[str, Tensor]] = deque(maxlen=2)
        self._remember()

    def step(self, budget: Budget) -> list[Event]:
        """Draw a batch, bend it, and take one step; return what there is to say, the step itself last.

        Raises
        ------
        TrainingError
            If not even a single patch fits into memory, or the loss stays not a number.
        """
        said: list[Event] = []
        with threads(self.threads):
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate * self._rate_factor * _schedule(budget.fraction, self._config.schedule)
            parts = self._fitting_gradients(self._draw(), said)
            norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
            total = sum(parts.values())
            if not (math.isfinite(total) and bool(torch.isfinite(norm))):
                return [*said, self._go_back()]
            self._optimizer.step()
            self.steps_done += 1
            # the average starts fast: the first weights are random
            decay = min(self._config.ema, self.steps_done / (9 + self.steps_done))
            average_into(self._average, self._network, decay)
            if self.steps_done % _REMEMBER_EVERY == 0:
                self._remember()
                self._failures = 0
        budget.step_done()
        return [*said, StepDone(self.steps_done, budget.fraction, total, parts, budget.seconds_left)]

    def result(self) -> Model:
        """Return the running average of the weights, on the CPU."""
        return Model(copy.deepcopy(self._average).cpu(), self._spec)

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, their average and the state of the optimiser by name; not copies."""
        found = {f"network.{name}": tensor for name, tensor in self._network.state_dict().items()}
        found |= {f"average.{name}": tensor for name, tensor in self._average.state_dict().items()}
        for number, parameter in enumerate(self._network.parameters()):
            for key, value in self._optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor):
                    found[f"optimizer.{number}.{key}"] = value
        return found

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Go to what `tensors` returned before, here or in another process."""
        for prefix, network in (("network", self._network), ("average", self._average)):
            for name, tensor in network.state_dict().items():
                tensor.copy_(tensors[f"{prefix}.{name}"])
        parameters = list(self._network.parameters())
        self._optimizer.state.clear()
        for name, tensor in tensors.items():
            kind, number, key = name.split(".", 2)
            if kind == "optimizer":
                parameter = parameters[int(number)]
                # in the memory layout of the weights, so that the arithmetic is the same to the last bit
                same_shape = tensor.shape == parameter.shape
                own = torch.empty_like(parameter).copy_(tensor) if same_shape else tensor.clone()
                self._optimizer.state[parameter][key] = own

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside the tensors."""
        return {
            "steps_done": self.steps_done,
            "chunk": self._chunk,
            "rate_factor": self._rate_factor,
            "failures": self._failures,
            "threads": self.threads,
            "device": str(self.device),
            "patches": self._rng.bit_generator.state,
            "augmentation": self._generator.get_state().tolist(),
        }

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint."""
        self.load_tensors(tensors)
        self.steps_done = state["steps_done"]
        self._chunk = state["chunk"]
        self._rate_factor = state["rate_factor"]
        self._failures = state["failures"]
        self.threads = state["threads"]
        self._rng.bit_generator.state = state["patches"]
        self._generator.set_state(torch.tensor(state["augmentation"], dtype=torch.uint8))
        self._good.clear()
        self._remember()

    def _draw(self) -> _Batch:
        places = self._sampler.draw(self._batch - self._rehearsed)
        if self._rehearsal is not None:
            places += [Place(self._fields + p.field, p.centre) for p in self._rehearsal.draw(self._rehearsed)]
        image, distances, masks = self._reader.read(places, self._patch, self._config.augmentation, self._generator)
        inner = [slice(m, n - m) for n, m in zip(self._patch, self._margin, strict=True)]
        core = (slice(None), slice(None), *inner)
        return _Batch(image, distances[core], masks[core])

    def _fitting_gradients(self, batch: _Batch, said: list[Event]) -> dict[str, float]:
        """Compute the gradients in chunks as small as the memory asks for."""
        before = self._chunk
        while True:
            try:
                parts = self._gradients(batch)
                break
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._chunk == 1:
                    raise TrainingError(
                        f"Not even one patch of {' x '.join(map(str, self._patch))} fits into the memory of "
                        f"{self.device}. Choose a smaller patch, or the device 'cpu'."
                    ) from error
            # outside of the handler: the error holds on to what was computed
            self._chunk = -(-self._chunk // 2)
            self._optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        if self._chunk != before:
            said.append(
                Notice(
                    f"{self.device} has too little memory for {before} patches at once: training goes on with "
                    f"{self._chunk} at a time, which is slower. What it learns stays the same.",
                    "out_of_memory",
                )
            )
        return parts

    def _gradients(self, batch: _Batch) -> dict[str, float]:
        self._optimizer.zero_grad(set_to_none=True)
        count = len(batch.image)
        chunks = [slice(start, start + self._chunk) for start in range(0, count, self._chunk)]
        if len(chunks) == 1:
            logits = self._forward(batch.image, 0)
            parts = self._loss(logits, batch.distances, batch.masks)
            torch.stack(list(parts.values())).sum().backward()
        else:
            # a loss of the whole batch is no mean of losses of its chunks: take its gradient at all logits first
            with torch.no_grad(), _statistics_at_rest(self._network):
                logits = torch.cat([self._forward(batch.image[chunk], chunk.start) for chunk in chunks])
            logits.requires_grad_()
            parts = self._loss(logits, batch.distances, batch.masks)
            (gradient,) = torch.autograd.grad(torch.stack(list(parts.values())).sum(), logits)
            for chunk in chunks:
                self._forward(batch.image[chunk], chunk.start).backward(gradient[chunk])
        return {name: float(part.detach()) for name, part in parts.items()}

    def _forward(self, image: Tensor, first: int) -> Tensor:
        """Run the network; dropout draws from the seed of this training, and leaves that of the process alone."""
        half = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        devices = [self.device] if self.device.type == "cuda" else []
        with half, torch.random.fork_rng(devices):
            torch.manual_seed(self._config.seed + self.steps_done + 1_000_003 * first)
            logits: Tensor = self._network(image)
        return logits.float()

    def _remember(self) -> None:
        self._good.append({name: tensor.detach().clone() for name, tensor in self.tensors().items()})

    def _go_back(self) -> Notice:
        self._failures += 1
        if self._failures > _MAX_FAILURES:
            raise TrainingError(
                "The training lost its way again and again (the loss is not a number). Choose a lower learning rate."
            )
        if self._failures > 1 and len(self._good) > 1:
            self._good.pop()
        self.load_tensors(self._good[-1])
        self._rate_factor *= _RATE_AFTER_FAILURE
        return Notice(
            "The loss was not a number: training goes on from the last good weights, with a lower learning rate.",
            "went_back",
        )


def _norms(network: UNet) -> list[nn.BatchNorm2d | nn.BatchNorm3d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)]


@contextmanager
def _statistics_at_rest(network: UNet) -> Iterator[None]:
    """Let no batch norm update its running statistics while the block runs."""
    norms = _norms(network)
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, (momentum, tracked) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, tracked


def _schedule(fraction: float, kind: str) -> float:
    """Return the factor of the learning rate: a short rise, then half a cosine down to a hundredth, or constant."""
    warm_up = 0.03
    if fraction < warm_up:
        return max(0.05, fraction / warm_up)
    if kind == "constant":
        return 1.0
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (fraction - warm_up) / (1 - warm_up)))

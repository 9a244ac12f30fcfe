"""Long work is safe: crashes, too little memory, losses that are no numbers, devices that compute wrongly, Stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_unet import Annotated, Model, ModelSpec, TrainConfig, Trained, iter_fine_tune, iter_train, train
from napari_unet.errors import CheckpointError, TrainingError
from napari_unet.events import Event, Finishing, Notice, StepDone, Validated
from napari_unet.models import load_model_file
from napari_unet.network import UNet
from napari_unet.training import estimate, read_unfinished, run, timing, trust, validation

if TYPE_CHECKING:
    from pathlib import Path

MakeSpec = Callable[..., ModelSpec]
Samples = Callable[..., list[Annotated]]
Quick = Callable[..., TrainConfig]
Forward = Callable[[UNet, torch.Tensor], torch.Tensor]


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def drain(steps: Any) -> tuple[list[Event], Trained]:
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as done:
            return events, done.value


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events if isinstance(event, Notice)]


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, StepDone)]


# broken off


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after each step instead of each minute."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture(scope="module")
def undisturbed(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples
) -> tuple[list[Annotated], TrainConfig, ModelSpec, Trained]:
    """Return a training that nothing broke off, and what it was made of."""
    samples, config = disc_samples(6), quick(steps=12, validation=0.3)
    spec = tiny_spec(network={"features": (4, 6), "dropout": 0.3})
    return samples, config, spec, train(samples, config, spec=spec)


@pytest.mark.parametrize("cut", [1, 6, 12])
def test_training_broken_off_goes_on_as_if_nothing_had_happened(
    cut: int, undisturbed: tuple[list[Annotated], TrainConfig, ModelSpec, Trained], tmp_path: Path
) -> None:
    samples, config, spec, whole = undisturbed
    file = tmp_path / "deep" / "run.checkpoint"
    steps = iter_train(samples, config, spec=spec, checkpoint=file)
    while True:
        event = next(steps)
        if isinstance(event, StepDone) and event.step == cut:
            steps.close()  # as a window does that goes away
            break
    unfinished = read_unfinished(file)
    assert unfinished is not None
    assert (unfinished.model, unfinished.steps, unfinished.progress) == ("tiny", cut, f"{cut} of 12 steps")
    assert unfinished.config.changed(batch=4) == unfinished.config
    events, resumed = drain(iter_train(samples, config, spec=spec, checkpoint=file))
    steps_taken = [number for number, event in enumerate(whole.history) if isinstance(event, StepDone)]
    assert kinds(events) == ["resumed", *kinds(whole.history[steps_taken[cut - 1] :])]
    assert losses(events) == losses(whole.history)[cut:]
    assert losses(resumed.history) == losses(whole.history)
    scores = [[e for e in one.history if isinstance(e, Validated)] for one in (whole, resumed)]
    assert scores[0] == scores[1]
    assert same(weights(resumed.model), weights(whole.model))
    assert not file.exists(), "nothing is left over"


@pytest.mark.parametrize("patience", [None, 1])
def test_finished_training_whose_checkpoint_is_kept_gives_its_result_again(
    patience: int | None,
    undisturbed: tuple[list[Annotated], TrainConfig, ModelSpec, Trained],
    tmp_path: Path,
) -> None:
    samples, config, spec, _ = undisturbed
    config, file = config.model_copy(update={"patience": patience}), tmp_path / "run.checkpoint"
    _, whole = drain(iter_train(samples, config, spec=spec, checkpoint=file, keep_checkpoint=True))
    unfinished = read_unfinished(file)
    assert unfinished is not None
    assert unfinished.is_finished
    events, again = drain(iter_train(samples, config, spec=spec, checkpoint=file, keep_checkpoint=True))
    assert not losses(events), "no step was taken"
    assert same(weights(again.model), weights(whole.model))
    assert again.model.spec.decoder == whole.model.spec.decoder
    assert again.score == whole.score
    assert file.exists()


SCRIPT = """
import json, sys
import numpy as np, torch
torch.set_num_threads(1)
from napari_unet import Annotated, ModelSpec, NetworkSpec, TrainConfig, iter_train, save_model
from napari_unet.training import run
run.CHECKPOINT_SECONDS = 0.0
rng = np.random.default_rng(0)
labels = np.zeros((64, 64), int)
labels[10:20, 10:20], labels[40:52, 30:44] = 1, 2
samples = [Annotated(rng.random((64, 64)) + (labels > 0), labels, name=str(n)) for n in range(3)]
config = TrainConfig(
    steps=30, batch=2, patch=32, device="cpu", precision="float32", threads=1, validation=0, tune_thresholds=False
)
spec = ModelSpec(name="tiny", network=NetworkSpec(features=(4, 6)))
steps = iter_train(samples, config, spec=spec, checkpoint=sys.argv[1])
while True:
    try:
        event = next(steps)
    except StopIteration as done:
        save_model(done.value.model, sys.argv[2])
        break
    print(json.dumps({"event": type(event).__name__, "step": getattr(event, "step", 0)}), flush=True)
"""


def test_killed_process_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(name: str) -> list[str]:
        return [
            sys.executable,
            "-c",
            SCRIPT,
            str(tmp_path / f"{name}.checkpoint"),
            str(tmp_path / f"{name}.safetensors"),
        ]

    killed = subprocess.Popen(command("killed"), stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    for line in killed.stdout:
        if json.loads(line)["step"] == 9:
            break
    killed.kill()
    killed.stdout.close()
    assert killed.wait() == -signal.SIGKILL
    # this process is another one than that which was killed
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    told = {}
    for name in ("killed", "undisturbed"):
        monkeypatch.setattr(sys, "argv", command(name)[2:])
        exec(SCRIPT, {})
        told[name] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    first, *steps = told["killed"]
    assert first["event"] == "Notice"
    assert 8 <= steps[0]["step"] <= 30, "it does not begin again"
    assert told["undisturbed"][0]["step"] == 1
    one, two = (weights(load_model_file(tmp_path / f"{name}.safetensors")) for name in ("killed", "undisturbed"))
    assert same(one, two)


@pytest.mark.usefixtures("every_step")
def test_how_far_a_training_had_come(tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, tmp_path: Path) -> None:
    assert read_unfinished(tmp_path / "none") is None
    file = tmp_path / "run"
    file.write_bytes(b"cut off")
    assert read_unfinished(file) is None
    file.unlink()
    steps = iter_train(disc_samples(1), quick(minutes=4, steps=None), spec=tiny_spec(), checkpoint=file)
    next(steps)
    steps.close()
    unfinished = read_unfinished(file)
    assert unfinished is not None
    assert unfinished.progress == "0 of 4 min"
    assert unfinished.config.minutes == 4


def test_checkpoint_of_another_training_or_a_damaged_one_is_refused(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, tmp_path: Path
) -> None:
    file = tmp_path / "run"
    samples = disc_samples(2)
    steps = iter_train(samples, quick(steps=9), spec=tiny_spec(), checkpoint=file)
    for _ in range(3):
        next(steps)
    steps.close()
    relabelled = Annotated(samples[0].image, np.roll(samples[0].labels, 1))
    for others, config in ((samples, quick(steps=9, seed=1)), ([relabelled, samples[1]], quick(steps=9))):
        with pytest.raises(CheckpointError, match="of another training"):
            train(others, config, spec=tiny_spec(), checkpoint=file)
    assert file.exists(), "it is not lost by that"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="Delete it"):
        train(samples, quick(steps=9), spec=tiny_spec(), checkpoint=file)


def test_checkpoint_is_written_each_minute(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    written = []
    monkeypatch.setattr(run, "write_checkpoint", lambda *_: written.append(now))
    for event in iter_train(disc_samples(1), quick(steps=20), spec=tiny_spec(), checkpoint=tmp_path / "run"):
        if isinstance(event, StepDone):
            now += 10.0
    assert 3 <= len(written) <= 4


@pytest.mark.usefixtures("every_step")
def test_full_disk_does_not_end_the_training(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    file = tmp_path / "file" / "run"
    with pytest.raises(CheckpointError):
        train(disc_samples(1), quick(), spec=tiny_spec(), checkpoint=file)
    taken = tmp_path / "taken"
    steps = iter_train(disc_samples(1), quick(steps=4), spec=tiny_spec(), checkpoint=taken)
    next(steps)
    taken.mkdir()
    events, trained = drain(steps)
    assert kinds(events) == ["checkpoint"], "said once"
    assert len(losses(trained.history)) == 4


@pytest.mark.usefixtures("every_step")
def test_stopped_training_can_go_on_later(
    disc_training: Trained, quick: Quick, disc_samples: Samples, tmp_path: Path
) -> None:
    samples, config, file = disc_samples(2), quick(steps=8), tmp_path / "run"
    undisturbed = list(iter_fine_tune(disc_training.model, samples, config))
    stop = threading.Event()
    steps = iter_fine_tune(disc_training.model, samples, config, stop=stop, checkpoint=file)
    for _ in range(3):
        next(steps)
    stop.set()
    _, stopped = drain(steps)
    assert stopped.stopped
    events, _ = drain(iter_fine_tune(disc_training.model, samples, config, checkpoint=file))
    assert kinds(events) == ["resumed"]
    assert losses(events) == losses(undisturbed)[3:]


# too little memory


def limited_to(patches: int, error: BaseException, forward: Forward) -> Forward:
    def run_out(self: UNet, x: torch.Tensor, *core: Any) -> torch.Tensor:
        if len(x) > patches:
            raise error
        return forward(self, x, *core)

    return run_out


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
@pytest.mark.parametrize("patches", [1, 3])
def test_too_little_memory_makes_smaller_steps_of_the_same_batch(
    patches: int, error: Exception, tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    samples, spec = disc_samples(2), tiny_spec(network={"norm": "none", "features": (4, 6)})
    at_once = train(samples, quick(steps=5), spec=spec)
    monkeypatch.setattr(UNet, "forward", limited_to(patches, error, UNet.forward))
    events, in_parts = drain(iter_train(samples, quick(steps=5), spec=spec))
    assert kinds(events) == ["out_of_memory"], "said once"
    np.testing.assert_allclose(losses(events), losses(at_once.history), rtol=1e-4)
    for name, tensor in weights(at_once.model).items():
        torch.testing.assert_close(weights(in_parts.model)[name], tensor, rtol=1e-3, atol=1e-4)


def test_statistics_of_batch_norm_are_counted_once_in_smaller_steps(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = disc_samples(2)
    monkeypatch.setattr(UNet, "forward", limited_to(2, MemoryError(), UNet.forward))
    trained = train(samples, quick(steps=3), spec=tiny_spec())
    assert int(weights(trained.model)["contracting.0.1.num_batches_tracked"]) == 3 * 2, "two chunks in each step"


def test_not_even_one_patch_fits(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UNet, "forward", limited_to(0, MemoryError(), UNet.forward))
    with pytest.raises(TrainingError, match=r"one patch of 32 x 32 fits into the memory of cpu\. Choose a smaller"):
        train(disc_samples(1), quick(), spec=tiny_spec())


def test_other_errors_are_not_taken_for_too_little_memory(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UNet, "forward", limited_to(0, RuntimeError("a bug"), UNet.forward))
    with pytest.raises(RuntimeError, match="a bug"):
        train(disc_samples(1), quick(), spec=tiny_spec())


# losses that are no numbers


@pytest.mark.parametrize("bad", [[3], [22], [22, 23, 24]])
def test_a_loss_that_is_no_number_goes_back_with_a_lower_rate(
    bad: list[int], tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    forward = UNet.forward

    def sometimes(self: UNet, x: torch.Tensor, *core: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return forward(self, x, *core) * (float("nan") if calls in bad else 1.0)

    monkeypatch.setattr(UNet, "forward", sometimes)
    rates = []
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]))
    events, trained = drain(iter_train(disc_samples(2), quick(steps=24), spec=tiny_spec()))
    straight = [event for event in events if isinstance(event, StepDone)]
    assert kinds(events) == ["went_back"] * len(bad)
    assert rates[-1] / rates[bad[0] - 2] < 0.4 ** len(bad)
    assert [event.step for event in straight] == list(range(1, 25)), "a step that failed does not count"
    assert np.isfinite(losses(events)).all()
    assert all(torch.isfinite(tensor).all() for tensor in weights(trained.model).values())


def test_a_network_that_only_gives_nonsense_is_told(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = UNet.forward
    monkeypatch.setattr(UNet, "forward", lambda self, x: forward(self, x) * float("inf"))
    with pytest.raises(TrainingError, match="lower learning rate"):
        train(disc_samples(1), quick(steps=20), spec=tiny_spec())


# devices


@pytest.mark.parametrize(("there", "used"), [("as the CPU", True), ("flat", False), ("nan", False), ("none", False)])
def test_device_whose_first_steps_do_not_lower_the_loss_is_not_used(
    there: str, used: bool, tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, on_cpu = trust.first_losses, list[float]()

    def fake(device: torch.device, *arguments: Any, **steps: int) -> list[float]:
        if device.type == "cpu":
            on_cpu.extend(real(device, *arguments))
            return on_cpu
        wrong = {"as the CPU": on_cpu, "flat": on_cpu[:1] * 20, "nan": [float("nan")] * 20, "none": []}
        return wrong[there]

    asked: list[str] = []

    class FakeTrainer(run.Trainer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            *others, device = arguments
            asked.append(str(device))
            super().__init__(*others, torch.device("cpu"), **options)

    monkeypatch.setattr(trust, "first_losses", fake)
    monkeypatch.setattr(run, "pick_device", lambda name: torch.device("mps"))
    monkeypatch.setattr(run, "Trainer", FakeTrainer)
    events, _ = drain(iter_train(disc_samples(2), quick(steps=2), spec=tiny_spec()))
    assert kinds(events) == ([] if used else ["device"])
    assert asked == (["mps"] if used else ["cpu"])
    assert len(losses(events)) == 2


def test_device_that_lacks_an_operation_is_not_used(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the meta device computes shapes only: its first loss cannot be read
    monkeypatch.setattr(run, "pick_device", lambda name: torch.device("meta"))
    events, trained = drain(iter_train(disc_samples(2), quick(steps=2), spec=tiny_spec()))
    assert kinds(events) == ["device"]
    assert "meta" in next(event.message for event in events if isinstance(event, Notice))
    assert all(tensor.device.type == "cpu" for tensor in weights(trained.model).values())


# Stop, and what it costs


def test_stop_while_scoring_is_heard(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, looked = threading.Event(), 0
    real = validation.field_maps

    def slow(*arguments: Any) -> Any:
        nonlocal looked
        looked += 1
        stop.set()
        return real(*arguments)

    monkeypatch.setattr(validation, "field_maps", slow)
    steps = iter_train(disc_samples(6), quick(steps=1000, validation=0.3), spec=tiny_spec(), stop=stop)
    events, trained = drain(steps)
    assert looked == 1
    assert trained.stopped
    assert trained.score is None or trained.score.objects >= 20
    assert not any(isinstance(event, Validated) for event in events)


def test_stop_after_the_last_step_leaves_the_rest_but_not_the_weights(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_SECONDS_AFTER_STOP", -1)
    stop = threading.Event()
    seen: list[Event] = []
    steps = iter_train(disc_samples(6), quick(steps=5, validation=0.3), spec=tiny_spec(), stop=stop)
    whole = train(disc_samples(6), quick(steps=5, validation=0.3), spec=tiny_spec())
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as done:
            trained = done.value
            break
        if isinstance(seen[-1], Finishing):
            stop.set()
    assert isinstance(seen[-1], Finishing)
    assert whole.score is not None
    assert trained.score is None
    assert not trained.stopped
    assert trained.model.spec.decoder == tiny_spec().decoder
    assert same(weights(trained.model), weights(whole.model))


def test_estimate_is_timed_once_and_corrected_by_trainings(
    tiny_spec: MakeSpec, quick: Quick, disc_samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, config = tiny_spec(), quick(steps=100)
    first = estimate(spec, config)
    assert first.steps == 100
    assert 0 < first.minutes == pytest.approx(100 * first.seconds_per_step / 60)
    monkeypatch.setattr(timing, "_time_step", lambda *_: pytest.fail("it is remembered"))
    assert estimate(spec, config) == first
    timing.remember_step_time(spec, config, 0.5)
    assert estimate(spec, config).minutes == pytest.approx(100 * 0.5 / 60)
    in_time = config.model_copy(update={"steps": None, "minutes": 2.0})
    assert estimate(spec, in_time).steps == 240
    train(disc_samples(1), quick(steps=12), spec=spec)
    assert estimate(spec, config).seconds_per_step < 0.5

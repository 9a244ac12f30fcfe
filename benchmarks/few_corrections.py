"""How far a few corrections take `nuclei` on another kind of image: T98G cells in phase contrast.

    python benchmarks/few_corrections.py --data DATA/t98g_phase [--steps 150] [--choices 3]

Four frames are for testing and never seen; of the other eight a person annotates some:

- *frames*: everything on two frames, against everything on all eight, with as many steps;
- *scattered*: ten scattered cells and five background strokes on one frame, nothing else;
- *loop*: round after round, the worst ten objects in one view of 512 x 512 pixels; the model of the round before shows
  them. Every round learns from all corrections so far, once from `nuclei`, once from scratch.

The size of the objects, 30 px, is about what a training of the panel takes of checked cells (`median_diameter`). Prints
AP at IoU 0.5 on the test frames. Results are kept in a file and not run again.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from _runs import Runs, add_options, budget_name, table, train_config
from _user import correct_worst, scattered

import napari_unet as nu
from napari_unet.events import StepDone
from napari_unet.prediction import median_diameter

if TYPE_CHECKING:
    from pathlib import Path

TEST_FRAMES = 4
VIEW = 512
Frame = tuple[Any, Any]


def read_frames(folder: Path) -> tuple[list[Frame], list[Frame]]:
    """Return image and labels of each frame: those for testing, those to work on."""
    frames = list(zip(*(tifffile.imread(folder / f"{name}.tif") for name in ("images", "labels")), strict=True))
    return frames[:TEST_FRAMES], frames[TEST_FRAMES:]


def diameters(frames: list[Frame]) -> str:
    """Return how large the cells of each frame are, in px."""
    return ", ".join(f"{median_diameter(labels):.0f}" for _, labels in frames)


def annotated(frame: Frame, name: str, size: float, labels: Any = None, status: Any = None) -> nu.Annotated:
    """Return a frame with its annotation (default: complete)."""
    image, truth = frame
    labels = truth if labels is None else labels
    return nu.Annotated(image, labels, status, name=name, object_diameter_px=size)


def segment(model: nu.Model, frame: Frame, size: float) -> Any:
    """Return the labels of a frame."""
    return nu.predict(frame[0], model, config=nu.PredictConfig(object_diameter_px=size)).labels


def score(model: nu.Model, frames: list[Frame], size: float) -> float:
    """Return the mean AP at IoU 0.5 over frames."""
    return float(np.mean([nu.average_precision(frame[1], segment(model, frame, size)) for frame in frames]))


def learn(
    base: nu.Model, samples: list[nu.Annotated], config: nu.TrainConfig, scratch: bool = False
) -> tuple[nu.Model, dict[str, Any]]:
    """Return what is learned from samples, from a model or with fresh weights of the same network, and what it took."""
    start = time.monotonic()
    trained = nu.train(samples, config, spec=base.spec) if scratch else nu.fine_tune(base, samples, config)
    steps = sum(isinstance(event, StepDone) for event in trained.history)
    return trained.model, {"steps": steps, "seconds": round(time.monotonic() - start, 1)}


def once(base: nu.Model, samples: list[nu.Annotated], test: list[Frame], config: nu.TrainConfig) -> dict[str, Any]:
    """Learn from samples and score."""
    model, cost = learn(base, samples, config)
    return {"AP50": score(model, test, samples[0].object_diameter_px), **cost}


def views(frames: list[Frame], rounds: int, rng: np.random.Generator) -> list[tuple[int, tuple[slice, slice]]]:
    """Return where a person looks, round after round: another quarter of another frame."""
    order = rng.permutation(len(frames))
    corners = [(y, x) for y in (0, VIEW) for x in (0, VIEW)]
    result = []
    for number in range(rounds):
        y, x = corners[(rng.integers(4) + number // len(order)) % 4]
        result.append((int(order[number % len(order)]), (slice(y, y + VIEW), slice(x, x + VIEW))))
    return result


def loop(
    base: nu.Model, frames: list[Frame], test: list[Frame], choice: int, count: int, rounds: int, options: Any
) -> dict[str, Any]:
    """Correct and learn, round after round; return the curves."""
    config, size = train_config(options, seed=choice), options.object_size
    work: dict[int, nu.Annotated] = {}
    model, objects, minutes = base, 0, 0.0
    curve = [{"objects": 0, "minutes": 0.0, "fine-tuned": score(base, test, size)}]
    for number, view in views(frames, rounds, np.random.default_rng(choice)):
        truth = frames[number][1]
        before = work.get(number)
        status = np.zeros(truth.shape, np.uint8) if before is None else before.status
        found = segment(model, frames[number], size)
        if before is not None:  # what is checked stays
            found = np.where(status == 1, before.labels, np.where(found > 0, found + before.labels.max(), 0))
        user = correct_worst(truth, found, status, count, view)
        objects += user.drawn + user.deleted
        work[number] = annotated(frames[number], f"frame {number}", size, user.labels, user.status)
        samples = list(work.values())
        model, cost = learn(base, samples, config)
        minutes += cost["seconds"] / 60
        point = {"objects": objects, "minutes": minutes, "fine-tuned": score(model, test, size)}
        if len(curve) % options.scratch_every == 0:
            point["from scratch"] = score(learn(base, samples, config, scratch=True)[0], test, size)
        curve.append(point)
        print(f"    round {len(curve) - 1}, complete {user.complete}: {point}", flush=True)
    return {"curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/few_corrections.json", 150)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--object-size", type=float, default=30, help="of a typical cell in pixels")
    parser.add_argument("--choices", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--per-round", type=int, default=10)
    parser.add_argument("--scratch-every", type=int, default=1, help="train from scratch every so many rounds")
    parser.add_argument("--parts", nargs="*", default=["frames", "scattered", "loop"])
    options = parser.parse_args()

    test, work = read_frames(options.data)
    print(f"median diameters of the cells in px: test frames {diameters(test)}; the others {diameters(work)}")
    base = nu.load_model(options.model)
    runs, budget = Runs(options.results), f"{budget_name(options)} | {options.object_size:g} px"
    rows = []
    for what, count in (("two frames", 2), ("all eight frames", len(work))):
        for choice in range(options.choices) if "frames" in options.parts else ():
            order = np.random.default_rng(choice).permutation(len(work))[:count]
            samples = [annotated(work[n], f"frame {n}", options.object_size) for n in order]
            config = train_config(options, seed=choice)
            runs.get(f"{what} | {budget} | {choice}", lambda s=samples, c=config: once(base, s, test, c))
        rows.append(row(runs, what, budget, options.choices))
    for choice in range(options.choices) if "scattered" in options.parts else ():
        rng = np.random.default_rng(choice)
        frame = work[rng.integers(len(work))]
        samples = [annotated(frame, "frame", options.object_size, *scattered(frame[1], 10, 5, rng))]
        config = train_config(options, seed=choice)
        runs.get(f"ten cells | {budget} | {choice}", lambda s=samples, c=config: once(base, s, test, c))
    rows.append(row(runs, "ten cells", budget, options.choices))
    for choice in range(options.choices) if "loop" in options.parts else ():
        name = f"loop of {options.per_round} | {budget} | {options.rounds} rounds | {choice}"
        curve = runs.get(name, lambda c=choice: loop(base, work, test, c, options.per_round, options.rounds, options))[
            "curve"
        ]
        columns = list(curve[-1])
        print(f"\n{name}\n{table(columns, [[point.get(column) for column in columns] for point in curve])}")
    print(f"\nAP50 on {len(test)} test frames, {budget}")
    print(table(["learned from", "mean", *(f"choice {n}" for n in range(options.choices))], rows))
    if rows[0][1] and rows[1][1]:
        print(f"two frames reach {rows[0][1] / rows[1][1]:.0%} of all eight (aim: 90 %)")


def row(runs: Runs, what: str, budget: str, choices: int) -> list[Any]:
    """Return the row of a table: mean and single values."""
    values = [runs.results.get(f"{what} | {budget} | {choice}", {}).get("AP50") for choice in range(choices)]
    there = [value for value in values if value is not None]
    return [what, float(np.mean(there)) if there else None, *values]


if __name__ == "__main__":
    main()

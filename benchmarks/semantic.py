"""Five classes of an electron micrograph from a few strokes, beside whole slices.

    python benchmarks/semantic.py --data DATA/vnc_sstem_multiclass [--steps 200] [--strokes 5] [--start nothing]

A person draws five strokes in each class (inside, membrane, mitochondria, synapses, glia) on three slices. The same
three slices annotated completely are the yardstick; the other recipe is the same. Training starts from the weights of
`nuclei`, as a new model of the panel does, or from nothing. Four other slices are for testing: intersection over union
of each class over all of them. Results are kept in a file and not run again.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import tifffile
from _runs import Runs, add_options, budget_name, table, train_config
from _user import scribbles

import napari_unet as nu
from napari_unet.events import StepDone
from napari_unet.models import ClassSpec

CLASSES = ("inside", "membrane", "mitochondria", "synapses", "glia")
LEARN, TEST = (0, 4, 8), (10, 11, 12, 13)
STROKE_PX = (60, 5)


def annotate(images: Any, labels: Any, what: str, strokes: int) -> list[nu.Annotated]:
    """Return the three slices as they were annotated. There is no background: classes are numbered from 0."""
    rng = np.random.default_rng(0)
    samples = []
    for z in LEARN:
        status = scribbles(labels[z], strokes, *STROKE_PX, rng) if what == "scribbles" else None
        samples.append(nu.Annotated(images[z], labels[z], status, name=f"slice {z}"))
    return samples


def run(images: Any, labels: Any, what: str, strokes: int, start: str, config: nu.TrainConfig) -> dict[str, Any]:
    """Train and score."""
    samples = annotate(images, labels, what, strokes)
    # the first class takes the place of the background, so that every class has one map
    spec = nu.ModelSpec(task="semantic", classes=tuple(ClassSpec(name=name) for name in CLASSES[1:]))
    base = None if start == "nothing" else nu.load_model(start)
    began = time.monotonic()
    trained = nu.train(samples, config, spec=spec, start=base)
    seconds = time.monotonic() - began
    found = np.stack([nu.predict(images[z], trained.model).labels for z in TEST])
    truth = labels[list(TEST)]
    result: dict[str, Any] = {name: nu.iou(truth == n, found == n) for n, name in enumerate(CLASSES)}
    voxels = sum(np.count_nonzero(s.status == 1) if s.status is not None else s.labels.size for s in samples)
    steps = sum(isinstance(event, StepDone) for event in trained.history)
    return {
        **result,
        "mean": float(np.mean(list(result.values()))),
        "annotated share": voxels / (len(LEARN) * labels[0].size),
        "steps": steps,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/semantic.json", 200)
    parser.add_argument("--strokes", type=int, default=5, help="strokes per class and slice")
    parser.add_argument(
        "--what", nargs="*", default=["scribbles", "whole slices"], choices=["scribbles", "whole slices"]
    )
    parser.add_argument("--start", default="nuclei", help="the model whose weights to start from, or: nothing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    images, labels = (tifffile.imread(options.data / f"{name}.tif") for name in ("images", "labels"))
    labels = labels - labels.min()  # 1 to 5 on disk
    config = train_config(options, seed=options.seed, validation=0.0)
    runs = Runs(options.results)
    budget = f"{budget_name(options)} from {options.start}"
    rows = []
    for what in ("scribbles", "whole slices"):
        name = f"{what}, {options.strokes} strokes | {budget} | {config.seed}"
        if what in options.what:
            runs.get(name, lambda what=what: run(images, labels, what, options.strokes, options.start, config))
        result = runs.results.get(name, {})
        rows.append([what, *(result.get(column) for column in (*CLASSES, "mean", "annotated share", "seconds"))])
    print(f"\nIoU on slices {TEST}, {budget}")
    print(table(["learned from", *CLASSES, "mean", "annotated share", "seconds"], rows))


if __name__ == "__main__":
    main()

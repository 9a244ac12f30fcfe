"""What the network should predict: distances, or borders between objects as in the paper.

    python benchmarks/heads.py --data DATA [--steps 600] [--what nuclei cells]

DATA holds `dsb2018_fluo` and `t98g_phase`. From scratch, the everyday network, the same images, steps, patches and seed
for each:

- *distances*: foreground, distance to the boundary and to the centre; divided where the distance dips;
- *boundary distance alone*: what the same maps give without the third;
- *borders*: two classes, soft-max, weighted at the borders between objects (the paper's loss); connected components.

Learned from the images that the training of `nuclei` learned from, scored on those it held out; of the phase contrast
four frames are for testing and the others learned from. Thresholds are set on what was learned from. Prints the mean
over images. Results are kept in a file and not run again.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from _runs import Runs, add_options, budget_name, table, train_config
from few_corrections import annotated, read_frames
from held_out import otsu, split_samples

import napari_unet as nu
from napari_unet.events import StepDone
from napari_unet.models import DecoderSpec
from napari_unet.prediction import decode

if TYPE_CHECKING:
    from collections.abc import Callable

CELL = 36
"""Width of a cell of the phase contrast in pixels."""

HEADS = {"distances": DecoderSpec(), "borders": DecoderSpec(kind="components")}
ALONE = "boundary distance alone"
MEASURES = ("AP50", "AP75", "AP", "foreground IoU")


def scores(segment: Callable[[Any], Any], tests: list[nu.Annotated]) -> dict[str, float]:
    """Return the means over images."""
    found = [(test.labels, segment(test.image)) for test in tests]
    levels = np.arange(0.5, 1, 0.05)
    precision = np.mean([[nu.average_precision(*pair, level) for level in levels] for pair in found], axis=0)
    overlap = np.mean([nu.iou(*pair) for pair in found])
    return dict(zip(MEASURES, map(float, (precision[0], precision[5], precision.mean(), overlap)), strict=True))


def without_centre(image: Any, model: nu.Model, config: nu.PredictConfig) -> Any:
    """Return labels made as if the centre distance said nothing."""
    maps = nu.predict(image, model, config=config, return_maps=True).maps.squeeze()
    return decode(np.stack([maps[0], maps[1], np.ones_like(maps[1])]), model.spec.decoder)


def learn(
    head: str, samples: list[nu.Annotated], tests: list[nu.Annotated], size: float | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Train from scratch and score."""
    spec = nu.ModelSpec(decoder=HEADS[head], object_diameter_px=size and 18)
    start = time.monotonic()
    trained = nu.train(samples, train_config(options, validation=0.0), spec=spec)
    seconds = round(time.monotonic() - start)
    config = nu.PredictConfig(object_diameter_px=size)
    result: dict[str, Any] = scores(lambda image: nu.predict(image, trained.model, config=config).labels, tests)
    if head == "distances" and size is None:
        result[ALONE] = scores(lambda image: without_centre(image, trained.model, config), tests)
    steps = sum(isinstance(event, StepDone) for event in trained.history)
    return {**result, "steps": steps, "seconds": seconds}


def nuclei(options: argparse.Namespace, runs: Runs) -> tuple[list[nu.Annotated], list[nu.Annotated], None]:
    """Return the images of nuclei to learn from and to score."""
    learned, held_out = split_samples([options.data / "dsb2018_fluo"], "mosaic_group", nu.load_model("nuclei"), runs)
    return learned, held_out, None


def cells(options: argparse.Namespace, _: Runs) -> tuple[list[nu.Annotated], list[nu.Annotated], float]:
    """Return the frames of phase contrast to learn from and to score."""
    test, work = ([annotated(frame, f"frame {n}", CELL) for n, frame in enumerate(frames)]
                  for frames in read_frames(options.data / "t98g_phase"))  # fmt: skip
    return work, test, CELL


DATA_SETS = {"nuclei": nuclei, "cells": cells}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/heads.json", 600)
    parser.add_argument("--what", nargs="*", default=list(DATA_SETS), choices=list(DATA_SETS))
    options = parser.parse_args()
    runs, rows = Runs(options.results), []
    for what in options.what:
        learned, tests, size = DATA_SETS[what](options, runs)
        otsu_scores = runs.get(f"{what} | Otsu", lambda t=tests: scores(otsu, t))
        rows.append([what, "Otsu", *(otsu_scores[name] for name in MEASURES), "", ""])
        for head in HEADS:
            result = runs.get(
                f"{what} | {head} | {budget_name(options)}",
                lambda h=head, s=learned, t=tests, n=size: learn(h, s, t, n, options),
            )
            rows.append([what, head, *(result[name] for name in (*MEASURES, "steps", "seconds"))])
            if ALONE in result:
                rows.append([what, ALONE, *(result[ALONE][name] for name in MEASURES), "", ""])
    print(f"\n{table(['', '', *MEASURES, 'steps', 'seconds'], rows)}")


if __name__ == "__main__":
    main()

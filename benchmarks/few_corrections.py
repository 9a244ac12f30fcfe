"""How far a few corrections take `nuclei` on another kind of image: T98G cells in phase contrast.

    python benchmarks/few_corrections.py --data DATA/t98g_phase [--minutes 5] [--choices 3]

Four frames are for testing and never seen. Of the other eight a person would draw: ten scattered cells and a few
background strokes on one frame; or everything on two frames; or everything on all eight. Prints AP at IoU 0.5 on the
test frames before and after, for each choice of frames and cells, and their mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from scipy import ndimage as ndi

import napari_unet as nu
from napari_unet.training import median_diameter

TEST_FRAMES = 4


def read_frames(folder: Path) -> list[tuple[Any, Any]]:
    """Return image and labels of each frame."""
    return list(zip(*(tifffile.imread(folder / f"{name}.tif") for name in ("images", "labels")), strict=True))


def scattered(labels: np.ndarray, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Return the status after a person has drawn some cells, well apart, and five short background strokes."""
    status = np.zeros(labels.shape, np.uint8)
    ids = rng.permutation(np.setdiff1d(np.unique(labels), [0]))[:cells]
    status[np.isin(labels, ids)] = 1
    empty = np.argwhere(ndi.distance_transform_edt(labels == 0) > 12)
    for y, x in empty[rng.choice(len(empty), 5)]:
        stroke = np.zeros(labels.shape, bool)
        stroke[y, max(0, x - 20) : x + 20] = True
        status[ndi.binary_dilation(stroke, iterations=4) & (labels == 0)] = 1
    return status


def drawn_samples(frames: list[Any], what: str, rng: np.random.Generator, cells: int) -> list[nu.Annotated]:
    """Return what the person has annotated."""
    order = rng.permutation(len(frames))
    if what == "cells":
        image, labels = frames[order[0]]
        status = scattered(labels, cells, rng)
        return [nu.Annotated(image, np.where(status == 1, labels, 0), status)]
    count = 2 if what == "two frames" else len(frames)
    return [nu.Annotated(*frames[n], name=f"frame {n}") for n in order[:count]]


def score(model: Any, frames: list[Any], size: float | None) -> float:
    """Return the mean AP at IoU 0.5 over frames."""
    config = nu.PredictConfig(object_diameter_px=size)
    return float(np.mean([nu.average_precision(t, nu.predict(i, model, config=config).labels) for i, t in frames]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--choices", type=int, default=3)
    parser.add_argument("--cells", type=int, default=10)
    parser.add_argument("--what", nargs="*", default=["cells", "two frames", "all frames"])
    options = parser.parse_args()

    frames = read_frames(options.data)
    test, work = frames[:TEST_FRAMES], frames[TEST_FRAMES:]
    base = nu.load_model(options.model)
    print(f"{options.model}, {options.minutes:g} minutes, {torch.get_num_threads()} threads, {len(test)} test frames")
    for what in options.what:
        results = []
        for choice in range(options.choices):
            samples = drawn_samples(work, what, np.random.default_rng(choice), options.cells)
            drawn = samples[0].labels if samples[0].status is None else samples[0].labels * (samples[0].status == 1)
            size = median_diameter(drawn)  # what a drag across a typical cell would give
            sized = [nu.Annotated(s.image, s.labels, s.status, name=s.name, object_diameter_px=size) for s in samples]
            before = score(base, test, size)
            tuned = nu.fine_tune(base, sized, nu.TrainConfig(minutes=options.minutes, seed=choice))
            steps = tuned.model.spec.provenance["steps"]
            after = score(tuned.model, test, size)
            results.append(after)
            print(
                f"  {what}, choice {choice}: AP50 {before:.3f} -> {after:.3f} ({steps} steps, cells of {size:.0f} px)",
                flush=True,
            )
        print(f"{what}: mean AP50 {np.mean(results):.3f}")


if __name__ == "__main__":
    main()

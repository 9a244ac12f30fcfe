"""Membranes of the ISBI 2012 challenge, the paper's first experiment: pixel error and Rand error.

    python benchmarks/isbi2012.py --data DATA/isbi2012_em [--steps 300] [--networks narrow paper]

Sixteen of the twenty slices are learned from, four held out. The challenge's test set is hidden, so the paper's figures
are only loosely comparable. *narrow* is the everyday network (32 to 160 features, same padding, batch norm); *paper*
that of the paper (64 to 1024 features, valid convolutions, dropout) on its 572 x 572 tiles, 14 seconds a step on a CPU
core: for a GPU.

Both errors are the best over thresholds of the membrane map, as in the challenge. Pixel error: share of the pixels
that are on the wrong side. Rand error: 1 - the F-score of pairs of pixels inside cells, of the cells that the
thresholded membranes leave over.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import tifffile
from _runs import Runs, add_options, budget_name, table, train_config
from skimage.measure import label
from skimage.metrics import adapted_rand_error

import napari_unet as nu
from napari_unet.events import StepDone
from napari_unet.models import ClassSpec, NetworkSpec

HELD_OUT = (4, 9, 14, 19)
PAPER = {"pixel error": 0.0611, "Rand error": 0.0382}
NETWORKS = {
    "narrow": (NetworkSpec(), {}),
    "paper": (
        NetworkSpec(features=(64, 128, 256, 512, 1024), padding="valid", norm="none", dropout=0.5),
        {"batch": 1, "patch": 572},
    ),
}


def errors(interior: Any, truth: Any, cells: Any) -> dict[str, float]:
    """Return both errors of maps of the interior, ``ZYX``, each at its best threshold."""
    pixel, rand = [], []
    for threshold in np.arange(0.1, 0.96, 0.05):
        inside = interior > threshold
        pixel.append(float(np.mean(inside != (truth > 0))))
        found = [label(plane, connectivity=1) for plane in inside]
        rand.append(
            float(np.mean([adapted_rand_error(t, f, ignore_labels=(0,))[0] for t, f in zip(cells, found, strict=True)]))
        )
    return {"pixel error": min(pixel), "Rand error": min(rand)}


def blurred(images: Any) -> Any:
    """Return what a blur alone finds: the brighter, the more inside."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(images.astype(np.float32), (0, 2, 2))
    return (smooth - smooth.min()) / np.ptp(smooth)


def run(images: Any, truth: Any, cells: Any, network: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and score."""
    spec_network, settings = NETWORKS[network]
    samples = [nu.Annotated(images[z], truth[z], name=f"slice {z}") for z in range(len(images)) if z not in HELD_OUT]
    spec = nu.ModelSpec(task="semantic", classes=(ClassSpec(name="inside"),), network=spec_network)
    config = train_config(options, **{"validation": 0.0, **settings})
    start = time.monotonic()
    trained = nu.train(samples, config, spec=spec)
    seconds = time.monotonic() - start
    maps = [nu.predict(images[z], trained.model, return_maps=True).maps for z in HELD_OUT]
    interior = np.stack([one.reshape(2, *images.shape[1:])[1] for one in maps])
    steps = sum(isinstance(event, StepDone) for event in trained.history)
    return {**errors(interior, truth[list(HELD_OUT)], cells[list(HELD_OUT)]), "steps": steps, "seconds": round(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/isbi2012.json", 300)
    parser.add_argument("--networks", nargs="*", default=["narrow"], choices=list(NETWORKS))
    options = parser.parse_args()
    images, labels, cells = (
        tifffile.imread(options.data / f"{name}.tif") for name in ("images", "labels", "instances_2d_derived")
    )
    truth = (labels > 0).astype(np.uint8)
    runs = Runs(options.results)
    held = list(HELD_OUT)
    rows: list[list[Any]] = [["the paper, on the hidden test set", *PAPER.values(), "", ""]]
    blur = runs.get("blur and threshold", lambda: errors(blurred(images)[held], truth[held], cells[held]))
    rows.append(["blur and threshold", blur["pixel error"], blur["Rand error"], "", ""])
    for network in NETWORKS:
        budget = budget_name(options)
        if network in options.networks:
            runs.get(f"{network} | {budget}", lambda n=network: run(images, truth, cells, n, options))
        result = runs.results.get(f"{network} | {budget}", {})
        rows.append([f"{network} network, {budget}", *(result.get(k) for k in (*PAPER, "steps", "seconds"))])
    print(f"\nfour held-out slices of twenty\n{table(['', *PAPER, 'steps', 'seconds'], rows)}")


if __name__ == "__main__":
    main()

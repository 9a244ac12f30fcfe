"""Nuclei in a volume, and touching rods in a movie: half to learn from, half to test.

    python benchmarks/volumes.py --data DATA [--steps 200] [--what ovule ecoli]

DATA holds `ovule_nuclei_3d` (one volume of 100 x 100 x 100 voxels: the one half along y is learned from, the other is
for testing; nuclei that lie across are left out) and `ecoli_phase_timelapse` (20 frames in which 2 cells become 17: the
first ten are learned from, the last ten are for testing; from `nuclei`, and from scratch). Prints AP at IoU 0.5.
Results are kept in a file and not run again.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from _runs import Runs, add_options, budget_name, table, train_config
from _user import typical_width
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu

import napari_unet as nu
from napari_unet.events import StepDone
from napari_unet.models import NetworkSpec
from napari_unet.training import match_objects

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES = 10
VOLUME_NETWORK = NetworkSpec(spatial_dims=3, features=(16, 32, 48, 64), flat_levels=1)


def read(options: argparse.Namespace, folder: str) -> tuple[Any, Any]:
    """Return images and labels."""
    images, labels = (tifffile.imread(options.data / folder / f"{name}.tif") for name in ("images", "labels"))
    return images, labels.astype(np.int32)


def cost(trained: nu.Trained, start: float) -> dict[str, Any]:
    """Return what a training took."""
    steps = sum(isinstance(event, StepDone) for event in trained.history)
    return {"steps": steps, "seconds": round(time.monotonic() - start, 1)}


def ovule(options: argparse.Namespace, how: str) -> dict[str, Any]:
    """Return the score of nuclei in a volume."""
    images, labels = read(options, "ovule_nuclei_3d")
    middle = labels.shape[1] // 2
    across = np.intersect1d(labels[:, :middle], labels[:, middle:])
    checked = ~np.isin(labels, across[across > 0])
    checked[:, :middle] = False
    took: dict[str, Any] = {}
    if how == "Otsu":
        found = ndi.label(ndi.gaussian_filter(images.astype(float), 1) > threshold_otsu(images))[0]
    else:
        status = np.zeros(labels.shape, np.uint8)
        status[:, :middle] = 1
        sample = nu.Annotated(images, labels, status, axes="ZYX")
        config = train_config(options, validation=0.0, batch=2)
        start = time.monotonic()
        trained = nu.train([sample], config, spec=nu.ModelSpec(network=VOLUME_NETWORK))
        took = cost(trained, start)
        found = nu.predict(images, trained.model, axes="ZYX").labels
    return {"AP50": match_objects(labels, found, 0.5, checked).average_precision, **took}


def ecoli(options: argparse.Namespace, how: str) -> dict[str, Any]:
    """Return the score of cells in a movie, the mean over its frames."""
    images, labels = read(options, "ecoli_phase_timelapse")
    took: dict[str, Any] = {}
    if how == "Otsu":
        found = np.stack([ndi.label(image < threshold_otsu(image))[0] for image in images[FRAMES:]])
    else:
        base = nu.load_model("nuclei")
        size = float(np.median([typical_width(frame) for frame in labels[:FRAMES]]))
        sample = nu.Annotated(images[:FRAMES], labels[:FRAMES], axes="TYX", object_diameter_px=size)
        config = train_config(options, validation=0.0)
        start = time.monotonic()
        scratch = how == "from scratch"
        trained = nu.train([sample], config, spec=base.spec) if scratch else nu.fine_tune(base, [sample], config)
        took = cost(trained, start)
        config_there = nu.PredictConfig(object_diameter_px=size)
        found = nu.predict(images[FRAMES:], trained.model, axes="TYX", config=config_there).labels
    pairs = zip(labels[FRAMES:], found, strict=True)
    return {"AP50": float(np.mean([nu.average_precision(truth, one) for truth, one in pairs])), **took}


TASKS: dict[str, tuple[Callable[..., dict[str, Any]], tuple[str, ...]]] = {
    "ovule": (ovule, ("Otsu", "from scratch")),
    "ecoli": (ecoli, ("Otsu", "from nuclei", "from scratch")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/volumes.json", 200)
    parser.add_argument("--what", nargs="*", default=list(TASKS), choices=list(TASKS))
    options = parser.parse_args()
    runs = Runs(options.results)
    rows = []
    for task, (score, ways) in TASKS.items():
        for how in ways:
            name = f"{task} | {how}" + ("" if how == "Otsu" else f" | {budget_name(options)}")
            if task in options.what:
                runs.get(name, lambda score=score, how=how: score(options, how))
            result = runs.results.get(name, {})
            rows.append([task, how, result.get("AP50"), result.get("steps", ""), result.get("seconds", "")])
    print(f"\n{table(['', '', 'AP50', 'steps', 'seconds'], rows)}")


if __name__ == "__main__":
    main()

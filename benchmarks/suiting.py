"""Whether the model that suits an image is chosen, and whether it is told where none does.

    python benchmarks/suiting.py --data DATA [--images 8]

DATA holds the data sets. Images that the trainings of the shipped models held out, and images of other kinds, are
looked at by each model as the panel does it; prints how sure the models are (mean and range of the mean peak of the
last distance map), and which one is chosen, `nuclei` being preferred.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from _runs import table
from held_out import split_samples
from object_size import SETS

import napari_unet as nu
from napari_unet.generators import drained
from napari_unet.images import has_bright_ground, to_canonical
from napari_unet.prediction import iter_find_model, iter_surest_look

NAMES = ("nuclei", "nuclei-stained", "cells-phase")
STACKS = {
    "nuclei of an embryo (`stardist_test`)": "stardist_test/img2d.tif",
    "nuclei of a volume (`cells3d_nuclei`)": "cells3d_nuclei/images.tif",
    "nuclei of an ovule": "ovule_nuclei_3d/images.tif",
    "membranes of an ovule": "ovule_membrane_3d/images.tif",
    "bacteria, phase contrast": "ecoli_phase_timelapse/images.tif",
    "electron microscopy (`isbi2012_em`)": "isbi2012_em/images.tif",
    "electron microscopy (`vnc_sstem`)": "vnc_sstem_multiclass/images.tif",
}


def images_of(data: Path, count: int) -> dict[str, list[tuple[Any, str]]]:
    """Return images with their axes by kind."""
    kinds: dict[str, list[tuple[Any, str]]] = {}
    for name, model_name, groups, folders in SETS:
        held_out = split_samples([data / one for one in folders], groups, nu.load_model(model_name))[1]
        order = np.random.default_rng(0).permutation(len(held_out))[:count]
        kinds[f"{name}, held out"] = [(held_out[n].image, held_out[n].axes or "YX") for n in order]
    for name, file in STACKS.items():
        stack = tifffile.imread(data / file)
        planes = stack[None] if stack.ndim == 2 else stack
        middle = planes[len(planes) // 5 : len(planes) - len(planes) // 5]  # the ends of volumes are empty
        places = np.linspace(0, len(middle) - 1, min(count, len(middle))).round().astype(int)
        kinds[name] = [(middle[n], "YX") for n in places]
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--images", type=int, default=8, help="of each kind at most")
    options = parser.parse_args()

    models = {name: nu.load_model(name) for name in NAMES}
    rows = []
    for kind, images in images_of(options.data, options.images).items():
        sure: dict[str, list[float]] = {name: [] for name in NAMES}
        chosen: Counter[str] = Counter()
        for image, axes in images:
            for name, model in models.items():
                look = drained(iter_surest_look(image, model, axes=axes))
                sure[name].extend([] if look is None else [look.sureness])
            bright = has_bright_ground(to_canonical(image, axes))
            order = sorted(NAMES, key=lambda name, b=bright: name != ("nuclei-stained" if b else "nuclei"))
            suited = drained(iter_find_model(image, (models[name] for name in order), axes=axes))
            chosen[suited.model.spec.name if suited.is_known else "none"] += 1
        words = ", ".join(f"{name} {count}" for name, count in chosen.most_common())
        rows.append([kind, *(spread(sure[name]) for name in NAMES), words])
        print(rows[-1], flush=True)
    print(table(["images", *NAMES, "chosen"], rows))


def spread(values: list[float]) -> str:
    """Return mean and range in words."""
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "nothing found"


if __name__ == "__main__":
    main()

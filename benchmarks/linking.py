"""How much planes must overlap to be linked into 3-D objects: the default of `PredictConfig.min_overlap`.

    python benchmarks/linking.py --data DATA

Three stacks with 3-D truth. *cut*: the truth itself, cut into planes and linked again, which is the best that linking
can do. *predicted*: the planes of `nuclei`, linked. Prints AP at IoU 0.5 in 3-D for each minimum overlap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile

import napari_unet as nu
from napari_unet.prediction import link, median_diameter

STACKS = {
    "cells3d": "cells3d_nuclei/{}.tif images labels",
    "ovules": "ovule_nuclei_3d/{}.tif images labels",
    "stardist": "stardist_test/{}.tif img3d labels3d",
}


def linked(planes: list[np.ndarray], overlap: float) -> np.ndarray:
    """Return planes linked one by one."""
    result = [planes[0].astype(np.int32)]
    highest = int(planes[0].max())
    for plane in planes[1:]:
        result.append(link(result[-1], plane, min_overlap=overlap, above=highest))
        highest = max(highest, int(result[-1].max()))
    return np.stack(result)


def cut(truth: np.ndarray) -> list[np.ndarray]:
    """Return each plane of the truth with ids of its own."""
    ids = [np.unique(np.append(0, plane)) for plane in truth]
    return [np.searchsorted(known, plane).astype(np.int32) for known, plane in zip(ids, truth, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--overlaps", type=float, nargs="*", default=[0.01, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    options = parser.parse_args()

    model = nu.load_model("nuclei")
    print("minimum overlap      " + "".join(f"{overlap:8.2f}" for overlap in options.overlaps))
    for name, where in STACKS.items():
        pattern, image_name, label_name = where.split()
        image, truth = (tifffile.imread(options.data / pattern.format(one)) for one in (image_name, label_name))
        size = median_diameter(truth[len(truth) // 2])
        config = nu.PredictConfig(object_diameter_px=size, link_z=False)
        predicted = list(nu.predict(image, model, axes="ZYX", config=config).labels)
        for kind, planes in (("cut", cut(truth)), ("predicted", predicted)):
            scores = [nu.average_precision(truth, linked(planes, overlap)) for overlap in options.overlaps]
            print(f"{name:<10} {kind:<10}" + "".join(f"{score:8.3f}" for score in scores), flush=True)


if __name__ == "__main__":
    main()

"""What it is worth that the object size is found: images of other magnifications, segmented as they are and rescaled.

    python benchmarks/object_size.py --data DATA [--images 6] [--zooms 0.5 1 2 3]

DATA holds `dsb2018_fluo`, `dsb2018_histology`, `dsb2018_papsmear` and `t98g_phase`. Each image is shown at several
sizes, as a microscope of another magnification would, and segmented three ways: as it is; with the object size that the
model finds (`find_object_size`); with the median diameter of its true objects, as a user would measure it. All images
are those that the models' trainings held out.
Prints AP at IoU 0.5, mean over images, and how far the size that was found is from the true one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _runs import table
from held_out import split_samples
from skimage.transform import rescale

import napari_unet as nu
from napari_unet.prediction import median_diameter

SETS = (
    ("fluorescence", "nuclei", "mosaic_group", ("dsb2018_fluo",)),
    ("stained tissue", "nuclei-stained", "mosaic_group", ("dsb2018_histology", "dsb2018_papsmear")),
    ("phase contrast", "cells-phase", "", ("t98g_phase",)),
)
LARGEST = 600
"""Pixels of a side that are cut out of each image."""


def zoomed(sample: nu.Annotated, zoom: float) -> nu.Annotated:
    """Return an image with its labels as if it had been taken at another magnification."""
    image, labels = sample.image[:LARGEST, :LARGEST], sample.labels[:LARGEST, :LARGEST]
    if zoom != 1:
        channel = -1 if image.ndim == 3 else None
        image = rescale(
            image.astype(np.float32), zoom, anti_aliasing=zoom < 1, preserve_range=True, channel_axis=channel
        )
        labels = rescale(labels, zoom, order=0, anti_aliasing=False, preserve_range=True).astype(labels.dtype)
    return nu.Annotated(image, labels, axes=sample.axes, name=sample.name)


class Compared(NamedTuple):
    """APs of one image; `off_by` is the factor between the size that was found and the true one."""

    diameter: float
    as_it_is: float
    with_found: float
    with_measured: float
    off_by: float | None


def compared(model: nu.Model, sample: nu.Annotated) -> Compared | None:
    """Segment an image in the three ways; None where it has no objects."""
    true = median_diameter(sample.labels)
    if true is None:
        return None
    found = nu.find_object_size(sample.image, model, axes=sample.axes)
    as_it_is = score(model, sample, None)
    with_found = as_it_is if found is None else score(model, sample, found)
    off = None if found is None else float(2 ** abs(np.log2(found / true)))
    return Compared(true, as_it_is, with_found, score(model, sample, true), off)


def score(model: nu.Model, sample: nu.Annotated, size: float | None) -> float:
    """Return the AP of an image segmented with an object size."""
    config = nu.PredictConfig(object_diameter_px=size)
    labels = nu.predict(sample.image, model, axes=sample.axes, config=config).labels
    return nu.average_precision(sample.labels, labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--images", type=int, default=6, help="of each set, drawn with a fixed seed")
    parser.add_argument("--zooms", type=float, nargs="+", default=[0.5, 1, 2, 3])
    options = parser.parse_args()

    rows = []
    for name, model_name, groups, folders in SETS:
        model = nu.load_model(model_name)
        samples = split_samples([options.data / one for one in folders], groups, model)[1]
        order = np.random.default_rng(0).permutation(len(samples))[: options.images]
        for zoom in options.zooms:
            scored = [one for n in order if (one := compared(model, zoomed(samples[n], zoom))) is not None]
            diameters, *values = np.array([one[:4] for one in scored]).T
            off = [one.off_by for one in scored if one.off_by is not None]
            rows.append(
                [
                    f"{name}, {model_name}",
                    f"{zoom:g}",
                    f"{np.median(diameters):.0f}",
                    *(float(one.mean()) for one in values),
                    f"{len(off)} of {len(scored)}",
                    f"{np.median(off):.2f}" if off else "",
                ]
            )
            print(rows[-1], flush=True)
    header = [
        "images, model",
        "zoom",
        "objects, px",
        "as they are",
        "size found",
        "size measured",
        "rescaled",
        "off by",
    ]
    print(table(header, rows))


if __name__ == "__main__":
    main()

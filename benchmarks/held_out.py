"""Score a model on the images that its training held out.

    python benchmarks/held_out.py --data DATA/dsb2018_fluo --groups mosaic_group [--model nuclei]
    python benchmarks/held_out.py --data DATA/t98g_phase --object-size 36 --model cells-phase
    python benchmarks/held_out.py --data DATA/dsb2018_histology DATA/dsb2018_papsmear --model nuclei-stained --measured

A folder holds an `index.csv` and the images and labels that it names, or `images.tif` and `labels.tif`, whose frames
are images of their own. Takes the split from the program itself (`hold_out` with the seed and share that the model's
provenance names), predicts each held-out image as a user would, and prints the mean over images. Beside it: a threshold
after Otsu with connected components on the same images. With --measured the object size of an image is the median
diameter in its group, as if a user had measured an object; with --found it is what the model finds out, as on the
command line and in the panel.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu

import napari_unet as nu
from napari_unet.network import halo
from napari_unet.prediction import median_diameter
from napari_unet.training.sampling import make_fields
from napari_unet.training.validation import hold_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _runs import Runs


def read_samples(folder: Path, column: str, size: float | None = None) -> list[nu.Annotated]:
    """Return the images of a folder with their labels and groups; without an index, the frames of its stack."""
    if not (folder / "index.csv").exists():
        stacks = [tifffile.imread(folder / f"{name}.tif") for name in ("images", "labels")]
        return [
            nu.Annotated(image, labels, group=f"frame {n}", name=f"frame {n}", object_diameter_px=size)
            for n, (image, labels) in enumerate(zip(*stacks, strict=True))
        ]
    rows = sorted(csv.DictReader((folder / "index.csv").open(newline="")), key=lambda row: row["file"])
    samples = []
    for row in rows:
        image, labels = (tifffile.imread(folder / what / f"{row['file']}.tif") for what in ("images", "labels"))
        samples.append(
            nu.Annotated(
                image,
                labels,
                axes="YXS" if image.ndim == 3 else "YX",
                group=row[column],
                name=f"{row['file']}.tif",
                object_diameter_px=size,
            )
        )
    return samples


def measured(samples: Sequence[nu.Annotated]) -> list[nu.Annotated]:
    """Return samples with the object size that was measured in their groups."""
    diameters: dict[str | None, list[float]] = {}
    for one in samples:
        diameters.setdefault(one.group, []).append(median_diameter(one.labels) or np.nan)
    sizes = {group: float(np.nanmedian(values)) for group, values in diameters.items()}
    return [replace(one, object_diameter_px=sizes[one.group]) for one in samples]


def split_samples(
    folders: Sequence[Path],
    column: str,
    model: nu.Model,
    runs: Runs | None = None,
    size: float | None = None,
    *,
    is_measured: bool = False,
) -> tuple[list[nu.Annotated], list[nu.Annotated]]:
    """Return the images that a model learned from and those held out; their names are kept in `runs` if given."""
    config = model.spec.provenance["config"]
    samples = [one for folder in folders for one in read_samples(folder, column, size)]
    if len(folders) > 1:  # as if they were one
        samples.sort(key=lambda one: one.name)
    if is_measured:
        samples = measured(samples)

    def split() -> dict[str, list[str]]:
        rng = np.random.default_rng(config["seed"])
        fields = make_fields(samples, model.spec)
        return {"names": [field.name for field in hold_out(fields, config["validation"], halo(model.network), rng)[1]]}

    names = set((split() if runs is None else runs.get(f"held out | {model.spec.name}", split))["names"])
    return [s for s in samples if s.name not in names], [s for s in samples if s.name in names]


def otsu(image: np.ndarray, *, is_dark: bool = False) -> np.ndarray:
    """Return the connected components above the threshold of Otsu, or below it; colours count by their brightness."""
    grey = image.mean(-1) if image.ndim == 3 else image
    above = grey > threshold_otsu(grey)
    return ndi.label(above != is_dark)[0]


def segment(model: nu.Model, sample: nu.Annotated, *, found: bool = False) -> np.ndarray:
    """Return what a model finds in an image, with the size of its objects as the sample tells or as the model finds."""
    size = nu.find_object_size(sample.image, model, axes=sample.axes) if found else sample.object_diameter_px
    config = nu.PredictConfig(object_diameter_px=size)
    return nu.predict(sample.image, model, axes=sample.axes, config=config).labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, nargs="+")
    parser.add_argument("--groups", default="mosaic_group")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--object-size", type=float, help="of the objects in the images, in pixels")
    parser.add_argument("--measured", action="store_true", help="take the median of each group for it")
    parser.add_argument("--found", action="store_true", help="let the model find it")
    options = parser.parse_args()

    model = nu.load_model(options.model)
    chosen = split_samples(options.data, options.groups, model, size=options.object_size, is_measured=options.measured)[
        1
    ]
    objects = sum(len(np.unique(s.labels)) - 1 for s in chosen)
    print(f"{len(chosen)} held-out images, {objects} objects; mean over images")
    thresholds = np.arange(0.5, 1, 0.05)
    is_dark = model.spec.percentiles[0] > model.spec.percentiles[1]
    for name, find in (
        (options.model, partial(segment, model, found=options.found)),
        *([("nuclei, inverted", partial(segment, nu.inverted(nu.load_model("nuclei"))))] if is_dark else []),
        ("Otsu", lambda one: otsu(one.image, is_dark=is_dark)),
    ):
        labels = [find(sample) for sample in chosen]
        pairs = [(s.labels, found) for s, found in zip(chosen, labels, strict=True)]
        table = np.array([[nu.average_precision(t, found, iou) for iou in thresholds] for t, found in pairs]).mean(0)
        foreground = np.mean([nu.iou(t, found) for t, found in pairs])
        print(
            f"{name:<16} AP50 {table[0]:.3f}  AP75 {table[5]:.3f}  AP 0.5..0.95 {table.mean():.3f}  "
            f"foreground IoU {foreground:.3f}"
        )


if __name__ == "__main__":
    main()

"""Whether a few checked objects among many unchecked ones make a model forget the others.

    python benchmarks/dense.py --data DATA/dsb2018_fluo [--steps 300] [--images 3] [--checked 5]

In a training the unchecked voxels are presumed to be background, with little weight (`TrainConfig.background_prior`),
although most of the objects are among them. The densest images of nuclei in different groups: some nuclei of one image
are checked, as they are, nothing else, and `nuclei` learns from them, with the presumption and without. Prints AP at
IoU 0.5 on that image and on others of its group. Some of the images are among those that `nuclei` was trained on: what
counts is the difference to before. Results are kept in a file and not run again.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np
from _runs import Runs, add_options, budget_name, table, train_config
from held_out import read_samples

import napari_unet as nu

if TYPE_CHECKING:
    from collections.abc import Sequence

OTHERS = 6
SMALLEST = 256
"""Pixels of the shorter side; in smaller ones there are few nuclei."""


def densest(samples: Sequence[nu.Annotated], count: int) -> list[nu.Annotated]:
    """Return the densest image of each of the densest groups that have others."""
    large = [one for one in samples if min(one.image.shape) >= SMALLEST]
    chosen: dict[str, nu.Annotated] = {}
    for one in sorted(large, key=lambda one: -np.count_nonzero(one.labels) / one.labels.size):
        if sum(other.group == one.group for other in samples) > 1:
            chosen.setdefault(str(one.group), one)
    return list(chosen.values())[:count]


def checked_alone(sample: nu.Annotated, count: int) -> nu.Annotated:
    """Return an image of which some objects are checked, whole, and nothing else."""
    labels = np.asarray(sample.labels)
    ids = np.random.default_rng(0).choice(np.unique(labels)[1:], count, replace=False)
    labels = np.where(np.isin(labels, ids), labels, 0)
    return nu.Annotated(sample.image, labels, (labels > 0).astype(np.uint8), name=sample.name)


def score(model: nu.Model, samples: Sequence[nu.Annotated]) -> float:
    """Return the mean AP at IoU 0.5."""
    return float(np.mean([nu.average_precision(one.labels, nu.predict(one.image, model).labels) for one in samples]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/dense.json", 300)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--checked", type=int, default=5, help="objects that are checked")
    options = parser.parse_args()

    samples, base = read_samples(options.data, "mosaic_group"), nu.load_model(options.model)
    runs, budget = Runs(options.results), f"{options.checked} checked | {budget_name(options)}"
    rows = []
    for sample in densest(samples, options.images):
        others = [one for one in samples if one.group == sample.group and one is not sample][:OTHERS]

        def scores(model: nu.Model, sample: nu.Annotated = sample, others: Any = others) -> dict[str, Any]:
            return {"image": score(model, [sample]), "others": score(model, others)}

        def learned(prior: float, sample: nu.Annotated = sample) -> nu.Model:
            config = train_config(options, validation=0.0, background_prior=prior)
            return nu.fine_tune(base, [checked_alone(sample, options.checked)], config).model

        name = f"{sample.name} | {budget}"
        before = runs.get(f"{sample.name} | before", lambda s=scores: s(base))
        rows.append([sample.name, len(np.unique(sample.labels)) - 1, "before", before["image"], before["others"]])
        for prior in (nu.TrainConfig().background_prior, 0.0):
            after = runs.get(f"{name} | prior {prior:g}", lambda p=prior, s=scores, f=learned: s(f(p)))
            rows.append(["", "", f"background_prior {prior:g}", after["image"], after["others"]])
    print(f"\nAP50, {budget}")
    print(table(["image", "nuclei in it", "learned with", "this image", f"up to {OTHERS} of its group"], rows))


if __name__ == "__main__":
    main()

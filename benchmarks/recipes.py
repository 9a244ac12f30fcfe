"""Which way of fine-tuning does good in a minute, and no harm.

    python benchmarks/recipes.py --data DATA [--steps 60] [--variants ...] [--cases ...]

DATA holds `dsb2018_fluo` and `t98g_phase`. Each variant of the recipe starts from `nuclei` and learns from

- *near*: corrections on images of the kind that it knows (the sample image, two of the images that its training held
  out): a scripted user corrects the left half, and declares it complete. Scored on the right half, and on eight
  other held-out images, which must not get worse;
- *far*: phase contrast: one complete frame, or ten scattered cells and five background strokes. Scored on four other
  frames.

All variants see as many patch pixels: a larger batch or patch gets fewer steps. `--steps` counts those of 4 patches of
128 x 128 pixels. Results are kept in a file and not run again.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from _runs import Runs, add_options, table, train_config
from _user import correct_worst, scattered
from held_out import split_samples

import napari_unet as nu
from napari_unet.events import StepDone
from napari_unet.images import measure_normalization
from napari_unet.prediction import median_diameter
from napari_unet.samples import load_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEST_FRAMES = 4
SUBJECTS, ELSEWHERE = 2, 8
CROP = 128
REFERENCE = {
    "batch": 4, "patch": 128, "learning_rate": 7e-4, "validation": 0.0, "base_share": 0.0, "batch_norm": "learn",
}  # fmt: skip
EVERYDAY = {"learning_rate": 2e-3, "base_share": "auto"}


@dataclass(frozen=True)
class Variant:
    """A way to fine-tune: settings, what is done to the model, old images that come along."""

    settings: dict[str, Any] = field(default_factory=dict)
    before: Callable[[nu.Model], nu.Model] = lambda model: model
    rehearsal: int = 0


@dataclass(frozen=True)
class Case:
    """Corrections to learn from, and what the result is scored on."""

    samples: list[nu.Annotated]
    tests: dict[str, list[tuple[Any, Any, tuple[slice, ...]]]]
    object_diameter_px: float | None = None
    rehearsal: list[nu.Annotated] = field(default_factory=list)


def still_encoder(model: nu.Model) -> nu.Model:
    """Keep the weights of the contracting path."""
    network = copy.deepcopy(model.network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith("contracting"))
    return nu.Model(network, model.spec)


VARIANTS = {
    "reference": Variant(),
    "thresholds of nuclei kept": Variant({"tune_thresholds": False}),
    "batch 8, patch 192": Variant({"batch": 8, "patch": 192}),
    "some held out": Variant({"validation": 0.2}),
    "batch 8": Variant({"batch": 8}),
    "patch 192": Variant({"patch": 192}),
    "rate 2e-3": Variant({"learning_rate": 2e-3}),
    "rate 3e-4": Variant({"learning_rate": 3e-4}),
    "ema 0.9": Variant({"ema": 0.9}),
    "no ema": Variant({"ema": 0.0}),
    "mistakes not favoured": Variant({"favour_mistakes": 0.0}),
    "batch norm statistics kept": Variant({"batch_norm": "keep"}),
    "contracting path kept": Variant(before=still_encoder),
    "half of the old weights": Variant({"base_share": 0.5}),
    "as much of the old weights as needed": Variant({"base_share": "auto"}),
    "rate 2e-3, as much of the old weights as needed": Variant(EVERYDAY),
    "the same, batch norm statistics kept": Variant({**EVERYDAY, "batch_norm": "keep"}),
    "the same, 12 old images rehearsed": Variant({**EVERYDAY, "batch_norm": "keep"}, rehearsal=12),
}


def near_case(name: str, image: Any, truth: Any, group: Any, elsewhere: list[nu.Annotated], base: nu.Model) -> Case:
    """Return the case of an image whose left half is corrected."""
    labels = nu.predict(image, base).labels
    half = truth.shape[1] // 2
    left, right = (slice(None), slice(0, half)), (slice(None), slice(half, None))
    user = correct_worst(truth, labels, np.zeros(truth.shape, np.uint8), 10**6, left)
    sample = nu.Annotated(image, user.labels, user.status, name=name)
    whole = (slice(None), slice(None))
    others = [(s.image, s.labels, whole) for s in elsewhere if s.group != group]
    return Case([sample], {"other half": [(image, truth, right)], "elsewhere": others})


def far_cases(folder: Path) -> dict[str, Case]:
    """Return the cases of phase contrast."""
    images, labels = (tifffile.imread(folder / f"{name}.tif") for name in ("images", "labels"))
    whole = (slice(None), slice(None))
    tests = {"other frames": [(images[n], labels[n], whole) for n in range(TEST_FRAMES)]}
    cases = {}
    for frame in (5, 7):
        size = median_diameter(labels[frame])
        complete = nu.Annotated(images[frame], labels[frame], name=f"frame {frame}", object_diameter_px=size)
        cases[f"far: frame {frame} complete"] = Case([complete], tests, size)
    drawn, status = scattered(labels[5], 10, 5, np.random.default_rng(0))
    size = median_diameter(drawn)
    cases["far: ten cells"] = Case([nu.Annotated(images[5], drawn, status, object_diameter_px=size)], tests, size)
    return cases


def all_cases(data: Path, runs: Runs, base: nu.Model) -> dict[str, Case]:
    """Return the cases by name."""
    learned, samples = split_samples([data / "dsb2018_fluo"], "mosaic_group", base, runs)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(samples))
    big = [n for n in order if 25 <= np.unique(samples[n].labels).size <= 120]
    subjects = [samples[n] for n in big[:SUBJECTS]]
    groups = {s.group for s in subjects}
    elsewhere = [samples[n] for n in order if samples[n].group not in groups][:ELSEWHERE]
    sample = load_sample("nuclei_2d")
    cases = {"near: sample image": near_case("sample", sample.image, sample.truth, None, elsewhere, base)}
    for subject in subjects:
        case = near_case(subject.name, subject.image, subject.labels, subject.group, elsewhere, base)
        cases[f"near: {subject.name.removesuffix('.tif')}"] = case
    cases |= far_cases(data / "t98g_phase")
    one_per_group = list({s.group: s for s in learned}.values())
    old = [crop(one_per_group[n], rng) for n in rng.permutation(len(one_per_group))]
    return {name: replace(case, rehearsal=old) for name, case in cases.items()}


def crop(sample: nu.Annotated, rng: np.random.Generator) -> nu.Annotated:
    """Return a random part of an image, normalised as the whole."""
    normalization = measure_normalization(sample.image[None, None, None])
    y, x = (rng.integers(n - CROP + 1) for n in sample.labels.shape)
    part = (slice(y, y + CROP), slice(x, x + CROP))
    return nu.Annotated(
        sample.image[part],
        sample.labels[part],
        name=sample.name,
        intensity_range=(normalization.low, normalization.high),
    )


def scores(model: nu.Model, case: Case) -> dict[str, float]:
    """Return AP at IoU 0.5 and 0.75, the mean over the images of each test."""
    config = nu.PredictConfig(object_diameter_px=case.object_diameter_px)
    result = {}
    for test, images in case.tests.items():
        pairs = [(truth[part], nu.predict(image, model, config=config).labels[part]) for image, truth, part in images]
        for threshold in (0.5, 0.75):
            value = np.mean([nu.average_precision(truth, labels, threshold) for truth, labels in pairs])
            result[f"{test} AP{100 * threshold:.0f}"] = float(value)
    return result


def run(base: nu.Model, case: Case, variant: Variant, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Fine-tune as a variant says and score it."""
    settings = {**REFERENCE, "seed": seed, **variant.settings}
    pixels = REFERENCE["batch"] * REFERENCE["patch"] ** 2
    steps = round(options.steps * pixels / (settings["batch"] * settings["patch"] ** 2))
    config = train_config(argparse.Namespace(**{**vars(options), "steps": steps}), **settings)
    start = time.monotonic()
    rehearsal = case.rehearsal[: variant.rehearsal]
    trained = nu.fine_tune(variant.before(base), case.samples, config, rehearsal=rehearsal)
    seconds = time.monotonic() - start
    done = sum(isinstance(event, StepDone) for event in trained.history)
    share = trained.model.spec.provenance["base_share"]
    return {**scores(trained.model, case), "steps": done, "seconds": round(seconds, 1), "base_share": share}


def summary(runs: Runs, cases: dict[str, Case], names: list[str], key: Callable[[str, str], list[str]]) -> str:
    """Return the table: the change of AP50 against the base model for near cases, AP50 for far ones."""
    columns = [(case, test) for case in cases for test in cases[case].tests]
    header = ["", *(f"{case}: {test}" for case, test in columns)]
    rows = []
    for name in names:
        row: list[Any] = [name]
        for case, test in columns:
            values = [runs.results[k][f"{test} AP50"] for k in key(case, name) if k in runs.results]
            row.append(float(np.mean(values)) if values else None)
        rows.append(row)
    return table(header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "benchmarks/results/recipes.json", 60)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--cases", nargs="*", help="those whose names begin so (default: all)")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    options.steps = options.steps or options.default_steps
    runs = Runs(options.results)
    base = nu.load_model("nuclei")
    cases = all_cases(options.data, runs, base)
    if options.cases:
        cases = {name: case for name, case in cases.items() if name.startswith(tuple(options.cases))}

    def keys(case: str, variant: str) -> list[str]:
        if variant == "before":
            return [f"{case} | before"]
        return [f"{case} | {variant} | {options.steps} | seed {seed}" for seed in range(options.seeds)]

    for case in cases:
        runs.get(f"{case} | before", lambda case=case: scores(base, cases[case]))
    for variant in options.variants:
        for case in cases:
            for seed, key in enumerate(keys(case, variant)):
                runs.get(key, lambda c=case, v=variant, s=seed: run(base, cases[c], VARIANTS[v], options, s))
    print(f"\nAP50; {options.steps} steps of 4 x 128 x 128 pixels or as many pixels; mean of {options.seeds} seeds")
    print(summary(runs, cases, ["before", *options.variants], keys))


if __name__ == "__main__":
    main()

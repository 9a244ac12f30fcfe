"""How much faster *where to look next* finds errors than reading from the top left.

    python benchmarks/look_next.py --data DATA/dsb2018_fluo [--model nuclei]
    python benchmarks/look_next.py --data DATA/t98g_phase [--minutes 5]

A scripted user looks at one place after another and notices what is wrong there: an object that matches no true one at
IoU 0.5, or a true one that was missed. In the order of the queue over all images, or object by object from the top left
of the first image on, noticing misses for free on the way. Prints how many looks each takes to find a quarter, half and
three quarters of the errors; *mirrored* is the queue that counts it as doubt where the network says something else when
it sees the mirrored image, which costs one more prediction. The nuclei are those that the training of the model held
out; for the cells the model is fine-tuned on eight frames, for some minutes or read from a file, and asked on the other
four.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from few_corrections import annotated, read_frames
from held_out import read_samples

import napari_unet as nu
from napari_unet.correction import doubtful_places
from napari_unet.network import halo
from napari_unet.training.sampling import make_fields
from napari_unet.training.validation import hold_out

SHARES = (0.25, 0.5, 0.75)


class Case(NamedTuple):
    truth: np.ndarray
    labels: np.ndarray
    maps: np.ndarray
    mirrored: np.ndarray


def find_errors(truth: np.ndarray, labels: np.ndarray) -> tuple[set[int], set[int]]:
    """Return the objects that match no true one, and the true ones that no object covers by a fifth."""
    bins = np.arange(int(truth.max()) + 2), np.arange(int(labels.max()) + 2)
    common = np.histogram2d(truth.ravel(), labels.ravel(), bins=bins)[0]
    true_size, size = common.sum(1), common.sum(0)
    iou = common / np.maximum(true_size[:, None] + size - common, 1)
    wrong = {n for n in np.flatnonzero(size) if n and not (iou[1:, n] > 0.5).any()}
    missed = {n for n in np.flatnonzero(true_size) if n and not (common[n, 1:] > 0.2 * true_size[n]).any()}
    return wrong, missed


def look_at(image: np.ndarray, truth: np.ndarray, model: nu.Model, config: nu.PredictConfig) -> Case:
    """Return what a model finds in an image, and what its maps are when it is mirrored."""
    result = nu.predict(image, model, config=config, return_maps=True)
    other = nu.predict(np.ascontiguousarray(image[..., ::-1]), model, config=config, return_maps=True)
    return Case(truth, result.labels, result.maps, other.maps[..., ::-1])


def queue_order(cases: list[Case], *, mirrored: bool) -> list[set[tuple[int, str, int]]]:
    """Return what is noticed at each look, in the order of the queue over all images."""
    looks = []
    for image, case in enumerate(cases):
        wrong, missed = find_errors(case.truth, case.labels)
        unchecked = np.zeros(case.truth.shape, np.uint8)
        other = case.mirrored if mirrored else None
        for place in doubtful_places(case.labels, unchecked, case.maps, mirrored=other):
            there = set() if place.number else missed & set(np.unique(case.truth[place.box]))
            found = {(image, "missed", n) for n in there}
            if place.number in wrong:
                found.add((image, "wrong", place.number))
            looks.append((place.doubt, found))
    return [found for _, found in sorted(looks, key=lambda look: -look[0])]


def reading_order(cases: list[Case]) -> list[set[tuple[int, str, int]]]:
    """Return what is noticed at each look from the top left of the first image on."""
    looks: list[set[tuple[int, str, int]]] = []
    for image, case in enumerate(cases):
        wrong, missed = find_errors(case.truth, case.labels)
        first_voxel = [(int(np.flatnonzero(case.truth == n)[0]), "missed", n) for n in missed]
        numbers, first = np.unique(case.labels, return_index=True)
        first_voxel += [(int(at), "object", int(n)) for n, at in zip(numbers, first, strict=True) if n]
        on_the_way: set[tuple[int, str, int]] = set()
        for _, what, n in sorted(first_voxel):
            if what == "missed":
                on_the_way.add((image, what, n))
                continue
            looks.append(on_the_way | ({(image, "wrong", n)} if n in wrong else set()))
            on_the_way = set()
        if on_the_way:
            looks.append(on_the_way)
    return looks


def nuclei_cases(folder: Path, name: str) -> list[Case]:
    """Return the held-out images, with what the model finds."""
    model = nu.load_model(name)
    config = model.spec.provenance["config"]
    samples = read_samples(folder, "mosaic_group")
    rng = np.random.default_rng(config["seed"])
    fields = make_fields(samples, model.spec)
    held_out = {field.name for field in hold_out(fields, config["validation"], halo(model.network), rng)[1]}
    return [look_at(s.image, s.labels, model, nu.PredictConfig()) for s in samples if s.name in held_out]


def cell_cases(folder: Path, name: str, minutes: float, size: float) -> list[Case]:
    """Return the test frames, with what the model finds, or what it becomes in some minutes."""
    test, work = read_frames(folder)
    model = nu.load_model(name)
    if minutes:
        samples = [annotated(frame, f"frame {n}", size) for n, frame in enumerate(work)]
        model = nu.fine_tune(model, samples, nu.TrainConfig(minutes=minutes, seed=0)).model
    config = nu.PredictConfig(object_diameter_px=size)
    return [look_at(image, truth, model, config) for image, truth in test]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--minutes", type=float, default=5, help="of fine-tuning, for the cells; 0: the model as it is")
    parser.add_argument("--object-size", type=float, default=36, help="width of a typical cell in pixels")
    options = parser.parse_args()

    is_cells = (options.data / "images.tif").exists()
    cases = (
        cell_cases(options.data, options.model, options.minutes, options.object_size)
        if is_cells
        else nuclei_cases(options.data, options.model)
    )
    errors = sum(len(wrong) + len(missed) for wrong, missed in (find_errors(c.truth, c.labels) for c in cases))
    objects = sum(len(np.unique(c.labels)) - 1 for c in cases)
    precision = np.mean([nu.average_precision(c.truth, c.labels) for c in cases])
    print(f"{len(cases)} images, {objects} objects found, {errors} errors, AP50 {precision:.2f}")
    reading = looks_for(reading_order(cases), errors)
    print(f"{'errors found':>14} {'top left':>9} {'queue':>16} {'queue, mirrored':>16}")
    queues = [looks_for(queue_order(cases, mirrored=mirrored), errors) for mirrored in (False, True)]
    for share, slow, *fast in zip(SHARES, reading, *queues, strict=True):
        ways = [f"{one} ({slow / one:.1f}x)" if slow and one else "not reached" for one in fast]
        print(f"{share:>14.0%} {slow:>9} {ways[0]:>16} {ways[1]:>16}")


def looks_for(looks: list[set[tuple[int, str, int]]], errors: int) -> list[int]:
    """Return how many looks it takes to find each share of the errors, 0 where that is not reached."""
    found: set[tuple[int, str, int]] = set()
    counts = [len(found := found | noticed) for noticed in looks]
    return [next((n for n, count in enumerate(counts, start=1) if count >= share * errors), 0) for share in SHARES]


if __name__ == "__main__":
    main()

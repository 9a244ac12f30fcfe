"""How much faster *where to look next* finds errors than reading from the top left.

    python benchmarks/look_next.py --data DATA/dsb2018_fluo [--model nuclei]
    python benchmarks/look_next.py --data DATA/t98g_phase [--minutes 5]

A scripted user looks at one place after another and notices what is wrong there: an object that matches no true one at
IoU 0.5, or a true one that was missed. In the order of the queue over all images, or object by object from the top left
of the first image on, noticing misses for free on the way. Prints how many looks each takes to find a quarter, half and
three quarters of the errors. The nuclei are those that the training of the model held out; for the cells the model is
fine-tuned on eight frames, for some minutes or read from a file, and asked on the other four.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from few_corrections import TEST_FRAMES, read_frames
from held_out import read_samples

import napari_unet as nu
from napari_unet.correction import doubtful_places
from napari_unet.network import halo
from napari_unet.training import median_diameter
from napari_unet.training.sampling import make_fields
from napari_unet.training.validation import hold_out


def find_errors(truth: np.ndarray, labels: np.ndarray) -> tuple[set[int], set[int]]:
    """Return the objects that match no true one, and the true ones that no object covers by a fifth."""
    bins = np.arange(int(truth.max()) + 2), np.arange(int(labels.max()) + 2)
    common = np.histogram2d(truth.ravel(), labels.ravel(), bins=bins)[0]
    true_size, size = common.sum(1), common.sum(0)
    iou = common / np.maximum(true_size[:, None] + size - common, 1)
    wrong = {n for n in np.flatnonzero(size) if n and not (iou[1:, n] > 0.5).any()}
    missed = {n for n in np.flatnonzero(true_size) if n and not (common[n, 1:] > 0.2 * true_size[n]).any()}
    return wrong, missed


def queue_order(cases: list[tuple[np.ndarray, nu.Prediction]]) -> list[set[tuple[int, str, int]]]:
    """Return what is noticed at each look, in the order of the queue over all images."""
    looks = []
    for image, (truth, result) in enumerate(cases):
        wrong, missed = find_errors(truth, result.labels)
        unchecked = np.zeros(truth.shape, np.uint8)
        for place in doubtful_places(result.labels, unchecked, result.maps):
            found = (
                {(image, "missed", n) for n in missed & set(np.unique(truth[place.box]))} if not place.number else set()
            )
            if place.number in wrong:
                found.add((image, "wrong", place.number))
            looks.append((place.doubt, found))
    return [found for _, found in sorted(looks, key=lambda look: -look[0])]


def reading_order(cases: list[tuple[np.ndarray, nu.Prediction]]) -> list[set[tuple[int, str, int]]]:
    """Return what is noticed at each look from the top left of the first image on."""
    looks: list[set[tuple[int, str, int]]] = []
    for image, (truth, result) in enumerate(cases):
        wrong, missed = find_errors(truth, result.labels)
        first_voxel = [(int(np.flatnonzero(truth == n)[0]), "missed", n) for n in missed]
        numbers, first = np.unique(result.labels, return_index=True)
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


def nuclei_cases(folder: Path, name: str) -> list[tuple[np.ndarray, nu.Prediction]]:
    """Return truth and prediction of the held-out images."""
    model = nu.load_model(name)
    config = model.spec.provenance["config"]
    samples = read_samples(folder, "mosaic_group")
    rng = np.random.default_rng(config["seed"])
    fields = make_fields(samples, model.spec)
    held_out = {field.name for field in hold_out(fields, config["validation"], halo(model.network), rng)[1]}
    return [(s.labels, nu.predict(s.image, model, return_maps=True)) for s in samples if s.name in held_out]


def cell_cases(folder: Path, name: str, minutes: float) -> list[tuple[np.ndarray, nu.Prediction]]:
    """Return truth and prediction of the test frames, by the model or what it becomes in some minutes."""
    frames = read_frames(folder)
    size = median_diameter(frames[TEST_FRAMES][1])
    model = nu.load_model(name)
    if minutes:
        samples = [
            nu.Annotated(image, labels, name=f"frame {n}", object_diameter_px=size)
            for n, (image, labels) in enumerate(frames[TEST_FRAMES:])
        ]
        model = nu.fine_tune(model, samples, nu.TrainConfig(minutes=minutes, seed=0)).model
    config = nu.PredictConfig(object_diameter_px=size)
    return [(t, nu.predict(i, model, config=config, return_maps=True)) for i, t in frames[:TEST_FRAMES]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--minutes", type=float, default=5, help="of fine-tuning, for the cells; 0: the model as it is")
    options = parser.parse_args()

    is_cells = (options.data / "images.tif").exists()
    cases = (
        cell_cases(options.data, options.model, options.minutes)
        if is_cells
        else nuclei_cases(options.data, options.model)
    )
    errors = sum(len(wrong) + len(missed) for wrong, missed in (find_errors(t, r.labels) for t, r in cases))
    objects = sum(len(np.unique(r.labels)) - 1 for _, r in cases)
    precision = np.mean([nu.average_precision(t, r.labels) for t, r in cases])
    print(f"{len(cases)} images, {objects} objects found, {errors} errors, AP50 {precision:.2f}")
    ways = {"queue": queue_order(cases), "reading": reading_order(cases)}
    for share in (0.25, 0.5, 0.75):
        needed = {}
        for name, looks in ways.items():
            found: set[tuple[int, str, int]] = set()
            for number, noticed in enumerate(looks, start=1):
                found |= noticed
                if len(found) >= share * errors:
                    needed[name] = number
                    break
        queue, reading = needed.get("queue"), needed.get("reading")
        factor = f"{reading / queue:.1f} times faster" if queue and reading else "not reached"
        print(f"{share:4.0%} of the errors: {queue} looks by the queue, {reading} from the top left: {factor}")


if __name__ == "__main__":
    main()

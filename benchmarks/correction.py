"""What a correction costs, by the size of the image: it should cost by the size of the edit.

    python benchmarks/correction.py [--repeats 41]

A field of discs of 24 px, one every 32 px, at 1024 x 1024, 4096 x 4096 and 8192 x 8192 pixels and in a stack of 100
slices of 1024 x 1024. The sizes take turns, at places spread over the image that were just drawn. A step is the whole
way from the click to the queue of the disk: the edit, the arrays, the table of objects, the journal. Prints the median
of each in ms of the thread's own time, so that other work on the machine does not count, and the ratio of the slowest
size to the fastest. *Propose* is what a move of the mouse costs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from napari_unet.correction import (
    Edit,
    ObjectTable,
    accept_proposal,
    confirm_object,
    delete_object,
    identify,
    merge_objects,
    open_store,
    propose,
    split_object,
    stroke,
)

SIZES = {"1k": (1024, 1024), "4k": (4096, 4096), "8k": (8192, 8192), "100 x 1k": (100, 1024, 1024)}
PITCH, RADIUS = 32, 12


class Scene:
    """Labels, status, maps and store of one size, as a document has them."""

    def __init__(self, shape: tuple[int, ...], folder: Path) -> None:
        grid = np.indices((PITCH, PITCH)) - PITCH / 2 + 0.5
        depth = RADIUS - np.hypot(*grid)
        across = [n // PITCH for n in shape[-2:]]
        self.labels = np.zeros(shape, np.int32)
        numbers = np.arange(1, 1 + np.prod(shape[:-2], dtype=int) * np.prod(across)).reshape(*shape[:-2], *across)
        for plane in np.ndindex(shape[:-2]):
            self.labels[plane] = np.kron(numbers[plane], np.ones((PITCH, PITCH), np.int32)) * np.tile(depth > 0, across)
        self.status = np.zeros(shape, np.uint8)
        tile = np.stack([1 / (1 + np.exp(-depth)), np.clip(depth / RADIUS, 0, 1), np.clip(depth / RADIUS, 0, 1)])
        one_plane = np.tile(tile.astype(np.float16), (1, *across))
        self.maps = np.broadcast_to(one_plane.reshape(3, *(1,) * (len(shape) - 2), *shape[-2:]), (3, *shape))
        self.numbers = numbers
        self.table = ObjectTable(self.labels, self.status)
        self.next_id = self.table.highest + 1
        axes = "ZYX"[-len(shape) :]
        self.store = open_store(identify(self.labels, axes, path=folder / "image.tif"))

    def spread(self, count: int, seed: int) -> list[tuple[int, ...]]:
        """Return places in the grid of discs that lie apart, away from the edge."""
        rng = np.random.default_rng(seed)
        high = [n - 3 if axis >= self.labels.ndim - 2 else n for axis, n in enumerate(self.numbers.shape)]
        low = [3 if axis >= self.labels.ndim - 2 else 0 for axis in range(self.labels.ndim)]
        return [tuple(int(c) for c in rng.integers(low, high)) for _ in range(count)]

    def centre(self, place: tuple[int, ...]) -> tuple[int, ...]:
        """Return the middle voxel of a disc."""
        return (*place[:-2], place[-2] * PITCH + PITCH // 2, place[-1] * PITCH + PITCH // 2)

    def perform(self, edit: Edit | None) -> None:
        """Do as a document does."""
        if edit is None:
            return
        edit.apply(self.labels, self.status)
        self.table.update(edit, self.labels)
        self.store.journal.record(edit)

    def draw(self, place: tuple[int, ...]) -> None:
        """Read what is around a place, as the display does, and wait until the disk has what was done before."""
        *plane, row, column = self.centre(place)
        box = (*plane, slice(max(0, row - 200), row + 200), slice(max(0, column - 200), column + 200))
        self.labels[box].max(), self.maps[(slice(None), *box)].max()
        self.status[box] += 0
        while self.store.saving.waiting:
            time.sleep(0.001)

    def undo(self) -> None:
        """Take the last step back."""
        edit = self.store.journal.undo()
        if edit is not None:
            edit.revert(self.labels, self.status)
            self.table.update(edit, self.labels, reverted=True)


def do_stroke(scene: Scene, place: tuple[int, ...]) -> None:
    *plane, row, column = scene.centre(place)
    box = (*(slice(p, p + 1) for p in plane), slice(row - 24, row + 24), slice(column - 24, column + 24))
    before = scene.labels[box]
    after = before.copy()
    after[..., 20:28, 4:44][after[..., 20:28, 4:44] == 0] = scene.next_id
    scene.next_id += 1
    scene.perform(stroke(before, after, scene.status, box, np.zeros(before.shape, bool)))


def do_delete(scene: Scene, place: tuple[int, ...]) -> None:
    number = int(scene.labels[scene.centre(place)])
    scene.perform(delete_object(scene.labels, scene.status, number, scene.table.box(number)))


def do_confirm(scene: Scene, place: tuple[int, ...]) -> None:
    number = int(scene.labels[scene.centre(place)])
    scene.perform(confirm_object(scene.labels, scene.status, number, scene.table.box(number)))


def do_merge(scene: Scene, place: tuple[int, ...]) -> None:
    right = (*place[:-1], place[-1] + 1)
    numbers = [int(scene.labels[scene.centre(one)]) for one in (place, right)]
    boxes = [box for number in numbers if (box := scene.table.box(number)) is not None]
    scene.perform(merge_objects(scene.labels, scene.status, numbers, boxes=boxes, bridge=5))


def do_split(scene: Scene, place: tuple[int, ...]) -> None:
    *plane, row, column = scene.centre(place)
    number = int(scene.labels[(*plane, row, column)])
    seeds = [(*plane, row, column - 6), (*plane, row, column + 6)]
    box = scene.table.box(number)
    scene.perform(split_object(scene.labels, scene.status, number, seeds, scene.next_id, maps=scene.maps, box=box))
    scene.next_id += 1


def do_propose(scene: Scene, place: tuple[int, ...]) -> Any:
    return propose(scene.labels, scene.status, scene.centre(place), maps=scene.maps, object_diameter_px=2 * RADIUS).mask  # type: ignore[union-attr]


def do_accept(scene: Scene, place: tuple[int, ...]) -> None:
    centre = scene.centre(place)
    found = propose(scene.labels, scene.status, centre, maps=scene.maps, object_diameter_px=2 * RADIUS)
    box = scene.table.box(found.replaces) if found else None
    scene.perform(
        accept_proposal(scene.labels, scene.status, found, scene.next_id, replaced_box=box) if found else None
    )


TOOLS = {
    "stroke": do_stroke,
    "delete": do_delete,
    "confirm": do_confirm,
    "merge": do_merge,
    "split": do_split,
    "propose": do_propose,
    "accept": do_accept,
}


def measure(shapes: list[tuple[int, ...]], repeats: int) -> dict[str, list[float]]:
    """Return the median ms of each tool, and of undo, for each shape."""
    medians: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        homes = [Path(folder) / str(number) for number in range(len(shapes))]
        for home in homes:
            home.mkdir()
        scenes = [Scene(shape, home) for shape, home in zip(shapes, homes, strict=True)]
        for scene in scenes:  # a session that has begun
            for place in scene.spread(repeats, len(TOOLS)):
                scene.draw(place)
                do_stroke(scene, place)
                scene.undo()
        for seed, (name, tool) in enumerate(TOOLS.items()):
            taken: list[list[float]] = [[] for _ in scenes]
            undone: list[list[float]] = [[] for _ in scenes]
            for places in zip(*(scene.spread(repeats, seed) for scene in scenes), strict=True):
                for at, (scene, place) in enumerate(zip(scenes, places, strict=True)):
                    scene.draw(place)
                    start = time.thread_time()
                    tool(scene, place)
                    taken[at].append(time.thread_time() - start)
                    if name != "propose":
                        start = time.thread_time()
                        scene.undo()
                        undone[at].append(time.thread_time() - start)
            medians[name] = [1e3 * float(np.median(one)) for one in taken]
            if name == "merge":
                medians["undo"] = [1e3 * float(np.median(one)) for one in undone]
        for scene in scenes:
            scene.store.close()
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    options = parser.parse_args()
    ndi.label(np.zeros((2, 2)))  # loaded before the clock runs
    measure([(256, 256)], 3)
    results = measure([SIZES[name] for name in options.sizes], options.repeats)
    print(f"{'median ms':<10}" + "".join(f"{name:>12}" for name in options.sizes) + f"{'ratio':>10}")
    for tool, times in results.items():
        print(f"{tool:<10}" + "".join(f"{one:12.2f}" for one in times) + f"{max(times) / min(times):10.2f}")


if __name__ == "__main__":
    main()

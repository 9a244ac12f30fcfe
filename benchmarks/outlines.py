"""Outlines of what is checked in large planes: ours against napari's.

    python benchmarks/outlines.py [--side 4096]

Prints the medians for a plane of status in which 2000 squares are checked, and how many times faster ours are.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from napari.layers.labels._labels_utils import get_contours

from napari_unet.gui.outline_layer import only_outlines

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median time of some work."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096, help="of the plane, in pixels")
    options = parser.parse_args()
    rng, plane = np.random.default_rng(0), np.zeros((options.side, options.side), np.uint8)
    for y, x in rng.integers(0, options.side - 40, (2000, 2)):
        plane[y : y + 40, x : x + 40] = 1
    print("| thickness | napari, ms | ours, ms | ratio |\n| --- | --- | --- | --- |")
    for thickness in (1, 3, 6):
        theirs = milliseconds(lambda t=thickness: get_contours(plane, t, 0))
        ours = milliseconds(lambda t=thickness: only_outlines(plane, t, 0))
        print(f"| {thickness} | {theirs:.0f} | {ours:.0f} | {theirs / ours:.1f} |", flush=True)


if __name__ == "__main__":
    main()

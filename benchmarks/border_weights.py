"""The border weights of the paper: ours against one distance transform for each object.

    python benchmarks/border_weights.py --data DATA/dsb2018_fluo

Prints the seconds that both take for all label images of the folder, their ratio, and the largest difference.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage as ndi

from napari_unet.training import border_weights

W0, SIGMA = 10.0, 5.0


def naive(labels: np.ndarray) -> np.ndarray:
    """Return the border part with a distance transform of the whole image for each object."""
    ids = np.unique(labels[labels > 0])
    if ids.size < 2:
        return np.zeros(labels.shape)
    first = np.full(labels.shape, np.inf)
    second = first.copy()
    for number in ids:
        distance = ndi.distance_transform_edt(labels != number)
        np.minimum(second, np.maximum(first, distance), out=second)
        np.minimum(first, distance, out=first)
    return np.where(labels == 0, W0 * np.exp(-((first + second) ** 2) / (2 * SIGMA**2)), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder 'labels' of TIFF files")
    parser.add_argument("--limit", type=int, help="use so many images only")
    options = parser.parse_args()
    files = sorted((options.data / "labels").glob("*.tif"))[: options.limit]
    ours = theirs = worst = 0.0
    objects = 0
    for file in files:
        labels = tifffile.imread(file)
        objects += len(np.unique(labels)) - 1
        start = time.perf_counter()
        weights = border_weights(labels, w0=W0, sigma_px=SIGMA)
        ours += time.perf_counter() - start
        start = time.perf_counter()
        expected = naive(labels)
        theirs += time.perf_counter() - start
        border = weights - border_weights(labels, w0=0)
        worst = max(worst, float(np.abs(border - expected).max()))
    print(f"{len(files)} images, {objects} objects")
    print(f"ours {ours:.2f} s, one distance transform per object {theirs:.2f} s, ratio {theirs / ours:.1f}")
    print(f"largest difference {worst:.1e} (w0 = {W0:g})")


if __name__ == "__main__":
    main()

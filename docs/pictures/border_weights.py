"""Draw the border weights of a shipped image, as figure 3 of the paper shows them.

    python docs/pictures/border_weights.py docs/images/border-weights.png

From left to right: the image, its objects, what is taught (white: object), and the weight of each pixel from 0 (blue)
to 12 (red). Beside it is what the map tells: the narrow gaps weigh most.
"""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from skimage.color import label2rgb

from napari_unet.samples import load_sample
from napari_unet.training import border_weights
from napari_unet.training.border import with_gaps

HIGHEST = 12.0
CROP = slice(20, 212)
ZOOM = 2
STOPS = np.array([[0, 0, 110], [0, 60, 255], [0, 220, 255], [255, 235, 0], [255, 90, 0], [150, 0, 0]], float)


def heat(values: np.ndarray) -> np.ndarray:
    """Return colours from blue to red for values from 0 to 1."""
    place = np.clip(values, 0, 1) * (len(STOPS) - 1)
    return np.stack([np.interp(place, range(len(STOPS)), channel) for channel in STOPS.T], axis=-1)


def main(target: Path) -> None:
    """Write the picture."""
    sample = load_sample("nuclei_2d")
    image, labels = sample.image[CROP, CROP].astype(float), sample.truth[CROP, CROP]
    apart = with_gaps(labels)
    low, high = np.percentile(image, (1, 99.8))
    grey = np.clip((image - low) / (high - low), 0, 1) ** 0.6 * 255
    panels = [
        np.repeat(grey[..., None], 3, axis=-1),
        255 * label2rgb(labels, grey / 255, alpha=0.55, bg_label=0),
        np.repeat(255.0 * (apart > 0)[..., None], 3, axis=-1),
        heat(border_weights(apart) / HIGHEST),
    ]
    gap = np.full((image.shape[0], 4, 3), 255.0)
    row = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    large = row.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(target, large.round().astype(np.uint8))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

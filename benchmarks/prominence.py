"""Make objects of the same maps with several depths of the dip between two of them, for models of different kinds.

    python benchmarks/prominence.py --nuclei DATA/dsb2018_fluo --phase DATA/t98g_phase

Predicts the held-out images of both shipped models once (see `held_out.py`), makes objects of the maps at several
prominences, all else as the model's file says, and prints the mean AP at IoU 0.5 over images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from _runs import table
from held_out import split_samples

import napari_unet as nu
from napari_unet.prediction import decode
from napari_unet.training.sampling import make_fields
from napari_unet.training.validation import field_maps, matches

PROMINENCES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
PHASE_OBJECT_SIZE = 36


def scores(model: nu.Model, samples: list[nu.Annotated]) -> list[float]:
    """Return the mean AP over images at each prominence."""
    fields = make_fields(samples, model.spec)
    maps = [field_maps(model, field) for field in fields]
    decoders = [model.spec.decoder.model_copy(update={"min_prominence": share}) for share in PROMINENCES]
    return [
        float(
            np.mean(
                [matches(f, decode(m, decoder), 0.5)[0].average_precision for m, f in zip(maps, fields, strict=True)]
            )
        )
        for decoder in decoders
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuclei", type=Path, required=True, help="folder of dsb2018_fluo")
    parser.add_argument("--phase", type=Path, required=True, help="folder of t98g_phase")
    options = parser.parse_args()
    rows = []
    for name, folder, size in (("nuclei", options.nuclei, None), ("cells-phase", options.phase, PHASE_OBJECT_SIZE)):
        model = nu.load_model(name)
        rows.append([name, *scores(model, split_samples([folder], "mosaic_group", model, size=size)[1])])
    print(table(["AP50 at a prominence of", *map(str, PROMINENCES)], rows))


if __name__ == "__main__":
    main()

"""How long a prediction will take and how much it will write, before it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.images import check_axes
from napari_unet.network import alignment, halo, operations
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.device import pick_device
from napari_unet.prediction.planning import exact_layout, most_voxels, plan_layout
from napari_unet.prediction.prepared import choose_precision, prepared
from napari_unet.prediction.remember import recall, remember, signature
from napari_unet.prediction.view import View, frames_of, region_box, spatial
from napari_unet.prediction.workspace import map_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_unet.models import Model

__all__ = ["Estimate", "estimate"]

QUICK_S = 10.0
"""What takes less is done for the whole image at once."""


@dataclass(frozen=True)
class Estimate:
    """What a prediction will take.

    Attributes
    ----------
    seconds : float
    bytes_on_disk : int
        Most that labels and maps take while it runs, where the labels go to disk. Labels are compressed: mostly less.
    is_measured : bool
        Whether the speed was learned from a whole run, not from one tile.
    """

    seconds: float
    bytes_on_disk: int
    is_measured: bool

    @property
    def is_quick(self) -> bool:
        """Whether the whole image can be done without asking: under about ten seconds."""
        return self.seconds < QUICK_S

    def __str__(self) -> str:
        """Return the time as the panel shows it."""
        if self.seconds < 90:
            return f"~{max(1, round(self.seconds))} s"
        minutes = self.seconds / 60
        return f"~{minutes:.0f} min" if minutes < 90 else f"~{minutes / 60:.0f} h"


def estimate(
    shape: Sequence[int],
    model: Model,
    config: PredictConfig | None = None,
    *,
    axes: str,
    region: Mapping[str, slice] | None = None,
) -> Estimate:
    """Estimate what it takes to predict an image of a shape, or a region of it.

    The speed is that of the last runs of such a network on this machine; where there was none, one small tile is
    run and timed, which takes about a second, once.

    Parameters
    ----------
    shape : sequence of int
        Of the image.
    model : Model
    config : PredictConfig, optional
    axes : str
        Axes of the image.
    region : mapping of axis letter to slice, optional
        As for `predict`.

    Raises
    ------
    ImageError
        If axes or region do not fit.
    """
    config = config or PredictConfig()
    spec, network = model.spec, model.network
    lengths = dict(zip(check_axes(axes, len(shape)).replace("S", "C"), shape, strict=True))
    canonical = np.broadcast_to(np.uint8(0), [lengths.get(letter, 1) for letter in "TCZYX"])  # takes no memory
    box = region_box(canonical, region)
    view = View(spatial(box, spec), canonical.shape[2:], spec.scale_for(config.object_diameter_px))
    device = pick_device(config.device)
    precision, dtype = choose_precision(config.precision, device, network)
    key = signature(network, device, precision)

    voxels = most_voxels(network, device, precision, dtype)
    layout = plan_layout(network, config, view.region, view.extent, voxels)
    tiles = layout.tiles(view.region)
    runs = len(frames_of(box, spec)) * len(tiles) * (8 if config.average else 1)
    work = runs * layout.operations(network, tiles[0].core)
    known = recall(key)
    is_measured = "work_per_second" in known
    speed = known.get("work_per_second") or known.get("tile_work_per_second")
    if not speed:
        speed = _time_a_tile(model, device, dtype)
        remember(key, tile_work_per_second=speed)
    maps = map_bytes(len(spec.maps), prod(s.stop - s.start for s in view.region))
    labels = 4 * prod(part.stop - part.start for letter, part in box.items() if letter != "C")
    return Estimate(work / speed, labels + maps, is_measured)


@torch.inference_mode()
def _time_a_tile(model: Model, device: torch.device, dtype: torch.dtype) -> float:
    """Return the multiplications per second of one small tile."""
    network = model.network
    core = tuple(step * (8 if network.spatial_dims == 2 else 4) for step in alignment(network))
    ready = prepared(network, device, dtype)
    size = exact_layout(network, core, core).input_size(network, core)
    x = torch.zeros(1, network.in_channels, *size, device=device, dtype=dtype)
    seconds = []
    for _ in range(2):  # the first one chooses kernels
        start = time.perf_counter()
        float(ready(x).float().sum())
        seconds.append(time.perf_counter() - start)
    margin = halo(network) if network.padding == "valid" else (0,) * len(size)
    inner = tuple(n - 2 * m for n, m in zip(size, margin, strict=True))
    return operations(network, inner, margin=margin) / max(min(seconds), 1e-6)

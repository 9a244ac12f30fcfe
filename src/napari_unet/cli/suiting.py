"""Which model a batch is segmented with where the user has named none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.correction import corrections_for
from napari_unet.errors import UNetError
from napari_unet.generators import drained
from napari_unet.images import open_image
from napari_unet.models import load_model
from napari_unet.prediction import DEFAULT_MODEL, default_model, iter_find_model, models_from
from napari_unet.prediction.inputs import axes_of, for_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from threading import Event as StopFlag

    from napari_unet.models import Model
    from napari_unet.prediction import BatchConfig, PredictConfig

__all__ = ["suiting_model"]


def suiting_model(
    files: Sequence[Path], config: PredictConfig, batch: BatchConfig, *, corrections: bool, stop: StopFlag
) -> Model:
    """Return the shipped model that knows the first image that can be read, or whose objects were corrected in it.

    Parameters
    ----------
    files : sequence of path
    config : PredictConfig
    batch : BatchConfig
    corrections : bool
        Whether what was checked in napari is to be kept.
    stop : threading.Event
        Ends the look; the default model is what is left.
    """
    for path in files:
        try:
            return _suiting(path, config, batch, corrections=corrections, stop=stop)
        except (UNetError, OSError):  # it is told when its turn comes
            if stop.is_set():
                break
    return load_model(DEFAULT_MODEL)


def _suiting(path: Path, config: PredictConfig, batch: BatchConfig, *, corrections: bool, stop: StopFlag) -> Model:
    image = open_image(path, batch.level)
    axes = axes_of(image, batch.axes)
    first = default_model(image.data, axes)
    if corrections:
        for model in models_from(first):
            if corrections_for(model.spec, batch.channels or ()).of(image, axes) is not None:
                return model
    own = for_image(config, image, axes, batch.channels, load_model(first).spec)
    return drained(iter_find_model(image.data, models_from(first), axes=axes, config=own, stop=stop)).model

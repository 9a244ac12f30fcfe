"""From the maps of an image's frames to its labels, one frame after the other, linked through Z and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.images import from_canonical, label_axes
from napari_unet.prediction.instances import decode_blocks
from napari_unet.prediction.linking import link_arrays

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event as StopFlag

    from numpy.typing import NDArray

    from napari_unet.models import ModelSpec
    from napari_unet.prediction.config import PredictConfig

__all__ = ["Labeller", "relabel"]


class Labeller:
    """Makes labels frame by frame; ids never repeat but for objects that are linked.

    Parameters
    ----------
    spec : ModelSpec
    config : PredictConfig
    scale : float
        Factor by which the image was rescaled for the network.
    part : callable
        Takes a frame, (t,) or (t, z), and returns where its labels go.
    block : tuple of int
        Voxels to work on at once.
    shape : tuple of int
        ``TZYX`` of the labels.
    stop : threading.Event, optional
        Ends `label` within a second or so.

    Attributes
    ----------
    highest : int
        Highest id so far.
    in_windows : int
        Components so far that were too large to be split whole.
    """

    def __init__(
        self,
        spec: ModelSpec,
        config: PredictConfig,
        scale: float,
        part: Callable[[tuple[int, ...]], Any],
        block: tuple[int, ...],
        shape: tuple[int, ...],
        stop: StopFlag | None = None,
    ) -> None:
        decoder = config.decoder(spec.decoder)
        # sizes of the model's grid, brought to the image's
        self.decoder = decoder.model_copy(update={"min_size": round(decoder.min_size / scale**2)})
        self.highest = self.in_windows = self._highest_before = 0
        self._part, self._block, self._stop = part, block, stop
        is_instances = spec.task == "instances"
        self._is_instances, self._min_overlap = is_instances, config.min_overlap
        self._links_z = is_instances and config.link_z and spec.spatial_dims == 2 and shape[1] > 1
        self._links_t = is_instances and config.link_t and shape[0] > 1
        self._last = (shape[1] - 1,) if spec.spatial_dims == 2 else ()

    @property
    def notes_whole_frames(self) -> bool:
        """Whether ids are final only when all slices of a frame are done: when it is linked to the one before."""
        return self._links_t and bool(self._last and self._last[0])

    @property
    def provenance(self) -> dict[str, Any]:
        """How objects are found and linked, and how many were too large to be split whole."""
        axes = "Z" * self._links_z + "T" * self._links_t
        return {
            "decoder": self.decoder.model_dump(),
            "linked": {"axes": axes, "min_overlap": self._min_overlap} if axes else {"axes": ""},
            "components_in_windows": self.in_windows,
        }

    def start_at(self, highest: int, in_windows: int) -> None:
        """Go on after another run."""
        self.highest = self._highest_before = highest
        self.in_windows = in_windows

    def label(self, maps: Any, target: tuple[int, ...]) -> bool:
        """Make the labels of a frame from its maps (``C(Z)YX``); return whether they are final."""
        above, labels = self.highest, self._part(target)
        start = above if self._is_instances else 0
        decoded = decode_blocks(maps, self.decoder, labels, self._block, above=start, stop=self._stop)
        self.in_windows += decoded.in_windows
        if self._links_z and target[1] > 0:
            self.highest = self._link(self._part((target[0], target[1] - 1)), labels, self._block, above)
        else:
            self.highest += decoded.objects
        is_last = target[1:] == self._last
        if is_last and self._links_t:
            t = target[0]
            if t > 0:
                block = (1,) * (3 - len(self._block)) + self._block
                self.highest = self._link(self._part((t - 1,)), self._part((t,)), block, self._highest_before)
            self._highest_before = self.highest
        return is_last or not self.notes_whole_frames

    def _link(self, before: Any, labels: Any, block: tuple[int, ...], above: int) -> int:
        return link_arrays(
            before, labels, block, min_overlap=self._min_overlap, base=above, above=above, stop=self._stop
        )


def relabel(
    maps: NDArray[Any], spec: ModelSpec, config: PredictConfig, *, axes: str, scale: float = 1.0
) -> NDArray[np.int32]:
    """Make labels again from the maps that `predict` returned, with other thresholds; the network does not run.

    Parameters
    ----------
    maps : ndarray
        ``(T)C(Z)YX``.
    spec : ModelSpec
    config : PredictConfig
        With the thresholds, least size and linking that are wanted.
    axes : str
        Of the image.
    scale : float
        ``provenance["scale"]`` of the prediction.

    Returns
    -------
    ndarray of int32
        In the axes of the image without C and S, as `predict` makes them.
    """
    present = set(label_axes(axes))
    canonical = maps.reshape(
        [
            maps.shape[0] if "T" in present else 1,
            len(spec.maps),
            maps.shape[-3] if "Z" in present else 1,
            *maps.shape[-2:],
        ]
    )
    shape = (canonical.shape[0], *canonical.shape[2:])
    labels = np.zeros(shape, np.int32)
    block = shape[-spec.spatial_dims :]
    labeller = Labeller(spec, config, scale, lambda target: labels[target], block, shape)
    for t in range(shape[0]):
        if spec.spatial_dims == 3:
            labeller.label(canonical[t], (t,))
        else:
            for z in range(shape[1]):
                labeller.label(canonical[t, :, z], (t, z))
    result: NDArray[np.int32] = from_canonical(labels, axes)
    return result

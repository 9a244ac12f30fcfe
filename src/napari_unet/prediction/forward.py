"""One forward pass over a batch of tiles: on a device, in a number format, averaged over flips and turns or not."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.prediction.prepared import prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_unet.network import UNet

__all__ = ["Forward"]


class Forward:
    """A network made ready to predict tiles.

    Parameters
    ----------
    network : UNet
        It is copied, not changed.
    device : torch.device
    dtype : torch.dtype
    finish : callable
        Applied to the output (``BC(Z)YX``) on the device: the activation.
    average : bool
        Average over the eight flips and quarter turns of the plane.
    fold, channels_last, before_layer
        As for `prepared`.
    """

    def __init__(
        self,
        network: UNet,
        device: torch.device,
        dtype: torch.dtype,
        *,
        finish: Callable[[torch.Tensor], torch.Tensor],
        average: bool,
        fold: bool,
        channels_last: bool,
        before_layer: Callable[[], None],
    ) -> None:
        self._device, self._dtype, self._finish = device, dtype, finish
        self.orientations = 8 if average else 1
        self._network = prepared(
            network, device, dtype, fold=fold, channels_last=channels_last, before_layer=before_layer
        )

    @torch.inference_mode()
    def __call__(self, blocks: NDArray[Any], core: Sequence[int], margin: Sequence[int]) -> torch.Tensor:
        """Return the output (``BC(Z)YX``) on the core of blocks that have it inside a margin."""
        x = torch.from_numpy(blocks).to(self._device, self._dtype)
        if self.orientations == 1:
            return self._pass(x, core, margin).cpu()
        total: torch.Tensor | None = None
        for turns, mirrored in product(range(4), (False, True)):
            turned = torch.rot90(x, turns, (-2, -1))
            sizes = [n if turns % 2 == 0 else (*n[:-2], n[-1], n[-2]) for n in (core, margin)]
            y = self._pass(turned.flip(-1) if mirrored else turned, *sizes, whole=True)
            y = torch.rot90(y.flip(-1) if mirrored else y, -turns, (-2, -1))
            total = y if total is None else total + y
        assert total is not None
        inner: tuple[Any, ...] = (..., *(slice(n) for n in core))
        return (total / self.orientations)[inner].cpu()

    def _pass(
        self, x: torch.Tensor, core: Sequence[int], margin: Sequence[int], *, whole: bool = False
    ) -> torch.Tensor:
        """Return the output on the core; `whole` what a "valid" network puts out beyond it, too."""
        if self._network.padding == "same":
            y = self._network(x, tuple(slice(m, m + n) for m, n in zip(margin, core, strict=True)))
        else:
            y = self._network(x)
            y = y if whole else y[(..., *(slice(n) for n in core))]
        result: torch.Tensor = self._finish(y if y.dtype == torch.float64 else y.float())
        return result

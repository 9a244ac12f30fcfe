"""Long convolutions in parts: whoever wants a prediction to stop does not wait for all of one."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from napari_unet.prediction.device import thread_count

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InParts"]

_WORK_PER_CORE = 1e10
"""Multiplications of a part for each core: a quarter of a second in single precision."""

_CONVOLVE: dict[int, Callable[..., torch.Tensor]] = {4: functional.conv2d, 5: functional.conv3d}
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class InParts(torch.nn.Module):
    """A convolution that is computed slab by slab where it takes long. The values are the same.

    Parameters
    ----------
    convolution : Conv2d or Conv3d
        With a stride of one.
    before_part : callable
        Called before each part.
    most : int, optional
        Multiplications of one part. None: what the cores do in a quarter of a second.
    """

    def __init__(
        self,
        convolution: torch.nn.Conv2d | torch.nn.Conv3d,
        before_part: Callable[[], None],
        most: int | None = None,
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self._before_part = before_part
        self._most = most or int(_WORK_PER_CORE * max(1, thread_count()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output of the convolution (``BC(Z)YX``)."""
        whole: Any = self.convolution
        sides = zip(x.shape[2:], whole.kernel_size, whole.padding, strict=True)
        shape = [n + 2 * pad - kernel + 1 for n, kernel, pad in sides]
        parts = min(shape[0], -(-whole.weight.numel() * x.shape[0] * prod(shape) // self._most))
        if parts < 2:
            result: torch.Tensor = whole(x)
            return result
        out = torch.empty(
            (x.shape[0], whole.out_channels, *shape), dtype=x.dtype, device=x.device, memory_format=_LAST[x.ndim]
        )
        for part in range(parts):
            self._before_part()
            start, stop = shape[0] * part // parts, shape[0] * (part + 1) // parts
            out.narrow(2, start, stop - start).copy_(self._slab(x, start, stop))
        return out

    def _slab(self, x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Return a part of the output along the first spatial axis."""
        whole: Any = self.convolution
        first = start - whole.padding[0]
        last = stop - whole.padding[0] + whole.kernel_size[0] - 1
        inside = x.narrow(2, max(first, 0), min(last, x.shape[2]) - max(first, 0))
        beyond = max(-first, 0), max(last - x.shape[2], 0)
        if any(beyond):
            inside = functional.pad(inside, (*(0, 0) * (x.ndim - 3), *beyond))
        return _CONVOLVE[x.ndim](inside, whole.weight, whole.bias, padding=(0, *whole.padding[1:]))

"""Reads patches out of fields, turned and bent as they are read: nothing is cut out first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.prediction.device import free_memory
from napari_unet.training.augment import sample, sampling_grid, vary_intensity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

    from napari_unet.training.augment import AugmentConfig
    from napari_unet.training.sampling import Field, Place

__all__ = ["PatchReader"]


class PatchReader:
    """Reads patches from fields that lie on the training device, or on the CPU where they would fill it.

    Parameters
    ----------
    fields : sequence of Field
    device : torch.device
    """

    def __init__(self, fields: Sequence[Field], device: torch.device) -> None:
        self._device = device
        parts = [
            (torch.from_numpy(f.image), torch.from_numpy(f.targets.distances), torch.from_numpy(_codes(f)))
            for f in fields
        ]
        size = sum(tensor.nbytes for part in parts for tensor in part)
        here = device.type == "cpu" or size > free_memory(device) // 4
        self._parts = parts if here else [tuple(tensor.to(device) for tensor in part) for part in parts]

    def read(
        self, places: Sequence[Place], patch: Sequence[int], config: AugmentConfig, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a batch of patches.

        Parameters
        ----------
        places : sequence of Place
            What lies beyond a field is its mirror image.
        patch : sequence of int
            Size per axis.
        config : AugmentConfig
        generator : torch.Generator
            On the CPU, whatever the device.

        Returns
        -------
        tuple of Tensor
            On the training device: image and distances, ``BC(Z)YX``; masks, ``B4(Z)YX``: class, where the class is
            learned, where the distances are, where background is presumed.
        """
        # the voxel in the middle of an even patch is the first of its second half
        shift = torch.tensor([(n - 1) / 2 - n // 2 for n in patch])
        centres = torch.from_numpy(np.array([place.centre for place in places], np.float32)) + shift
        sizes = torch.tensor([self._parts[place.field][2].shape[1:] for place in places], dtype=torch.float32)
        grid = sampling_grid(centres, sizes, patch, config, generator)
        read = [_read(self._parts[place.field], grid[n : n + 1]) for n, place in enumerate(places)]
        image, distances, codes = (torch.cat(tensors).to(self._device) for tensors in zip(*read, strict=True))
        return vary_intensity(image, config, generator), distances, _masks(codes)


def _read(part: Sequence[Tensor], grid: Tensor) -> list[Tensor]:
    """Read one patch, some of its rows at a time: on the CPU these are what is computed at once."""
    rows = grid.shape[1]
    count = max(n for n in (1, 2, 4, 8) if rows % n == 0)
    grid = grid.to(part[0].device).reshape(count, rows // count, *grid.shape[2:])
    read = []
    for tensor, mode in zip(part, ("bilinear", "bilinear", "nearest"), strict=True):
        bands = sample(tensor.expand(count, *tensor.shape), grid, mode)
        read.append(bands.movedim(0, 1).reshape(1, len(tensor), rows, *bands.shape[3:]))
    return read


def _codes(field: Field) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Pack class and masks into one number: read once instead of four times."""
    targets = field.targets
    codes = 8 * targets.classes.astype(np.float32)
    codes += 4 * targets.presumed + 2 * targets.learn + targets.learn_distances
    return codes[None]


def _masks(codes: Tensor) -> Tensor:
    classes = torch.floor(codes / 8)
    rest = codes - 8 * classes
    presumed = torch.floor(rest / 4)
    rest = rest - 4 * presumed
    learn = torch.floor(rest / 2)
    return torch.cat([classes, learn, rest - 2 * learn, presumed], dim=1)

"""The U-Net, 2-D and 3-D from one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from napari_unet.errors import ConfigError, PredictionError
from napari_unet.network.receptive_field import needed_regions, valid_input_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["UNet"]

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_UP: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_DROPOUT: dict[int, Any] = {2: nn.Dropout2d, 3: nn.Dropout3d}


class UNet(nn.Module):
    """U-Net: a contracting path, an expanding path, and skips that carry the detail across.

    Parameters
    ----------
    spatial_dims : {2, 3}
        Planes (``CYX``) or volumes (``CZYX``).
    in_channels, out_channels : int
        Channels of the image and of the output. The output is linear: no activation.
    features : int or sequence of int
        Features of the finest level, doubled on each level below; or the features of every level.
    depth : int, optional
        Number of poolings. 4 if `features` is a number (the paper's), else ``len(features) - 1``.
    padding : {"same", "valid"}
        "same" (default) keeps the size; "valid" is the paper's, the output is smaller than the input.
    norm : {"batch", "none"}
        Batch normalisation after each 3x3 convolution (default), or none (the paper's).
        Norms that look at statistics of their own input at prediction time would break tiling.
    dropout : float
        Probability of dropping a feature at the end of the contracting path, on its two deepest levels.
    flat_levels : int
        3-D only: on the first so many levels kernels and poolings skip z, for stacks whose z is coarser.

    Raises
    ------
    ConfigError
        If the arguments contradict each other.

    References
    ----------
    .. [1] Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
       MICCAI 2015, section 2 and figure 1.
    .. [2] Çiçek et al., "3D U-Net", MICCAI 2016, for the volumes.
    """

    def __init__(
        self,
        spatial_dims: Literal[2, 3] = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        features: int | Sequence[int] = 32,
        depth: int | None = None,
        padding: Literal["same", "valid"] = "same",
        norm: Literal["batch", "none"] = "batch",
        dropout: float = 0.0,
        flat_levels: int = 0,
    ) -> None:
        super().__init__()
        _check_arguments(spatial_dims, padding, norm, dropout)
        self.features = _features_per_level(features, depth)
        if not self.features or min(in_channels, out_channels, *self.features) < 1:
            raise ConfigError(
                f"Every level needs a feature and both ends a channel, at least 1 each (got features "
                f"{self.features}, {in_channels} channels in, {out_channels} out)."
            )
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.padding = padding
        self.norm = norm
        self.flat_levels = flat_levels if spatial_dims == 3 else 0
        self.dropout = dropout

        levels, above = range(len(self.features)), range(len(self.features) - 1)
        channels = (in_channels, *self.features)
        self.contracting = nn.ModuleList(self._block(level, channels[level]) for level in levels)
        self.pools = nn.ModuleList(_POOL[spatial_dims](self.pooling(level)) for level in above)
        self.drops = nn.ModuleList(self._drop(level) for level in levels)
        self.ups = nn.ModuleList(self._up(level) for level in above)
        self.expanding = nn.ModuleList(self._block(level, 2 * self.features[level]) for level in above)
        self.head = _CONV[spatial_dims](self.features[0], out_channels, 1)
        self.apply(_he_init)

    @classmethod
    def ronneberger2015(cls, in_channels: int = 1, out_channels: int = 2) -> UNet:
        """Return the network of the paper's figure 1: 572x572 in, 388x388 out, 31,030,658 parameters."""
        return cls(2, in_channels, out_channels, features=64, depth=4, padding="valid", norm="none", dropout=0.5)

    @property
    def depth(self) -> int:
        """Number of poolings."""
        return len(self.features) - 1

    def kernel(self, level: int) -> tuple[int, ...]:
        """Return the kernel of the convolutions on `level`, per axis."""
        return (1 if level < self.flat_levels else 3,) * (self.spatial_dims - 2) + (3, 3)

    def pooling(self, level: int) -> tuple[int, ...]:
        """Return the factors between `level` and the one below, per axis."""
        return (1 if level < self.flat_levels else 2,) * (self.spatial_dims - 2) + (2, 2)

    def forward(self, x: Tensor, core: Sequence[slice] | None = None) -> Tensor:
        """Map ``(B, C, (Z), Y, X)`` images to ``(B, out_channels, (Z), Y, X)`` logits.

        Parameters
        ----------
        x : Tensor
        core : sequence of slice, optional
            "same" networks only: return this part of the output, per spatial axis. What nothing in it depends on is
            not computed; the values are the same.

        Raises
        ------
        PredictionError
            If the size does not fit the poolings; the message names the next one that does.
        """
        self._check_size(x)
        size = x.shape[2:]
        skips = []
        for level, block in enumerate(self.contracting):
            x = self.drops[level](block(x))
            if level < self.depth:
                skips.append(x)
                x = self.pools[level](x)
        regions = None if core is None else needed_regions(self, size, core)
        if regions is not None:
            x = _crop(x, regions[-1][0])
        for level in reversed(range(self.depth)):
            x = self.ups[level](x)
            skip = skips.pop()
            if regions is None:
                x = self.expanding[level](torch.cat([_crop_like(skip, x), x], dim=1))
            else:
                joined, output = regions[level]
                x = self.expanding[level](torch.cat([_crop(skip, joined), x], dim=1))
                x = _crop(x, output, joined)
        logits: Tensor = self.head(x)
        return logits

    def _block(self, level: int, channels: int) -> nn.Sequential:
        """Return two convolutions of `level`, the first of so many channels."""
        layers: list[nn.Module] = []
        features, kernel = self.features[level], self.kernel(level)
        pad = tuple(k // 2 for k in kernel) if self.padding == "same" else 0
        for n_in in (channels, features):
            layers.append(_CONV[self.spatial_dims](n_in, features, kernel, padding=pad, bias=self.norm == "none"))
            if self.norm == "batch":
                layers.append(_BATCH_NORM[self.spatial_dims](features))
            layers.append(nn.ReLU(inplace=True))
        return nn.Sequential(*layers)

    def _drop(self, level: int) -> nn.Module:
        """Return what drops features at the end of `level`."""
        drop: nn.Module = nn.Identity()
        if self.dropout > 0 and level >= self.depth - 1:
            drop = _DROPOUT[self.spatial_dims](self.dropout)
        return drop

    def _up(self, level: int) -> nn.Module:
        """Return the up-convolution from the level below to `level`."""
        factors, features = self.pooling(level), self.features
        up: nn.Module = _UP[self.spatial_dims](features[level + 1], features[level], factors, stride=factors)
        return up

    def _check_size(self, x: Tensor) -> None:
        if x.ndim != self.spatial_dims + 2:
            wanted = "BCYX" if self.spatial_dims == 2 else "BCZYX"
            raise PredictionError(f"A {self.spatial_dims}-D U-Net takes {wanted}, not {x.ndim} dimensions.")
        size = tuple(x.shape[2:])
        fitting = valid_input_size(self, size)
        if size != fitting:
            raise PredictionError(
                f"A tile of {size} does not fit a {self.padding!r} U-Net with {self.depth} poolings. Use {fitting}."
            )


def _check_arguments(spatial_dims: int, padding: str, norm: str, dropout: float) -> None:
    if spatial_dims not in (2, 3):
        raise ConfigError(f"A U-Net has 2 or 3 spatial dimensions, not {spatial_dims}.")
    if padding not in ("same", "valid") or norm not in ("batch", "none"):
        raise ConfigError(f"padding is 'same' or 'valid', norm 'batch' or 'none' (got {padding!r}, {norm!r}).")
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout is a probability below 1, not {dropout}.")


def _features_per_level(features: int | Sequence[int], depth: int | None) -> tuple[int, ...]:
    if isinstance(features, int):
        return tuple(features * 2**level for level in range((4 if depth is None else depth) + 1))
    if depth is not None and depth != len(features) - 1:
        raise ConfigError(f"{len(features)} levels of features have {len(features) - 1} poolings, not {depth}.")
    return tuple(features)


def _crop(x: Tensor, region: Sequence[slice], origin: Sequence[slice] | None = None) -> Tensor:
    """Return a region of features that start at `origin`."""
    for axis, part in enumerate(region):
        first = part.start - (0 if origin is None else origin[axis].start)
        x = x.narrow(axis + 2, first, part.stop - part.start)
    return x


def _crop_like(skip: Tensor, x: Tensor) -> Tensor:
    for axis in range(2, x.ndim):
        excess = skip.shape[axis] - x.shape[axis]
        if excess:
            skip = skip.narrow(axis, excess // 2, x.shape[axis])
    return skip


def _he_init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        transposed = isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d)
        # each output of a 2x2 up-convolution sums over its input channels alone
        fan_in = module.in_channels if transposed else module.weight[0].numel()
        nn.init.normal_(module.weight, std=(2.0 / fan_in) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""Elastic and other augmentation, batched, on the training device, 2-D and 3-D by one code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

__all__ = ["AugmentConfig", "augment", "cubic_matrix", "elastic_displacement", "source_size"]


class AugmentConfig(BaseModel):
    """What is varied between two views of one patch. Each part can be switched off."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    elastic_px: float = Field(10.0, ge=0)
    """Standard deviation of the displacements on a coarse 3x3 grid, in pixels (the paper's 10). 0: off."""
    rotate: bool = True
    """Turn by any angle in the plane."""
    scale: float = Field(1.4, ge=1)
    """Objects are made up to so many times larger or smaller. 1: off."""
    flip: bool = True
    """Mirror along each axis."""
    intensity: bool = True
    """Vary contrast, brightness and gamma."""
    noise: float = Field(0.06, ge=0)
    """Largest standard deviation of added noise; the image's range is about 1. 0: off."""
    blur_px: float = Field(1.5, ge=0)
    """Largest sigma of a blur, in pixels. 0: off."""


def source_size(patch: Sequence[int], config: AugmentConfig) -> tuple[int, ...]:
    """Return how much of an image a patch can need once it is turned, shrunk and bent."""
    plane = (math.sqrt(2) if config.rotate else 1.0) * config.scale
    margin = round(2 * config.elastic_px)
    *depth, height, width = patch
    return (*depth, *(min(2 * n, math.ceil(n * plane) + margin) for n in (height, width)))


def augment(
    image: Tensor,
    distances: Tensor,
    masks: Tensor,
    *,
    patch: Sequence[int],
    config: AugmentConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Bend and vary a batch.

    One displacement field, two samplings: image and distances linear, masks nearest.

    Parameters
    ----------
    image, distances, masks : Tensor
        ``BC(Z)YX`` source patches on the training device; masks of small integers as floats.
    patch : sequence of int
        Size of the result per axis.
    config : AugmentConfig
    generator : torch.Generator
        On the CPU, whatever the device: the same seed gives the same patches everywhere.

    Returns
    -------
    tuple of Tensor
        Image, distances and masks, ``BC(Z)YX`` of size `patch`.
    """
    grid = _sampling_grid(len(image), patch, image.shape[2:], config, generator).to(image.device)
    smooth = torch.cat([image, distances], dim=1)
    smooth = functional.grid_sample(smooth, grid, "bilinear", "reflection", align_corners=True)
    masks = functional.grid_sample(masks, grid, "nearest", "reflection", align_corners=True)
    channels = image.shape[1]
    varied = _vary_intensity(smooth[:, :channels], config, generator)
    return varied, smooth[:, channels:], masks


def elastic_displacement(
    batch: int, size: Sequence[int], sigma_px: float, generator: Generator, *, grid: int = 3
) -> Tensor:
    """Return smooth random displacements: Gaussian on a coarse grid, up-sampled by cubic interpolation.

    Parameters
    ----------
    batch : int
    size : sequence of int
        Voxels per axis.
    sigma_px : float
        Standard deviation of the displacements on the grid, in pixels.
    generator : torch.Generator
    grid : int
        Nodes per axis (the paper's 3).

    Returns
    -------
    Tensor
        ``B, axis, *size``: the displacement along each axis in pixels. Along z, where there are few
        slices, it is scaled down to their number.

    References
    ----------
    .. [1] Ronneberger et al. 2015, section 3.1: 3x3 grid, 10 pixels, bicubic interpolation.
    """
    dims = len(size)
    field = torch.randn((batch, dims, *(grid,) * dims), generator=generator) * sigma_px
    for axis, n in enumerate(size):
        field = torch.movedim(torch.movedim(field, 2 + axis, -1) @ cubic_matrix(n, grid).T, -1, 2 + axis)
        field[:, axis] *= min(1.0, n / max(size))
    return field


def cubic_matrix(n: int, nodes: int) -> Tensor:
    """Return the ``(n, nodes)`` matrix that interpolates values at `nodes` even positions cubically at `n`.

    Cubic convolution (Keys 1981, a = -0.5); the outermost nodes are continued as constants.
    """
    position = torch.linspace(0, nodes - 1, n, dtype=torch.float64)[:, None]
    taps = torch.arange(-2, nodes + 2, dtype=torch.float64)[None]
    x = (position - taps).abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    folded = weights[:, 2 : nodes + 2].clone()
    folded[:, 0] += weights[:, :2].sum(1)
    folded[:, -1] += weights[:, nodes + 2 :].sum(1)
    return folded.float()


def _sampling_grid(
    batch: int, patch: Sequence[int], source: Sequence[int], config: AugmentConfig, generator: Generator
) -> Tensor:
    """Return where each voxel of the result is read, ``B, *patch, axis`` in grid_sample's units, x first."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    centred = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    position = torch.einsum("bij,j...->bi...", _linear_maps(batch, len(patch), config, generator), centred)
    if config.elastic_px:
        position += elastic_displacement(batch, patch, config.elastic_px, generator)
    half = torch.tensor([max(n - 1, 1) / 2 for n in source]).reshape(1, -1, *(1,) * len(patch))
    return torch.movedim((position / half).flip(1), 1, -1)


def _linear_maps(batch: int, dims: int, config: AugmentConfig, generator: Generator) -> Tensor:
    """Return ``B, axis, axis`` matrices: rotation and scaling in the plane, mirroring along every axis."""
    maps = torch.eye(dims).repeat(batch, 1, 1)
    angle = torch.rand(batch, generator=generator) * (2 * math.pi if config.rotate else 0)
    factor = config.scale ** (torch.rand(batch, generator=generator) * 2 - 1)
    maps[:, -2, -2] = maps[:, -1, -1] = factor * angle.cos()
    maps[:, -2, -1] = -factor * angle.sin()
    maps[:, -1, -2] = factor * angle.sin()
    if config.flip:
        signs = torch.randint(0, 2, (batch, dims, 1), generator=generator) * 2 - 1
        maps = maps * signs
    return maps


def _vary_intensity(image: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    batch, device = len(image), image.device

    def uniform(low: float, high: float) -> Tensor:
        values = torch.rand(batch, generator=generator) * (high - low) + low
        return values.reshape(-1, *(1,) * (image.ndim - 1)).to(device)

    if config.blur_px:
        sigma = uniform(-config.blur_px, config.blur_px)  # one half stays sharp
        image = _blur(image, sigma.clamp(min=0.0).flatten())
    if config.intensity:
        gamma = torch.exp(uniform(-0.6, 0.6))
        image = image.sign() * image.abs().clamp(min=1e-6) ** gamma
        image = image * torch.exp(uniform(-0.4, 0.4)) + uniform(-0.1, 0.1)
    if config.noise:
        sigma = uniform(-config.noise, config.noise).clamp(min=0.0)
        image = image + sigma * torch.randn(image.shape, generator=generator).to(device)
    return image


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image of the batch in the plane by its own sigma (0: not at all)."""
    radius = max(1, math.ceil(2.5 * float(sigma.max())))
    offsets = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(image.shape[1], 0)
    planes = image.reshape(1, -1, math.prod(image.shape[2:-2]), *image.shape[-2:])
    for shape, pad in (((1, -1, 1), (0, 0, radius, radius)), ((1, 1, -1), (radius, radius, 0, 0))):
        padded = functional.pad(planes, (*pad, 0, 0), mode="replicate")
        planes = functional.conv3d(padded, kernel.reshape(len(kernel), 1, *shape), groups=len(kernel))
    return planes.reshape(image.shape)

"""Elastic and other augmentation, batched, on the training device, 2-D and 3-D by one code."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

__all__ = ["AugmentConfig", "augment", "cubic_matrix", "sample", "sampling_grid", "vary_intensity"]

_NODES = 3
_SHADING_NODES = 4
"""Along the longest side of a patch."""


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
    shading: float | None = Field(None, ge=0)
    """Largest standard deviation of a brightness that varies smoothly over a patch, as uneven light and halos do; the
    contrast varies by twice as much. The image's range is about 1. 0: off. None: 0.25 for objects, off for classes,
    which brightness itself often tells apart: what was better for each (docs/training.md)."""
    noise: float = Field(0.06, ge=0)
    """Largest standard deviation of added noise; the image's range is about 1. 0: off."""
    blur_px: float = Field(1.5, ge=0)
    """Largest sigma of a blur, in pixels. 0: off."""


def augment(
    image: Tensor,
    distances: Tensor,
    masks: Tensor,
    *,
    patch: Sequence[int],
    config: AugmentConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Bend and vary a batch around its centre.

    One displacement field, two samplings: image and distances linear, masks nearest.

    Parameters
    ----------
    image, distances, masks : Tensor
        ``BC(Z)YX`` source patches on the training device; masks of small integers as floats.
    patch : sequence of int
        Size of the result per axis. What lies beyond the source is its mirror image.
    config : AugmentConfig
    generator : torch.Generator
        On the CPU, whatever the device: the same seed gives the same patches everywhere.

    Returns
    -------
    tuple of Tensor
        Image, distances and masks, ``BC(Z)YX`` of size `patch`.
    """
    sizes = torch.tensor(image.shape[2:], dtype=torch.float32).expand(len(image), -1)
    grid = sampling_grid((sizes - 1) / 2, sizes, patch, config, generator).to(image.device)
    bent, bent_distances = (sample(part, grid, "bilinear") for part in (image, distances))
    return vary_intensity(bent, config, generator), bent_distances, sample(masks, grid, "nearest")


def sample(source: Tensor, grid: Tensor, mode: str) -> Tensor:
    """Read ``BC(Z)YX`` images at the places of a grid; without channels there is nothing to read."""
    if source.shape[1] == 0:
        return source.new_zeros((len(grid), 0, *grid.shape[1:-1]))
    return functional.grid_sample(source, grid, mode, "reflection", align_corners=True)


def sampling_grid(
    centres: Tensor, sizes: Tensor, patch: Sequence[int], config: AugmentConfig, generator: Generator
) -> Tensor:
    """Return where each voxel of some patches is read.

    Turning, scaling and mirroring are linear, and the elastic part is a cubic interpolation of its 3x3 nodes
    (Ronneberger et al. 2015, section 3.1). All of it is a sum of products of functions of one coordinate: cubic
    weights of the nodes, a constant, the coordinate. So a few matrix products make the whole grid.

    Parameters
    ----------
    centres, sizes : Tensor
        ``B, axis``: where in its source the centre of each patch lies, and how large the source is, in voxels.
    patch : sequence of int
        Voxels per axis.
    config : AugmentConfig
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Tensor
        ``B, *patch, axis``, float32 on the CPU, in the units of `torch.nn.functional.grid_sample`, x first.
    """
    batch, dims = len(centres), len(patch)
    terms = torch.zeros((batch, dims, *(_NODES + 2,) * dims))
    constant, linear = _NODES, _NODES + 1
    if config.elastic_px:
        nodes = torch.randn((batch, dims, *(_NODES,) * dims), generator=generator) * config.elastic_px
        # along z, where there are few slices, by their number less
        damping = torch.tensor([min(1.0, n / max(patch)) for n in patch])
        inner: list[slice] = [slice(_NODES)] * dims
        terms[:, :, *inner] = nodes * damping.reshape(-1, *(1,) * dims)
    maps = _linear_maps(batch, dims, config, generator)
    for axis in range(dims):
        along: Any = (..., *(linear if a == axis else constant for a in range(dims)))
        terms[along] = maps[:, :, axis]
    middle: Any = (..., *(constant,) * dims)
    terms[middle] = centres
    terms *= (2 / (sizes - 1).clamp(min=1)).reshape(batch, dims, *(1,) * dims)
    terms[middle] -= 1

    functions = [
        torch.cat([cubic_matrix(n, _NODES), torch.ones(n, 1), torch.arange(n)[:, None] - (n - 1) / 2], dim=1)
        for n in patch
    ]
    for axis in range(dims - 1):
        terms = torch.movedim(torch.movedim(terms, 2 + axis, -1) @ functions[axis].T, -1, 2 + axis)
    # the last axis and the coordinates at once, so that the result lies in memory as grid_sample reads it
    rows = torch.movedim(terms.flip(1), 1, -1).reshape(-1, (_NODES + 2) * dims)
    return (rows @ torch.kron(functions[-1].T.contiguous(), torch.eye(dims))).reshape(batch, *patch, dims)


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


def vary_intensity(image: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Blur, brighten and disturb ``BC(Z)YX`` images, each in its own way."""
    batch, device = len(image), image.device

    def uniform(low: float, high: float) -> Tensor:
        values = torch.rand(batch, generator=generator) * (high - low) + low
        return values.reshape(-1, *(1,) * (image.ndim - 1)).to(device)

    if config.blur_px:
        sigma = uniform(-config.blur_px, config.blur_px).flatten()  # one half stays sharp
        blurred = torch.nonzero(sigma > 0).flatten()
        if blurred.numel():
            image = image.index_copy(0, blurred, _blur(image[blurred], sigma[blurred]))
    if config.intensity:
        gamma = torch.exp(uniform(-0.6, 0.6))
        image = torch.copysign(image.abs().clamp_(min=1e-6).pow_(gamma), image)
        image.mul_(torch.exp(uniform(-0.4, 0.4))).add_(uniform(-0.1, 0.1))
    if config.shading:
        contrast, brightness = (
            _smooth(image.shape, uniform(0, amount), generator) for amount in (2 * config.shading, config.shading)
        )
        image = torch.addcmul(brightness, image, contrast.exp_())
    if config.noise:
        sigma = uniform(-config.noise, config.noise).clamp(min=0.0)
        image = torch.addcmul(image, sigma, torch.randn(image.shape, generator=generator).to(device))
    return image


def _smooth(shape: Sequence[int], sigma: Tensor, generator: Generator) -> Tensor:
    """Return ``B1(Z)YX`` fields that vary smoothly, from few random nodes with a standard deviation for each field."""
    batch, sides = shape[0], shape[2:]
    nodes = [max(2, round(_SHADING_NODES * n / max(sides))) for n in sides]
    field = torch.randn((batch, 1, *nodes), generator=generator).to(sigma.device) * sigma
    for axis, (n, count) in enumerate(zip(sides, nodes, strict=True), start=2):
        weights = cubic_matrix(n, count).T.to(sigma.device)
        field = torch.movedim(torch.movedim(field, axis, -1) @ weights, -1, axis)
    return field


def _blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image of the batch in the plane by its own sigma."""
    radius = max(1, math.ceil(2.5 * float(sigma.max())))
    offsets = torch.arange(radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / (2 * kernel.sum(1, keepdim=True) - kernel[:, :1])
    weights = kernel.T.reshape(radius + 1, -1, *(1,) * (image.ndim - 1))
    for axis in (-2, -1):
        n = image.shape[axis]
        index = torch.arange(-radius, n + radius, device=image.device).clamp_(0, n - 1)
        padded = image.index_select(axis, index)
        image = padded.narrow(axis, radius, n) * weights[0]
        for k in range(1, radius + 1):
            both = padded.narrow(axis, radius - k, n) + padded.narrow(axis, radius + k, n)
            image.addcmul_(both, weights[k])
    return image

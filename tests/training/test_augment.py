"""Augmentation: everything that belongs together is bent together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from napari_unet.training import AugmentConfig
from napari_unet.training.augment import augment, cubic_matrix, sampling_grid

OFF = {
    "elastic_px": 0.0, "rotate": False, "scale": 1.0, "flip": False, "intensity": False, "shading": 0.0, "noise": 0.0,
    "blur_px": 0.0,
}  # fmt: skip
SWITCHES: dict[str, Any] = {
    "elastic_px": 5.0, "rotate": True, "scale": 1.4, "flip": True, "intensity": True, "shading": 0.2, "noise": 0.1,
    "blur_px": 2.0,
}  # fmt: skip
MOVES = {name: SWITCHES[name] for name in ("elastic_px", "rotate", "scale", "flip")}


def only(**on: Any) -> AugmentConfig:
    return AugmentConfig(**{**OFF, **on})


def bend(image: Tensor, patch: tuple[int, ...], config: AugmentConfig, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Bend an image that serves as image, distances and masks at once."""
    return augment(image, image, image, patch=patch, config=config, generator=torch.Generator().manual_seed(seed))


def ramps(batch: int, size: tuple[int, ...]) -> Tensor:
    """Return an image with one channel per axis, which holds the position along it."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in size), indexing="ij")
    return torch.stack(axes).repeat(batch, 1, *(1,) * len(size))


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("size", [(20, 24), (4, 12, 14)])
def test_same_seed_gives_the_same_patches_and_another_seed_others(size: tuple[int, ...]) -> None:
    image = noise(2, 3, *size)
    patch = tuple(n // 2 for n in size)
    before = torch.random.get_rng_state()
    one, same, other = (bend(image, patch, AugmentConfig(), seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    assert torch.equal(torch.random.get_rng_state(), before), "nothing else is drawn from"


@pytest.mark.parametrize(
    ("size", "patch"), [((20, 24), (20, 24)), ((20, 24), (12, 10)), ((9, 20, 24), (3, 8, 24)), ((1, 8, 8), (1, 4, 4))]
)
def test_everything_off_gives_the_centre_as_it_is(size: tuple[int, ...], patch: tuple[int, ...]) -> None:
    image = noise(2, 2, *size)
    inner = tuple(slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(size, patch, strict=True))
    expected = image[(slice(None), slice(None), *inner)]
    bent, distances, masks = bend(image, patch, only())
    torch.testing.assert_close(bent, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(distances, expected, atol=1e-5, rtol=0)
    assert torch.equal(masks, expected)


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize("size", [(32, 32), (8, 24, 24)])
def test_each_switch_does_something_by_itself(name: str, size: tuple[int, ...]) -> None:
    image = noise(4, 1, *size)
    plain, changed = (bend(image, size, config) for config in (only(), only(**{name: SWITCHES[name]})))
    assert (changed[0] - plain[0]).abs().max() > 0.02
    moved = [not torch.equal(a, b) for a, b in zip(plain[1:], changed[1:], strict=True)]
    assert moved == [name in MOVES] * 2, "brightness, noise and blur are of the image alone"


@pytest.mark.parametrize("size", [(64, 48), (8, 32, 32)])
def test_shading_varies_smoothly_over_a_patch_and_from_patch_to_patch(size: tuple[int, ...]) -> None:
    flat = torch.full((6, 2, *size), 0.5)
    shaded, _, _ = bend(flat, size, only(shading=0.25))
    spread = shaded.flatten(2).std(2)
    assert (spread > 0.01).all(), "from place to place"
    assert spread[:, 0].std() > 0.01, "one patch more than the other"
    torch.testing.assert_close(shaded[:, 0], shaded[:, 1])
    steps = torch.cat([shaded.diff(dim=axis).abs().flatten() for axis in range(2, shaded.ndim)])
    assert steps.max() < 0.3 * (shaded.max() - shaded.min()), "never in a step"


@pytest.mark.parametrize("size", [(40, 48), (6, 30, 32)])
def test_image_and_masks_are_read_at_the_same_places(size: tuple[int, ...]) -> None:
    # each voxel knows where it was: linear and nearest reading may differ by half a voxel at most
    source = tuple(3 * n for n in size)
    bent, distances, masks = bend(ramps(4, source), size, only(**MOVES))
    assert torch.equal(bent, distances)
    assert float((bent - masks).abs().max()) <= 0.5 + 1e-3
    assert torch.equal(masks, masks.round())


def test_masks_hold_only_numbers_that_were_there() -> None:
    masks = torch.tensor([0.0, 3.0, 200.0])[torch.randint(0, 3, (2, 3, 40, 40))]
    _, _, bent = augment(
        noise(2, 1, 40, 40), noise(2, 2, 40, 40), masks, patch=(20, 20), config=AugmentConfig(),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert set(bent.unique().tolist()) <= {0.0, 3.0, 200.0}


def test_semantic_patches_have_no_distances() -> None:
    image, masks = noise(2, 1, 40, 40), torch.zeros(2, 3, 40, 40)
    _, distances, _ = augment(
        image, image[:, :0], masks, patch=(20, 20), config=AugmentConfig(), generator=torch.Generator().manual_seed(0)
    )
    assert distances.shape == (2, 0, 20, 20)


def slopes(size: tuple[int, int], config: AugmentConfig, batch: int = 64) -> np.ndarray[Any, Any]:
    """Return the matrix of each patch: how the source position changes along each axis of the result."""
    source = tuple(4 * n + 1 for n in size)
    bent, _, _ = bend(ramps(batch, source), size, config)
    rows = [bent.diff(dim=axis)[..., 4:-4, 4:-4].mean((-2, -1)) for axis in (2, 3)]
    return np.asarray(torch.stack(rows, dim=-1).double())


def test_rotation_turns_by_all_angles_and_keeps_lengths() -> None:
    matrices = slopes((21, 21), only(rotate=True))
    np.testing.assert_allclose(
        matrices @ matrices.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (64, 2, 2)), atol=1e-4
    )
    assert np.linalg.det(matrices).min() > 0, "turned, not mirrored"
    angles = np.sort(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert np.diff(angles).max() < 0.6


def test_scale_goes_both_ways_within_its_limit() -> None:
    matrices = slopes((21, 21), only(scale=1.4))
    factors = matrices[:, 0, 0]
    np.testing.assert_allclose(matrices, factors[:, None, None] * np.eye(2), atol=1e-4)
    assert 1 / 1.401 < factors.min() < 0.8
    assert 1.25 < factors.max() < 1.401


def test_flip_gives_each_mirror_image_and_nothing_else() -> None:
    image = noise(1, 1, 5, 6, 7).repeat(64, 1, 1, 1, 1)
    bent, _, _ = bend(image, (5, 6, 7), only(flip=True))
    mirrored = {
        tuple(dims): image[0].flip(dims) for dims in ([], [1], [2], [3], [1, 2], [1, 3], [2, 3], [1, 2, 3])
    }  # fmt: skip
    seen = {name for one in bent for name, expected in mirrored.items() if torch.allclose(one, expected, atol=1e-4)}
    assert seen == set(mirrored)
    assert all(any(torch.allclose(one, m, atol=1e-4) for m in mirrored.values()) for one in bent)


def test_noise_is_of_the_size_asked_for() -> None:
    flat = torch.full((64, 1, 32, 32), 0.5)
    bent, _, _ = bend(flat, (32, 32), only(noise=0.1))
    deviations = bent.std((1, 2, 3))
    assert float(deviations.max()) <= 0.11
    assert float(deviations.max()) > 0.07
    assert (deviations == 0).any(), "some stay clean"


def test_blur_keeps_the_brightness_and_smooths_some() -> None:
    image = noise(16, 2, 48, 48)
    bent, _, _ = bend(image, (48, 48), only(blur_px=2.0))
    torch.testing.assert_close(bent.mean((2, 3)), image.mean((2, 3)), atol=0.02, rtol=0)
    spread = bent.std((2, 3)) / image.std((2, 3))
    assert float(spread.min()) < 0.4
    assert float(spread.max()) == pytest.approx(1, abs=1e-3)


@given(values=st.lists(st.floats(-5, 50, width=32), min_size=16, max_size=16))
def test_any_intensities_stay_finite(values: list[float]) -> None:
    image = torch.tensor(values).reshape(1, 1, 4, 4).repeat(4, 1, 1, 1)
    bent, _, _ = bend(image, (4, 4), AugmentConfig())
    assert torch.isfinite(bent).all()


def elastic_displacement(batch: int, size: tuple[int, ...], sigma: float, generator: torch.Generator) -> Tensor:
    """Return how far each voxel is read from where it lies, ``B, axis, *size``."""
    sizes = torch.full((batch, len(size)), 1001.0)
    centres = torch.full((batch, len(size)), 500.0)
    bent, straight = (
        torch.movedim(sampling_grid(centres, sizes, size, only(elastic_px=px), generator), -1, 1).flip(1) * 500
        for px in (sigma, 0.0)
    )
    return bent - straight


@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_elastic_displacements_have_their_standard_deviation_at_the_nodes(sigma: float) -> None:
    field = elastic_displacement(3000, (31, 31), sigma, torch.Generator().manual_seed(0))
    assert field.shape == (3000, 2, 31, 31)
    nodes = field[:, :, ::15, ::15]
    assert float(nodes.std()) == pytest.approx(sigma, rel=0.02)
    assert float(nodes.mean()) == pytest.approx(0, abs=0.05 * sigma)
    assert float(field.std(0).max()) < 1.15 * sigma, "nowhere much more"
    assert float(torch.corrcoef(nodes.reshape(3000, -1).T).fill_diagonal_(0).abs().max()) < 0.1, "nodes are independent"


def test_elastic_displacements_are_smooth() -> None:
    field = elastic_displacement(50, (193, 193), 10.0, torch.Generator().manual_seed(0))
    step = field.diff(dim=-1).abs().max()
    bend_ = field.diff(dim=-1).diff(dim=-1).abs().max()
    assert float(step) < 1.2, "a neighbour moves about as far: a displacement of 10 px builds up over 96"
    assert float(bend_) < 0.06


def test_thin_volume_is_bent_less_along_z() -> None:
    field = elastic_displacement(500, (4, 32, 32), 8.0, torch.Generator().manual_seed(0))
    z, y, x = field.std((0, 2, 3, 4))
    assert float(y / z) == pytest.approx(8, rel=0.2)
    assert float(y / x) == pytest.approx(1, rel=0.2)


@given(n=st.integers(1, 60), nodes=st.integers(1, 7))
def test_cubic_matrix_is_an_average_of_the_nodes(n: int, nodes: int) -> None:
    matrix = cubic_matrix(n, nodes)
    assert matrix.shape == (n, nodes)
    torch.testing.assert_close(matrix.sum(1), torch.ones(n))
    if n > 1:
        torch.testing.assert_close(matrix, matrix.flip(0).flip(1), atol=1e-5, rtol=0)


@given(per_node=st.integers(1, 12), nodes=st.integers(2, 7), seed=st.integers(0, 99))
def test_cubic_matrix_goes_through_the_nodes(per_node: int, nodes: int, seed: int) -> None:
    values = torch.randn(nodes, generator=torch.Generator().manual_seed(seed))
    between = cubic_matrix(per_node * (nodes - 1) + 1, nodes) @ values
    torch.testing.assert_close(between[::per_node], values, atol=1e-5, rtol=0)


def test_cubic_matrix_is_exact_for_parabolas_away_from_the_ends() -> None:
    positions = torch.linspace(0, 6, 61)
    curve = cubic_matrix(61, 7) @ torch.arange(7.0) ** 2
    inner = slice(10, 51)
    torch.testing.assert_close(curve[inner], positions[inner] ** 2, atol=1e-4, rtol=0)


@pytest.mark.parametrize("wrong", [{"elastic_px": -1}, {"scale": 0.5}, {"noise": -0.1}, {"shear": 1}])
def test_settings_have_ranges(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentConfig(**wrong)

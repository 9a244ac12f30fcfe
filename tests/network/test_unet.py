"""The network: the paper's to the number, and the everyday one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_unet import UNet
from napari_unet.errors import ConfigError, PredictionError
from napari_unet.network import alignment, halo, valid_input_size

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@pytest.fixture(scope="module")
def paper() -> UNet:
    torch.manual_seed(0)
    return UNet.ronneberger2015()


def convolutions(network: nn.Module) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, CONVOLUTIONS)]


def shapes_inside(network: UNet, size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return channels and size after each convolution, in the order in which they are computed."""
    shapes: list[tuple[int, ...]] = []
    hooks = [
        c.register_forward_hook(lambda *args: shapes.append(tuple(args[2].shape[1:]))) for c in convolutions(network)
    ]
    network(torch.empty(1, network.in_channels, *size, device="meta"))
    for hook in hooks:
        hook.remove()
    return shapes


def test_paper_figure_1_is_reproduced_convolution_by_convolution() -> None:
    with torch.device("meta"):
        network = UNet.ronneberger2015()
    sizes = {
        64: [570, 568], 128: [282, 280], 256: [138, 136], 512: [66, 64], 1024: [30, 28],
    }  # fmt: skip
    expected = [(features, n, n) for features, pair in sizes.items() for n in pair]
    for features, up, pair in (
        (512, 56, [54, 52]),
        (256, 104, [102, 100]),
        (128, 200, [198, 196]),
        (64, 392, [390, 388]),
    ):
        expected += [(features, n, n) for n in (up, *pair)]
    assert shapes_inside(network, (572, 572)) == [*expected, (2, 388, 388)]


def test_paper_has_23_convolutions_and_its_number_of_parameters(paper: UNet) -> None:
    assert len(convolutions(paper)) == 23
    assert sum(p.numel() for p in paper.parameters()) == 31_030_658
    assert not any(isinstance(m, nn.BatchNorm2d) for m in paper.modules())


def test_paper_drops_out_at_the_end_of_the_contracting_path_only(paper: UNet) -> None:
    places = [name for name, module in paper.named_modules() if isinstance(module, nn.Dropout2d)]
    assert places == ["drops.3", "drops.4"]
    assert all(paper.get_submodule(name).p == 0.5 for name in places)


def test_weights_are_drawn_as_he_says(paper: UNet) -> None:
    for layer in convolutions(paper.requires_grad_(False)):
        fan_in = layer.in_channels
        if not isinstance(layer, nn.ConvTranspose2d):
            fan_in *= layer.kernel_size[0] * layer.kernel_size[1]
        assert layer.bias.abs().max() == 0
        if layer.weight.numel() > 2000:  # enough numbers for a standard deviation
            assert float(layer.weight.mean()) == pytest.approx(0, abs=4 * (2 / fan_in / layer.weight.numel()) ** 0.5)
            assert float(layer.weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def test_signal_keeps_its_size_from_end_to_end() -> None:
    # what He initialisation is for: neither vanishes nor explodes over 23 layers
    torch.manual_seed(0)
    network = UNet(2, 1, 2, features=16, depth=4, norm="none")
    with torch.no_grad():
        y = network(torch.randn(1, 1, 64, 64))
    assert 0.05 < float(y.std()) < 20


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_same_padding_keeps_the_size(dims: Any, norm: Any) -> None:
    network = UNet(dims, 3, 5, features=(4, 6, 8), norm=norm).eval()
    size = (12, 20, 8)[-dims:]
    assert network(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize(("flat", "depth_of_stack"), [(1, 6), (2, 3)])
def test_flat_levels_leave_z_alone(flat: int, depth_of_stack: int) -> None:
    network = UNet(3, 1, 2, features=(4, 4, 4), flat_levels=flat)
    assert network(torch.zeros(1, 1, depth_of_stack, 16, 8)).shape == (1, 2, depth_of_stack, 16, 8)
    assert [network.kernel(level)[0] for level in range(3)] == [1] * flat + [3] * (3 - flat)
    assert [network.pooling(level)[0] for level in range(2)] == [1] * flat + [2] * (2 - flat)


def test_slices_do_not_see_each_other_where_all_levels_are_flat() -> None:
    torch.manual_seed(0)
    network = UNet(3, 1, 1, features=(3, 3), flat_levels=2).eval()
    x = torch.randn(1, 1, 4, 8, 8)
    changed = x.clone()
    changed[:, :, 1] += 1
    with torch.no_grad():
        moved = (network(x) != network(changed)).flatten(3).any(-1).squeeze()
    assert moved.tolist() == [False, True, False, False]


def test_features_given_one_by_one_or_doubled() -> None:
    assert UNet(features=8, depth=3).features == (8, 16, 32, 64)
    assert UNet(features=8).depth == 4
    assert UNet(features=(8, 12)).depth == 1


def test_prediction_does_not_look_at_statistics_of_its_input() -> None:
    torch.manual_seed(0)
    network = UNet(2, 1, 2, features=(4, 4)).eval()
    a, b = torch.randn(2, 1, 1, 8, 8)
    with torch.no_grad():
        alone, together = network(a), network(torch.cat([a, 100 * b]))[:1]
    torch.testing.assert_close(alone, together)


def test_dropout_acts_in_training_and_not_in_prediction() -> None:
    torch.manual_seed(0)
    network = UNet(features=(4, 8), norm="none", dropout=0.5)
    x = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        network.train()
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_names_of_the_weights_are_those_of_format_version_1() -> None:
    # model files name them: renaming a layer makes every saved model unreadable
    def block(place: str, layers: tuple[int, int]) -> list[str]:
        norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
        return [f"{place}.{n}.weight" for n in layers] + [f"{place}.{n + 1}.{part}" for n in layers for part in norm]

    expected = [*block("contracting.0", (0, 3)), *block("contracting.1", (0, 3)), *block("expanding.0", (0, 3))]
    expected += ["ups.0.weight", "ups.0.bias", "head.weight", "head.bias"]
    assert sorted(UNet(features=(4, 4)).state_dict()) == sorted(expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"spatial_dims": 4}, "2 or 3"),
        ({"padding": "reflect"}, "'same' or 'valid'"),
        ({"norm": "instance"}, "'batch' or 'none'"),
        ({"features": (4, 4), "depth": 3}, "1 poolings, not 3"),
        ({"features": ()}, "at least 1"),
        ({"features": (4, 0)}, "at least 1"),
        ({"in_channels": 0}, "at least 1"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_contradictory_arguments_say_what_is_wrong(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        UNet(**arguments)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_size_that_does_not_fit_names_one_that_does(padding: Any) -> None:
    network = UNet(features=(2, 2, 2), padding=padding, norm="none")
    with pytest.raises(PredictionError, match=r"\(61, 63\) does not fit") as caught:
        network(torch.zeros(1, 1, 61, 63))
    advised = str(caught.value).rpartition("Use (")[2].rstrip(").").split(", ")
    network(torch.zeros(1, 1, *map(int, advised)))


@pytest.mark.parametrize("n", [8, 12, 16, 20, 40])
def test_valid_network_refuses_what_would_leave_nothing(n: int) -> None:
    network = UNet(features=(2, 2, 2), padding="valid", norm="none")
    with pytest.raises(PredictionError, match="Use "):
        network(torch.zeros(1, 1, n, n))


def test_volume_into_a_network_of_planes_is_refused() -> None:
    with pytest.raises(PredictionError, match="BCYX"):
        UNet(features=(2, 2))(torch.zeros(1, 1, 8, 8, 8))


@pytest.mark.parametrize(("dims", "features"), [(2, (3, 4, 5)), (3, (2, 3))])
@torch.no_grad()
def test_valid_network_answers_as_a_padded_one_does_far_from_the_padding(dims: Any, features: tuple[int, ...]) -> None:
    # the same weights give the same answer, so skips are cropped at their centre
    torch.manual_seed(0)
    padded = UNet(dims, 1, 1, features=features, norm="none").double()
    cropped = UNet(dims, 1, 1, features=features, norm="none", padding="valid").double()
    cropped.load_state_dict(padded.state_dict())
    margin, far = halo(cropped)[0], halo(padded)[0]
    size = valid_input_size(cropped, (2 * (margin + far) + 4 * alignment(padded)[0],) * dims)
    x = torch.randn(1, 1, *size, dtype=torch.float64)
    # its poolings lie on another grid: that of the image less what it cuts off above them
    cut = sum(2 * 2**level for level in range(padded.depth))
    window: tuple[Any, ...] = (..., *(slice(cut, -cut) for _ in size))
    reference = padded(x[window])
    answer = cropped(x)
    inner: tuple[Any, ...] = (..., *(slice(far, n - far) for n in answer.shape[2:]))
    same: tuple[Any, ...] = (..., *(slice(far + margin - cut, n - far + margin - cut) for n in answer.shape[2:]))
    assert answer[inner].numel() > 0
    torch.testing.assert_close(answer[inner], reference[same])

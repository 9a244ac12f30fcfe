"""How fast tiled prediction is, and what it costs in accuracy: beside one untiled pass and MONAI's sliding window.

    python benchmarks/prediction.py [--device cuda] [--quick] [--size 2048] [--volume 32 256 256] [--repeat 3]
        [--cpu-time]

For each network, in one run, on the identical unfused float32 network:

- *untiled*: one pass over the whole image, mirrored outward by the halo.
- *ours*: our tiles without folding and in float32, with the layout in memory of the untiled pass (channels first) and
  with our own (channels last).
- *arithmetic*: what tiles with this halo imply, (tile / (tile - 2 halo))^d times a pass over the bare image.
- *MONAI*: `sliding_window_inference`, overlap 0.25 and 0.5, Gaussian blending, for each of several windows; the
  fastest window is the row.

Then ours with batch norm folded, with half precision too, and as shipped (reading, normalisation, activation, labels).
*difference*: the largest from untiled, relative to the largest of 1 and the outputs. Times are medians; ``--cpu-time``
counts the processor's seconds instead of the clock's, for a machine that others use too (with OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import statistics
import time
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference

import napari_unet as nu
from napari_unet.network import UNet, halo, valid_input_size
from napari_unet.prediction import has_bfloat16, pick_device
from napari_unet.prediction.runner import TileRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def networks(options: argparse.Namespace) -> Iterator[tuple[str, UNet, tuple[int, ...]]]:
    """Yield name, network and image size of each case."""
    plane, volume = (options.size,) * 2, tuple(options.volume)
    small = (max(512, options.size // 4),) * 2 if options.device == "cpu" else plane
    torch.manual_seed(0)
    yield "nuclei", nu.load_model("nuclei").network, plane
    yield "2015, same padding", UNet(features=64, norm="none"), small
    yield "3-D, 3 levels, flat", UNet(3, out_channels=3, features=(16, 32, 64), flat_levels=1), volume


def median(work: Callable[[], Any], options: argparse.Namespace) -> float:
    """Return the median of the seconds that some work takes, after one run to warm up."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    seconds = []
    for number in range(options.repeat + 1):
        start = clock()
        work()
        if options.device != "cpu":
            torch.cuda.synchronize()
        if number or options.quick:
            seconds.append(clock() - start)
        if options.quick:
            break
    return statistics.median(seconds)


def run_tiles(runner: TileRunner, image: np.ndarray, channels: int) -> np.ndarray:
    """Return the output of a tiled run."""
    out = np.empty((channels, *image.shape[1:]), np.float32)

    def write(where: tuple[slice, ...], values: torch.Tensor) -> None:
        out[(slice(None), *where)] = values.numpy()

    for _ in runner.run(image, write):
        pass
    return out


def windows(dims: int, quick: bool) -> list[tuple[int, ...]]:
    """Return the windows that MONAI may choose from."""
    sizes: list[tuple[int, ...]]
    sizes = [(256, 256), (512, 512), (1024, 1024)] if dims == 2 else [(32, 128, 128), (32, 192, 192)]
    return sizes[1:2] if quick else sizes


@torch.inference_mode()
def case(name: str, network: UNet, size: tuple[int, ...], options: argparse.Namespace) -> None:
    """Print the table of one network."""
    device = pick_device(options.device)
    network = network.eval()
    image = np.random.default_rng(0).random((network.in_channels, *size), dtype=np.float32)
    margins = halo(network)
    moved = network.to(device)
    wide = valid_input_size(network, tuple(n + 2 * m for n, m in zip(size, margins, strict=True)))
    sides = [(m, n - s - m) for n, s, m in zip(wide, size, margins, strict=True)]
    mirrored = torch.from_numpy(np.pad(image, [(0, 0), *sides], mode="reflect"))[None].to(device)
    inner = tuple(slice(m, m + n) for m, n in zip(margins, size, strict=True))
    bare = torch.from_numpy(image)[None].to(device)

    reference = moved(mirrored)[(0, slice(None), *inner)].cpu().numpy()
    scale = max(1.0, float(np.abs(reference).max()))
    untiled = median(lambda: moved(mirrored), options)
    one_pass = median(lambda: moved(bare), options)
    print(f"\n{name}, {' x '.join(map(str, size))}, halo {margins}, {device}")
    print(f"{'':<34}{'seconds':>9}{'x untiled':>11}{'difference':>12}")

    def row(what: str, seconds: float, output: np.ndarray | None = None) -> float:
        difference = "" if output is None else f"{np.abs(output - reference).max() / scale:12.1e}"
        print(f"{what:<34}{seconds:9.2f}{seconds / untiled:11.2f}{difference}", flush=True)
        return seconds

    row("untiled, with its halo", untiled)
    row("untiled, bare image", one_pass)
    results: dict[str, float] = {}
    kinds = {
        "ours, channels first": (False, False, "float32"),
        "ours": (False, True, "float32"),
        "ours, folded": (True, True, "float32"),
    }
    if device.type == "cuda" or has_bfloat16(device):
        kinds["ours, folded, half precision"] = (True, True, "auto")
    for kind, (fold, channels_last, precision) in kinds.items():
        config = nu.PredictConfig(device=options.device, precision=precision)
        runner = TileRunner(network, config, [slice(0, n) for n in size], fold=fold, channels_last=channels_last)
        output = run_tiles(runner, image, network.out_channels)
        seconds = median(lambda runner=runner: run_tiles(runner, image, network.out_channels), options)
        results[kind] = row(f"{kind} ({runner.precision})", seconds, output)
        if kind == "ours":
            implied = one_pass * len(runner.tiles) * prod(runner.size) / prod(size)
            row(f"arithmetic, tiles {' x '.join(map(str, runner.size))}", implied)
    for overlap in (0.25, 0.5):
        results[f"MONAI {overlap}"] = monai(moved, bare, overlap, row, options)
    fastest = min(seconds for kind, seconds in results.items() if kind.startswith("ours"))
    print(f"ours / arithmetic {results['ours'] / implied:.2f}")
    for overlap in (0.25, 0.5):
        theirs = results[f"MONAI {overlap}"]
        print(f"faster than MONAI {overlap}: {theirs / results['ours']:.2f}x like for like, "
              f"{theirs / fastest:.2f}x as shipped")  # fmt: skip


def monai(
    network: UNet, image: torch.Tensor, overlap: float, row: Callable[..., float], options: argparse.Namespace
) -> float:
    """Print and return the time of MONAI with the window that is fastest."""
    best: tuple[float, tuple[int, ...]] | None = None
    for window in windows(network.spatial_dims, options.quick):

        def infer(window: tuple[int, ...] = window) -> torch.Tensor:
            result: torch.Tensor = sliding_window_inference(image, window, 1, network, overlap=overlap, mode="gaussian")
            return result

        seconds = median(infer, options)
        if best is None or seconds < best[0]:
            best = (seconds, window)
    assert best is not None
    return row(f"MONAI {overlap}, window {' x '.join(map(str, best[1]))}", best[0], infer(best[1])[0].cpu().numpy())


def shipped(options: argparse.Namespace) -> None:
    """Print what a user waits for: `predict`, from pixels to labels."""
    model = nu.load_model("nuclei")
    image = np.random.default_rng(0).integers(0, 4000, (options.size, options.size), np.uint16)
    device = pick_device(options.device)
    config = nu.PredictConfig(device=options.device)
    seconds = median(lambda: nu.predict(image, model, config=config), options)
    print(f"\npredict('nuclei'), {options.size} x {options.size}, from pixels to labels: {seconds:.2f} s")
    small = np.random.default_rng(0).random((1, 512, 512), dtype=np.float32)
    runner = TileRunner(UNet.ronneberger2015(), config, [slice(0, 512)] * 2)
    seconds = median(lambda: run_tiles(runner, small, 2), options)
    print(f"the 2015 network, 512 x 512, {runner.precision} on {device}: {1000 * seconds:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, help="side of the plane (default: 2048; quick: 1024)")
    parser.add_argument("--volume", type=int, nargs=3, default=[32, 256, 256])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's seconds")
    parser.add_argument("--quick", action="store_true", help="small images, one window, one run without warming up")
    parser.add_argument("--only", nargs="*", default=["nuclei", "2015", "3-D", "shipped"])
    options = parser.parse_args()
    if options.quick:
        options.volume, options.repeat = [16, 128, 128], 1
    options.size = options.size or (1024 if options.quick else 2048)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {options.repeat}")
    for name, network, size in networks(options):
        if name.split(",")[0] in options.only:
            case(name, network, size, options)
    if "shipped" in options.only:
        shipped(options)


if __name__ == "__main__":
    main()

"""How fast tiled prediction is, and what it costs in accuracy: beside one untiled pass and MONAI's sliding window.

    python benchmarks/prediction.py [--only nuclei 2015 3-D halo compile shipped] [--device cuda] [--cpu-time] [--cold]

For each network (*nuclei*, *2015*, *3-D*), on the identical unfused float32 network, each with both layouts in memory
(channels first, as torch has it by default, and channels last):

- *untiled*: one pass over the whole image, mirrored outward by the halo; and one over the bare image.
- *ours*: our tiles.
- *arithmetic*: what tiles with this halo imply, (tile / (tile - 2 halo))^d times a pass over the bare image.
- *MONAI*: `sliding_window_inference`, overlap 0.25 and 0.5, Gaussian blending; of several windows smaller than the
  image the one that is fastest at 0.25.

Then ours with batch norm folded, and with half precision too. *difference*: the largest from untiled, relative to the
largest of 1 and the outputs.

*halo*: an exact halo against blended tiles in volumes. *compile*: `torch.compile` and OpenVINO against what is shipped,
the first call with all that it prepares. *shipped*: from pixels to labels, and the paper's network on 512 x 512 beside
the peak of the device.

Each row is kept in a JSON file as soon as it is measured, and not run again. Times are medians; `--cpu-time` counts the
processor's seconds instead of the clock's, for a machine that others use too (with OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _runs import Runs, table
from scipy import ndimage as ndi

import napari_unet as nu
from napari_unet.models import NetworkSpec
from napari_unet.network import UNet, alignment, halo, operations, valid_input_size
from napari_unet.prediction import has_bfloat16, pick_device
from napari_unet.prediction.device import largest_tile
from napari_unet.prediction.planning import plan_layout
from napari_unet.prediction.prepared import choose_precision, prepared
from napari_unet.prediction.runner import TileRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAYOUTS = {"channels first": False, "channels last": True}
WINDOWS = {2: [(256, 256), (512, 512)], 3: [(16, 64, 64), (32, 128, 128), (32, 192, 192)]}


class Bench:
    """What all rows share: the clock, the device, and what is measured already."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.runs, self.device = options, Runs(options.results), pick_device(options.device)

    def seconds(self, work: Callable[[], Any]) -> float:
        """Return the median of the seconds that some work takes, after one run to warm up."""
        clock = self.clock
        if not self.options.cold:
            work()
        taken = []
        for _ in range(self.options.repeat):
            self._wait()
            start = clock()
            work()
            self._wait()
            taken.append(clock() - start)
        return statistics.median(taken)

    @property
    def clock(self) -> Callable[[], float]:
        """Return what tells the time: of the processor, compilers that are started for it included, or of the wall."""
        return (lambda: sum(os.times()[:4])) if self.options.cpu_time else time.perf_counter

    def row(self, case: str, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what a row has measured, now or before."""
        how = "CPU seconds" if self.options.cpu_time else "seconds"
        return self.runs.get(f"{self.device.type} | {case} | {name} | {how}", measure)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class Case:
    """One network and one image, untiled, ours and MONAI's."""

    def __init__(self, bench: Bench, name: str, network: UNet, size: tuple[int, ...]) -> None:
        self.bench, self.size, self.device = bench, size, bench.device
        self.name = f"{name}, {' x '.join(map(str, size))}"
        self.network = network.eval()
        self.image = np.random.default_rng(0).random((network.in_channels, *size), dtype=np.float32)
        self.rows: list[list[Any]] = []

    @cached_property
    def reference(self) -> np.ndarray:
        """Return what one pass over the mirrored image gives."""
        with torch.inference_mode():
            return self.inner(self.moved(False)(self.mirrored))

    def inner(self, output: torch.Tensor) -> np.ndarray:
        margins = halo(self.network)
        inner = tuple(slice(m, m + n) for m, n in zip(margins, self.size, strict=True))
        return np.asarray(output[(0, slice(None), *inner)].cpu())

    @property
    def mirrored(self) -> torch.Tensor:
        margins = halo(self.network)
        wide = valid_input_size(self.network, tuple(n + 2 * m for n, m in zip(self.size, margins, strict=True)))
        sides = [(m, n - s - m) for n, s, m in zip(wide, self.size, margins, strict=True)]
        return torch.from_numpy(np.pad(self.image, [(0, 0), *sides], mode="reflect"))[None].to(self.device)

    @property
    def bare(self) -> torch.Tensor:
        return torch.from_numpy(self.image)[None].to(self.device)

    def moved(self, channels_last: bool) -> UNet:
        """Return the unfused float32 network with a layout in memory."""
        return self.network.to(self.device, memory_format=_format(self.network, channels_last))

    def difference(self, output: np.ndarray) -> float:
        scale = max(1.0, float(np.abs(self.reference).max()))
        return float(np.abs(output - self.reference).max() / scale)

    def add(self, name: str, measure: Callable[[], dict[str, Any]]) -> float:
        """Measure a row and return its seconds."""
        found = self.bench.row(self.name, name, measure)
        first = f"{found['difference']:.1e}" if "difference" in found else ""
        self.rows.append([name, found.get("how", ""), f"{found['seconds']:.2f}", first])
        seconds: float = found["seconds"]
        return seconds

    def run(self) -> None:
        """Print the table."""
        summary: list[str] = []
        monai_first: dict[float, float] = {}
        for layout, channels_last in LAYOUTS.items():
            self.add(f"untiled, with its halo, {layout}", partial(self.untiled, channels_last, bare=False))
            bare = self.add(f"untiled, bare image, {layout}", partial(self.untiled, channels_last, bare=True))
            ours = self.add(f"ours, float32, {layout}", partial(self.ours, channels_last=channels_last))
            implied = bare * self.implied()
            self.rows.append([f"arithmetic, {layout}", "", f"{implied:.2f}", ""])
            summary.append(f"{layout}: ours / arithmetic {ours / implied:.2f}")
            for overlap in (0.25, 0.5):
                theirs = self.add(f"MONAI {overlap}, {layout}", partial(self.monai, overlap, channels_last))
                summary.append(f"{layout}: {theirs / ours:.2f} times as fast as MONAI {overlap}, like for like")
                monai_first.setdefault(overlap, theirs)
        shipped = self.add("ours, folded", partial(self.ours, fold=True))
        if self.device.type == "cuda" or has_bfloat16(self.device):
            shipped = self.add("ours, folded, half precision", partial(self.ours, fold=True, precision="auto"))
        for overlap, theirs in monai_first.items():
            summary.append(f"as shipped {theirs / shipped:.2f} times as fast as MONAI {overlap}")
        print(f"\n{self.name}, halo {halo(self.network)}, {self.device}\n")
        print(table(["", "tiles or windows", "seconds", "difference"], self.rows))
        print("\n" + "\n".join(f"- {line}" for line in summary))

    def implied(self) -> float:
        """Return how many passes over the bare image our tiles are, halo included."""
        runner = self.runner()
        return len(runner.tiles) * prod(runner.size) / prod(self.size)

    def runner(self, *, channels_last: bool = True, fold: bool = False, precision: str = "float32") -> TileRunner:
        config = nu.PredictConfig(device=self.bench.options.device, precision=precision, halo="exact")
        whole = [slice(0, n) for n in self.size]
        return TileRunner(self.network, config, whole, fold=fold, channels_last=channels_last)

    @torch.inference_mode()
    def untiled(self, channels_last: bool, *, bare: bool) -> dict[str, Any]:
        network, pixels = self.moved(channels_last), self.bare if bare else self.mirrored
        pixels = pixels.contiguous(memory_format=_format(self.network, channels_last))
        outputs: dict[str, torch.Tensor] = {}
        seconds = self.bench.seconds(lambda: outputs.update(last=network(pixels)))
        if not bare:
            self.__dict__.setdefault("reference", self.inner(outputs["last"]))
        return {"seconds": seconds}

    def ours(self, **how: Any) -> dict[str, Any]:
        runner = self.runner(**how)
        output = np.empty((self.network.out_channels, *self.size), np.float32)
        seconds = self.bench.seconds(lambda: run_tiles(runner, self.image, output))
        tiles = f"{len(runner.tiles)} of {' x '.join(map(str, runner.size))}, {runner.precision}"
        return {"seconds": seconds, "difference": self.difference(output), "how": tiles}

    @torch.inference_mode()
    def monai(self, overlap: float, channels_last: bool) -> dict[str, Any]:
        from monai.inferers import sliding_window_inference

        network, image = self.moved(channels_last), self.bare
        image = image.contiguous(memory_format=_format(self.network, channels_last))

        outputs: dict[tuple[int, ...], torch.Tensor] = {}

        def infer(window: tuple[int, ...]) -> None:
            outputs[window] = sliding_window_inference(image, window, 1, network, overlap=overlap, mode="gaussian")

        layout = next(name for name, last in LAYOUTS.items() if last == channels_last)
        windows = WINDOWS[self.network.spatial_dims]
        if overlap != 0.25:  # with the window that was the fastest
            windows = [tuple(self.bench.row(self.name, f"MONAI 0.25, {layout}", dict)["window"])]
        windows = [w for w in windows if all(map(int.__le__, w, self.size)) and prod(w) < prod(self.size)]
        times = {window: self.bench.seconds(partial(infer, window)) for window in windows}
        best = min(times, key=lambda window: times[window])
        output = outputs[best][0].cpu().numpy()
        how = f"windows of {' x '.join(map(str, best))}"
        return {"seconds": times[best], "difference": self.difference(output), "how": how, "window": best}


def _format(network: UNet, channels_last: bool) -> torch.memory_format:
    if not channels_last:
        return torch.contiguous_format
    return torch.channels_last if network.spatial_dims == 2 else torch.channels_last_3d


def run_tiles(runner: TileRunner, image: np.ndarray, out: np.ndarray) -> None:
    """Write the output of a tiled run into an array."""

    def write(where: tuple[slice, ...], values: torch.Tensor) -> None:
        out[(slice(None), *where)] = values.numpy()

    for _ in runner.run(image, write):
        pass


# volumes: exact or blended


def volume_network() -> UNet:
    torch.manual_seed(0)
    return UNet(3, out_channels=3, features=(16, 32, 64), flat_levels=1)


def halos(bench: Bench) -> None:
    """Print what an exact halo and blended tiles cost in volumes, and how far they are apart."""
    print("\nVolumes, by arithmetic: multiplications, in passes over the bare volume\n")
    rows = []
    new = NetworkSpec(spatial_dims=3).features
    for name, arguments in {
        "16 to 64 features, one flat level": {"features": (16, 32, 64), "flat_levels": 1},
        "16 to 64 features, 3 poolings, one flat level": {"features": (16, 32, 48, 64), "flat_levels": 1},
        "a new model of the panel": {"features": new},
    }.items():
        network = UNet(3, out_channels=3, **arguments)
        for size in ((32, 256, 256), (128, 512, 512)):
            whole, steps = [slice(0, n) for n in size], alignment(network)
            bare = operations(network, [-(-n // k) * k for n, k in zip(size, steps, strict=True)], margin=(0, 0, 0))
            row: list[Any] = [name, " x ".join(map(str, size))]
            for kind in ("exact", "blended", "auto"):
                config = nu.PredictConfig(halo=kind)
                layout = plan_layout(network, config, whole, size, largest_tile(network, bench.device))
                if kind == "auto":
                    row.append("exact" if layout.is_exact else "blended")
                    continue
                tiles = layout.tiles(whole)
                cost = len(tiles) * layout.operations(network, tiles[0].core) / bare
                row += [f"{cost:.1f}", f"{layout.halo}"]
            rows.append(row)
    print(table(["network", "volume", "exact", "its halo", "blended", "its halo", "auto takes"], rows))


def blended(bench: Bench) -> None:
    """Print how far blended tiles are from exact ones, with the weights of a trained model."""
    network = nu.load_model("nuclei").network
    side = 1024
    image = discs(side)
    whole = [slice(0, side)] * 2
    outputs = {}
    rows = []
    for kind, tile in (
        ("exact", (448, 448)),
        ("blended", (352, 352)),
        ("blended", (256, 256)),
        ("blended", (160, 160)),
    ):

        def measure(kind: str = kind, tile: tuple[int, int] = tile) -> dict[str, Any]:
            runner = TileRunner(network, nu.PredictConfig(halo=kind, tile=tile, device=bench.options.device), whole)
            output = np.empty((3, side, side), np.float32)
            seconds = bench.seconds(lambda: run_tiles(runner, image, output))
            maps = 1 / (1 + np.exp(-output.clip(-50, 50)))
            outputs[kind] = outputs.get(kind, maps)
            found = {"seconds": seconds, "halo": list(runner.layout.halo)}
            if kind == "blended":
                apart = np.abs(maps - outputs["exact"])
                found |= {"largest": float(apart.max()), "mean": float(apart.mean())}
                found["other side of 0.5"] = float(((maps[0] > 0.5) != (outputs["exact"][0] > 0.5)).mean())
            return found

        found = measure() if kind == "exact" else bench.row(f"nuclei, {side}", f"{kind} {tile}", measure)
        names = ("seconds", "largest", "mean", "other side of 0.5")
        rows.append([kind, f"{tile}", f"{found['halo']}", *(f"{found[n]:.2g}" if n in found else "" for n in names)])
    print("\nWith the weights of `nuclei`, discs on noise, maps from 0 to 1\n")
    print(table(["", "tile", "halo", "seconds", "largest difference", "mean", "share on the other side of 0.5"], rows))


def discs(side: int) -> np.ndarray:
    """Return a plane of soft discs about as wide as those that `nuclei` knows, on noise."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((side, side))
    seeds[rng.integers(0, side, side), rng.integers(0, side, side)] = rng.uniform(0.4, 1, side)
    grown = ndi.gaussian_filter(ndi.grey_dilation(seeds, footprint=np.hypot(*np.ogrid[-9:10, -9:10]) <= 9), 1)
    return (grown + rng.normal(0, 0.05, grown.shape)).astype(np.float32)[None]


# compilers


@torch.inference_mode()
def compilers(bench: Bench) -> None:
    """Print what the first image costs with a compiler, and how many images pay for it."""
    network = nu.load_model("nuclei").network.eval()
    dtype = choose_precision("auto", bench.device, network)[1]
    rows = []
    for side in (512, 2048):
        x = torch.rand(1, 1, side, side).to(bench.device, dtype).contiguous(memory_format=torch.channels_last)
        base = bench.row(f"compile, {side}", "shipped", lambda x=x: {"seconds": bench.seconds(partial(made(bench), x))})
        rows.append([f"{side} x {side}", "as shipped", "", f"{base['seconds']:.2f}", ""])
        for name, ways in {"torch.compile": compiled, "OpenVINO": openvino}.items():
            try:
                found = bench.row(f"compile, {side}", name, lambda x=x, ways=ways: first_and_next(bench, ways, x))
            except ImportError:
                rows.append([f"{side} x {side}", name, "not run", "not run", ""])
                continue
            gain = base["seconds"] - found["seconds"]
            pays = f"{(found['first'] - found['seconds']) / gain:.0f}" if gain > 0 else "never"
            rows.append([f"{side} x {side}", name, f"{found['first']:.1f}", f"{found['seconds']:.2f}", pays])
    print(f"\nCompilers, `nuclei`, folded, channels last, {dtype}\n")
    print(table(["one pass over", "", "first, s", "next, s", "pays from so many passes"], rows))


def made(bench: Bench) -> UNet:
    network = nu.load_model("nuclei").network
    return prepared(network, bench.device, choose_precision("auto", bench.device, network)[1])


def first_and_next(bench: Bench, way: Callable[..., Callable[[torch.Tensor], Any]], x: torch.Tensor) -> dict[str, Any]:
    """Return the seconds of the first call, with all that is prepared for it, and of the next ones."""
    start = bench.clock()
    run = way(made(bench), x)
    run(x)
    first = bench.clock() - start
    return {"first": first, "seconds": bench.seconds(partial(run, x))}


def compiled(network: UNet, _: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    import torch._inductor.config as inductor

    torch._dynamo.reset()
    inductor.force_disable_caches = True  # as for a network that was trained just now
    inductor.compile_threads = 1  # where the clock sees it
    run: Callable[[torch.Tensor], Any] = torch.compile(network)
    return run


def openvino(network: UNet, x: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "bf16" if x.dtype == torch.bfloat16 else "f32"}
    hints["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    model = openvino.convert_model(network.float(), example_input=x.float(), input=[x.shape])
    ready = openvino.Core().compile_model(model, "CPU", hints)
    return lambda pixels: ready(pixels.float().numpy())


# as users get it


def shipped(bench: Bench) -> None:
    """Print what a user waits for: `predict`, from pixels to labels; and the paper's network beside the peak."""
    model, side = nu.load_model("nuclei"), bench.options.size
    image = np.random.default_rng(0).integers(0, 4000, (side, side), np.uint16)
    config = nu.PredictConfig(device=bench.options.device)
    row = partial(bench.row, "shipped")
    all_of_it = row(
        f"predict {side}", lambda: {"seconds": bench.seconds(lambda: nu.predict(image, model, config=config))}
    )
    print(f"\npredict('nuclei'), {side} x {side}, from pixels to labels: {all_of_it['seconds']:.2f} s")
    small = np.random.default_rng(0).random((1, 512, 512), dtype=np.float32)
    runner = TileRunner(UNet.ronneberger2015(), config, [slice(0, 512)] * 2)
    out = np.empty((2, 512, 512), np.float32)
    paper = row("2015", lambda: {"seconds": bench.seconds(lambda: run_tiles(runner, small, out))})["seconds"]
    work = 2 * len(runner.tiles) * paper_operations(runner.size) / 1e12
    dtype = choose_precision("auto", bench.device, UNet(features=(1,), norm="none"))[1]
    peak = row("peak", lambda: {"tflops": measured_peak(bench, dtype)})["tflops"]
    print(
        f"the 2015 network, 512 x 512, {len(runner.tiles)} tiles of {' x '.join(map(str, runner.size))}, "
        f"{runner.precision} on {bench.device}: {1000 * paper:.0f} ms, {work / paper:.2f} TFLOP/s; "
        f"matrix products here reach {peak:.2f}"
    )


def paper_operations(size: Sequence[int]) -> float:
    """Return the multiplications of one pass of the paper's network, counted by its layers."""
    total = 0.0

    def count(module: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        taps = module.weight[0, 0].numel() if isinstance(module, torch.nn.Conv2d) else 1
        total += output.numel() * module.in_channels * taps

    network = UNet.ronneberger2015().to("meta")
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(count)
    network(torch.empty(1, 1, *size, device="meta"))
    return total


def measured_peak(bench: Bench, dtype: torch.dtype) -> float:
    """Return the 10^12 operations per second of a product of two matrices."""
    side = 8192 if bench.device.type == "cuda" else 2048
    a, b = (torch.rand(side, side, device=bench.device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / bench.seconds(lambda: [a @ b for _ in range(10)]) * 10 / 1e12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=int, default=2048, help="side of the plane for nuclei")
    parser.add_argument("--paper-size", type=int, help="side of the plane for 2015 (default: 768 on a CPU, else 2048)")
    parser.add_argument("--volume", type=int, nargs=3, default=[32, 256, 256])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cold", action="store_true", help="no run to warm up before those that count")
    parser.add_argument("--cpu-time", action="store_true", help="count the processor's seconds")
    names = ["nuclei", "2015", "3-D", "halo", "compile", "shipped"]
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/prediction.json"))
    options = parser.parse_args()
    bench = Bench(options)
    cold = ", nothing warmed up" if options.cold else ""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {options.repeat}{cold}")
    torch.manual_seed(0)
    if "nuclei" in options.only:
        Case(bench, "nuclei", nu.load_model("nuclei").network, (options.size,) * 2).run()
    if "2015" in options.only:
        side = options.paper_size or (768 if bench.device.type == "cpu" else 2048)
        Case(bench, "2015, same padding", UNet(features=64, norm="none"), (side,) * 2).run()
    if "3-D" in options.only:
        Case(bench, "3-D, 3 levels, one flat", volume_network(), tuple(options.volume)).run()
    for name, work in {"halo": halos, "compile": compilers, "shipped": shipped}.items():
        if name in options.only:
            work(bench)
            if name == "halo":
                blended(bench)


if __name__ == "__main__":
    main()

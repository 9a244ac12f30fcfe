"""Time and memory of a prediction against the size of the image: zarr in, zarr out, each size in a process of its own.

    python benchmarks/scaling.py [--side 2048] [--times 1 4 16] [--model nuclei]

Planes of soft discs on noise, written block by block. *peak*: the largest resident memory of the process that
predicts, in all and above what it had before the prediction began.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

BLOCK = 512


def write_image(path: Path, side: int) -> None:
    """Write a plane of soft discs, 18 pixels wide, without holding it."""
    image = zarr.create_array(path, shape=(side, side), chunks=(BLOCK, BLOCK), dtype=np.uint16)
    y, x = np.indices((BLOCK, BLOCK)) % 32 - 16
    discs = 300 + 2000 / (1 + np.exp(np.hypot(y, x) - 9))
    rng = np.random.default_rng(0)
    for row in range(0, side, BLOCK):
        for column in range(0, side, BLOCK):
            image[row : row + BLOCK, column : column + BLOCK] = rng.poisson(discs).astype(np.uint16)


def peak_mib() -> float:
    """Return the largest resident memory so far; not `ru_maxrss` on Linux, which counts that of the parent too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def one(folder: Path, model_name: str) -> None:
    """Predict in this process and print what it took."""
    import napari_unet as nu

    model = nu.load_model(model_name)
    nu.predict(np.zeros((64, 64), np.uint16), model)  # everything is imported and has run once
    before = peak_mib()
    image = zarr.open_array(folder / "image", mode="r")
    start, cpu = time.perf_counter(), time.process_time()
    result = nu.predict(image, model, axes="YX", out=folder / "labels.zarr")
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "cpu": time.process_time() - cpu,
                "peak": peak_mib(),
                "above": peak_mib() - before,
                "highest": max(int(result.labels[row : row + BLOCK].max()) for row in range(0, image.shape[0], BLOCK)),
                "tile": result.provenance["tile"],
                "precision": result.provenance["precision"],
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--times", type=int, nargs="*", default=[1, 4, 16], help="how many times as many pixels")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, options.model)
        return
    print(f"{'pixels':>16}{'seconds':>9}{'CPU s':>8}{'per Mpx':>9}{'peak MiB':>10}{'above start':>13}{'objects':>9}")
    for times in options.times:
        side = round(options.side * times**0.5)
        with tempfile.TemporaryDirectory() as folder:
            write_image(Path(folder) / "image", side)
            command = [sys.executable, __file__, "--one", folder, "--model", options.model]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{f'{side} x {side}':>16}{done['seconds']:9.1f}{done['cpu']:8.1f}{done['cpu'] / side**2 * 1e6:9.2f}"
            f"{done['peak']:10.0f}{done['above']:13.0f}{done['highest']:9}  tiles {done['tile']}, {done['precision']}",
            flush=True,
        )


if __name__ == "__main__":
    main()

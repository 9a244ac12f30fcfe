"""What a whole training step costs beside the bare forward and backward pass of the same network.

    python benchmarks/training_step.py [--rounds 20] [--threads 1] [--batch 8] [--patch 192]

A whole step draws the patches, bends them, makes the targets, computes loss and gradients, clips them, steps the
optimiser and averages the weights. The bare one has its batch and the gradient of its output ready. The two take turns;
the figures are medians.
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np
import torch
from _runs import machine, table

import napari_unet as nu
from napari_unet.prediction import has_bfloat16, pick_device
from napari_unet.samples import load_sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=192)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device()
    half = has_bfloat16(device)
    model = nu.load_model("nuclei")
    sample = load_sample("nuclei_2d")
    config = nu.TrainConfig(
        steps=options.rounds + 2, batch=options.batch, patch=options.patch, validation=0, threads=options.threads
    )
    steps = nu.iter_fine_tune(model, [nu.Annotated(sample.image, sample.truth)], config)

    network = copy.deepcopy(model.network).to(device, memory_format=torch.channels_last).train()
    batch = torch.rand(options.batch, 1, options.patch, options.patch, device=device)
    # random, and as large as that of a mean of losses: gradients that vanish are slow on a CPU
    shape = (options.batch, len(model.spec.maps), options.patch, options.patch)
    gradient = torch.randn(shape, device=device) / batch.numel()

    def bare() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(batch)
        logits.backward(gradient.to(logits.dtype))
        if device.type == "cuda":
            torch.cuda.synchronize()

    seconds: dict[str, list[float]] = {"whole step": [], "forward and backward": []}
    for number in range(options.rounds + 2):
        for name, run in (("whole step", lambda: next(steps)), ("forward and backward", bare)):
            start = time.perf_counter()
            run()
            if number > 1:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    precision = "bfloat16" if half else "float32"
    print(f"{options.batch} patches of {options.patch} x {options.patch}, {precision}, {machine()}")
    print(table(["", "ms"], [[name, f"{1000 * value:.0f}"] for name, value in medians.items()]))
    print(f"ratio {medians['whole step'] / medians['forward and backward']:.3f} (aim: 1.05)")


if __name__ == "__main__":
    main()

"""How many pairs of image and labels a second are deformed elastically, beside other libraries.

    pip install "napari-unet[bench]"
    python benchmarks/augmentation.py [--size 256] [--batch 16] [--rounds 15] [--threads 1]

Every library deforms an image (linear) and its labels (nearest) by a smooth random field of about 10 px, with its own
transform; SciPy does just what the paper says. The root mean square shift is measured on what comes out, so that one
can see that they do the same. All are timed in turn, round after round, in one process; the figure is the median. A
library that is not installed is left out, and named.
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from _runs import machine, table
from scipy import ndimage as ndi

from napari_unet.training.augment import AugmentConfig, augment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Deform = Callable[[NDArray[np.float32], NDArray[np.uint8]], tuple[Any, Any]]

SHIFT_PX = 10.0


def ours(size: int) -> Deform:
    """Return napari-unet's: the whole batch at once, Gaussian 3x3 grid, cubic up-sampling."""
    config = AugmentConfig(
        elastic_px=SHIFT_PX, rotate=False, scale=1, flip=False, intensity=False, shading=0, noise=0, blur_px=0
    )
    generator = torch.Generator().manual_seed(0)

    def deform(images: Any, labels: Any) -> tuple[Any, Any]:
        image, mask = torch.from_numpy(images)[:, None], torch.from_numpy(labels)[:, None].float()
        none = image[:, :0]
        bent, _, masks = augment(image, none, mask, patch=(size, size), config=config, generator=generator)
        return bent[:, 0].numpy(), masks[:, 0].numpy()

    return deform


def one_by_one(deform: Deform) -> Deform:
    """Return a transform of pairs as one of batches."""

    def all_of_them(images: Any, labels: Any) -> tuple[Any, Any]:
        pairs = [deform(image, label) for image, label in zip(images, labels, strict=True)]
        return tuple(np.stack([np.asarray(part) for part in parts]) for parts in zip(*pairs, strict=True))  # type: ignore[return-value]

    return all_of_them


def with_scipy(size: int) -> Deform:
    """Return the paper's deformation in plain SciPy."""
    rng = np.random.default_rng(0)
    axes = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")

    def deform(image: Any, label: Any) -> tuple[Any, Any]:
        shifts = [ndi.zoom(rng.normal(0, SHIFT_PX, (3, 3)), size / 3, order=3) for _ in axes]
        where = [axis + shift for axis, shift in zip(axes, shifts, strict=True)]
        bent = ndi.map_coordinates(image, where, order=1, mode="mirror")
        return bent, ndi.map_coordinates(label, where, order=0, mode="mirror")

    return deform


def with_albumentations(size: int, kind: str) -> Deform:
    """Return albumentations' elastic transform, or its thin plate splines on a 3x3 grid."""
    import albumentations
    import cv2

    if kind == "elastic":
        # the field is noise between -1 and 1, blurred with sigma: alpha makes up for what the blur takes away
        sigma = size / 4
        alpha = 4 * sigma * SHIFT_PX
        transform: Any = albumentations.ElasticTransform(alpha, sigma, border_mode=cv2.BORDER_REFLECT_101, p=1)
    else:
        share = 10 * SHIFT_PX / size  # of a tenth of the size, by its own measure
        transform = albumentations.ThinPlateSpline(
            scale_range=(share, share), num_control_points=3, border_mode=cv2.BORDER_REFLECT_101, p=1
        )

    def deform(image: Any, label: Any) -> tuple[Any, Any]:
        result = transform(image=image, mask=label)
        return result["image"], result["mask"]

    return deform


def with_batchgeneratorsv2(size: int) -> Deform:
    """Return batchgeneratorsv2's spatial transform, elastic part only."""
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    transform = SpatialTransform(
        (size, size), 0, False, p_elastic_deform=1, elastic_deform_scale=(0.25, 0.25),
        elastic_deform_magnitude=(2.5 * SHIFT_PX, 2.5 * SHIFT_PX), mode_seg="nearest", padding_mode_image="reflection",
        border_mode_seg="reflection",
    )  # fmt: skip

    def deform(image: Any, label: Any) -> tuple[Any, Any]:
        result = transform(
            image=torch.from_numpy(image)[None], segmentation=torch.from_numpy(label)[None].to(torch.int16)
        )
        return result["image"][0], result["segmentation"][0]

    return deform


def with_monai(size: int) -> Deform:
    """Return MONAI's elastic transform: offsets on a coarse grid, cubic up-sampling."""
    from monai.transforms import Rand2DElasticd

    transform = Rand2DElasticd(
        ["image", "label"], spacing=(size / 2, size / 2), magnitude_range=(SHIFT_PX, SHIFT_PX), prob=1,
        mode=["bilinear", "nearest"], padding_mode="reflection",
    )  # fmt: skip
    transform.set_random_state(0)

    def deform(image: Any, label: Any) -> tuple[Any, Any]:
        result = transform({"image": image[None], "label": label[None]})
        return result["image"][0], result["label"][0]

    return deform


def shift(deform: Deform, size: int) -> float:
    """Return the root mean square shift in pixels that a transform makes, read off a deformed ramp."""
    ramp = np.tile(np.arange(size, dtype=np.float32), (16, size, 1))
    bent = np.asarray(deform(ramp / size, np.zeros(ramp.shape, np.uint8))[0], np.float32) * size
    inside = (slice(None), slice(size // 8, -size // 8), slice(size // 8, -size // 8))
    return float(np.sqrt(np.mean((bent[inside] - ramp[inside]) ** 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = options.size
    peers: dict[str, tuple[str, Callable[[], Deform]]] = {
        "albumentations, elastic": ("albumentations", lambda: with_albumentations(size, "elastic")),
        "albumentations, thin plates": ("albumentations", lambda: with_albumentations(size, "plates")),
        "batchgeneratorsv2": ("batchgeneratorsv2", lambda: with_batchgeneratorsv2(size)),
        "MONAI": ("monai", lambda: with_monai(size)),
        "SciPy": ("scipy", lambda: with_scipy(size)),
    }
    methods = {"napari-unet": ours(size)}
    for name, (package, make) in peers.items():
        if find_spec(package):
            methods[name] = one_by_one(make())
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(options.threads)
    rng = np.random.default_rng(0)
    images = rng.random((options.batch, size, size), dtype=np.float32)
    labels = rng.integers(0, 200, images.shape).astype(np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(options.rounds + 1):
        for name, deform in methods.items():
            start = time.perf_counter()
            deform(images, labels)
            if number:  # the first warms up
                seconds[name].append(time.perf_counter() - start)
    speed = {name: options.batch / float(np.median(times)) for name, times in seconds.items()}
    rows = [
        [name, f"{speed[name]:.0f}", f"{shift(deform, size):.1f}", f"{speed['napari-unet'] / speed[name]:.2f}"]
        for name, deform in methods.items()
    ]
    print(f"{options.batch} pairs of {size} x {size}, {machine()}")
    print(table(["", "pairs/s", "shift px", "napari-unet is x times as fast"], rows))
    fastest = max((s for name, s in speed.items() if name != "napari-unet"), default=float("nan"))
    print(f"against the fastest peer: {speed['napari-unet'] / fastest:.2f}x (aim: 3x)")
    missing = [name for name in peers if name not in methods]
    if missing:
        print(f"not installed: {', '.join(missing)}")


if __name__ == "__main__":
    main()

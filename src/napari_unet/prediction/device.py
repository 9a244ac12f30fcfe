"""Devices: which one computes, what fits on it."""

from __future__ import annotations

import ctypes
import platform
import threading
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from napari_unet.errors import ConfigError
from napari_unet.network import alignment, halo, operations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_unet.network import UNet

__all__ = [
    "available_devices",
    "free_memory",
    "has_bfloat16",
    "is_out_of_memory",
    "kept_memory",
    "largest_tile",
    "pick_device",
    "thread_count",
    "threads",
]

_WORK_PER_CORE = 1e11
"""Multiplications that one core of a processor does in about two seconds."""

_WORK_PER_CARD = 4e12
"""The same of a graphics card, or less: beyond it the halo costs almost nothing."""

_USEFUL = 2 / 3
"""Share of a tile that is not halo, where that is not bought too dearly."""


# numbers of malloc.h of glibc, and what they are by themselves
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_TRIM_THRESHOLD: 2**26, _MMAP_THRESHOLD: 2**25, _MMAP_MAX: 65536}


def available_devices() -> list[str]:
    """Return what torch can compute on here, the best first: ``cuda``, ``mps``, ``cpu``."""
    devices = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; ``"auto"`` is the best there is.

    Raises
    ------
    ConfigError
        If torch cannot use it here; the message lists those that it can.
    """
    devices = available_devices()
    if name == "auto":
        return torch.device(devices[0])
    with suppress(RuntimeError):  # not the name of any device
        device = torch.device(name)
        if device.type in devices:
            return device
    raise ConfigError(
        f"Device {name!r} cannot be used here; there is {', '.join(devices)}. 'napari-unet doctor' tells why."
    )


def free_memory(device: torch.device) -> int:
    """Return the bytes that are really available on a device, cgroup limits of the host included."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(min(psutil.virtual_memory().available, _cgroup_available()))


def largest_tile(network: UNet, device: torch.device, *, bytes_each: int = 4) -> int:
    """Return how many voxels one tile may have: a quarter of the free memory, and about two seconds of work.

    Larger tiles compute less twice, but a prediction tells how it stands only between two of them.

    Parameters
    ----------
    network : UNet
    device : torch.device
    bytes_each : int
        Of one number: 4 in single, 2 in half precision.
    """
    # the finest level holds the skip, the up-sampled features and a convolution's input and output at once
    bytes_per_voxel = bytes_each * (6 * network.features[0] + 2 * network.out_channels + network.in_channels)
    side = alignment(network)
    work_per_voxel = operations(network, side, margin=(0,) * len(side)) / prod(side)
    work = _WORK_PER_CORE * max(1, thread_count()) if device.type == "cpu" else _WORK_PER_CARD
    # a network that sees far, for the work it does, gets tiles that are mostly not halo, up to four times the work
    useful = prod(2 * margin / (1 - _USEFUL ** (1 / len(side))) for margin in halo(network))
    voxels = min(max(work / work_per_voxel, useful), 4 * work / work_per_voxel)
    return max(1, min(int(voxels), free_memory(device) // 4 // bytes_per_voxel))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that the device or the host has too little memory."""
    # of the host, and of mps, torch tells in words only
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error) for w in words)


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes bfloat16 in hardware (Ampere and later, AVX-512-BF16, AMX)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    with suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return "avx512_bf16" in flags or "amx_bf16" in flags
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def thread_count() -> int:
    """Return how many CPU cores this process may use."""
    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count() or 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch `count` threads while the block runs. torch keeps the number per calling thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the main thread use memory again that it has freed, while the block runs.

    Features of a large tile are large blocks, which the C library gets from the kernel and gives back each time;
    clearing them page by page takes a fifth to a third of a prediction. Other threads have heaps too small for such
    blocks, and other C libraries than glibc have no such setting: nothing is done there.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for name, usual in _USUAL.items():
            libc.mallopt(name, usual)
        libc.malloc_trim(0)


def _cgroup_available() -> float:
    for limit_file, usage_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            with open(limit_file) as limit, open(usage_file) as usage:
                return int(limit.read()) - int(usage.read())
        except (OSError, ValueError):
            continue
    return float("inf")

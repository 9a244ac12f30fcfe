"""Devices, memory and threads."""

from __future__ import annotations

import platform
import subprocess
import sys
from contextlib import suppress

import pytest
import torch

from napari_unet import UNet
from napari_unet.errors import ConfigError
from napari_unet.prediction import available_devices, is_out_of_memory, pick_device, thread_count, threads
from napari_unet.prediction.device import free_memory, largest_tile


def test_cpu_is_always_there_and_last() -> None:
    assert available_devices()[-1] == "cpu"
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == available_devices()[0]


@pytest.mark.parametrize("name", ["cdua", "cpu:x", "", "meta"])
def test_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=r"there is .*cpu"):
        pick_device(name)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("size mismatch"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_memory_that_the_host_really_lacks_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)


def test_tile_grows_with_the_memory_and_is_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    network, cpu = UNet(features=(4, 8)), torch.device("cpu")
    sizes = []
    for memory in (0, 10**6, 10**8):
        monkeypatch.setattr("napari_unet.prediction.device.free_memory", lambda _, memory=memory: memory)
        sizes.append(largest_tile(network, cpu))
    assert sizes[0] == 1
    assert sizes == sorted(set(sizes))


def test_free_memory_is_positive_and_threads_are_given_back() -> None:
    assert free_memory(torch.device("cpu")) > 0
    assert thread_count() >= 1
    before = torch.get_num_threads()
    with suppress(KeyError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


IN_A_PROCESS_OF_ITS_OWN = """
import resource, psutil, torch
from napari_unet.prediction.device import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return psutil.Process().memory_info().rss

faults()
usual = faults()
with kept_memory():
    faults()
    kept, held = faults(), resident()
print(usual, kept, held - resident())
"""
"""Prints the pages that the kernel gives for the same block, ten times over, as usual and while memory is kept, and the
bytes that are given back after it."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_is_kept_while_it_is_needed_again_and_given_back_in_the_end() -> None:
    # what else a process has in its memory decides what can be given back
    child = subprocess.run([sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN], capture_output=True, text=True, check=True)
    usual, kept, given_back = map(int, child.stdout.split())
    pages = 2**26 // 4096
    if usual < 8 * pages:
        pytest.skip("this kernel gives large pages")
    assert kept < pages
    assert given_back > 2**25

"""The processor, core count and measured peak FLOP/s of this machine, which throughput is compared with."""

import os
import platform
import time
from pathlib import Path
from typing import Final

import torch

PEAK_CHANNELS: Final = 512
PEAK_SIDE: Final = 14
PEAK_IMAGES: Final = 16
"""The convolution that measures the peak: large enough to reach it, with feature maps that fit into the cache."""
PEAK_REPEATS: Final = 5
"""Runs of the convolution; the fastest counts."""


def processor() -> str:
    """Return the processor's model name."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def matrix_peak(precision: str) -> float:
    """Return the GFLOP/s of one thread in a large 3×3 convolution, the best of a few runs, in ``fp32`` or ``bf16``.

    torch's matrix product does not measure the peak: on some processors its library reaches two fifths of this.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    images = torch.randn(PEAK_IMAGES, PEAK_CHANNELS, PEAK_SIDE, PEAK_SIDE, dtype=dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(PEAK_CHANNELS, PEAK_CHANNELS, 3, 3, dtype=dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        for _ in range(PEAK_REPEATS):
            started = time.perf_counter()
            torch.conv2d(images, kernel, padding=1)
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 2 * PEAK_IMAGES * PEAK_SIDE**2 * 9 * PEAK_CHANNELS**2 / min(seconds) / 1e9

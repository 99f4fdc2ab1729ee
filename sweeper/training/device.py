"""What a run computes with: device, precision and threads, `auto` made concrete, randomness fenced in."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch

from sweeper.config.schema import ExperimentConf
from sweeper.errors import DeviceError

AUTO_THREADS: Final = 1
"""Threads of `threads=auto`. Operations of networks this small are too short to share: two threads on two idle cores
train the default network 1.06 times as fast as one and the notebook's 1.2 times, but 5 and 20 times slower once
something else wants the cores, since each operation waits for the slower half. One thread also gives the same bits on
machines with different numbers of cores; further cores are better spent on further runs."""

KEPT_BYTES: Final = 2**30
"""Freed memory that the allocator keeps, and the size from which it maps a request apart: more than a step uses."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What `mallopt` calls them (malloc.h)."""


def keep_freed_memory() -> None:
    """Have glibc keep what is freed. Otherwise each step's maps are given back to the kernel, and come as new pages.

    For the notebook's network that is 6,000 page faults a step, a fifth of the time. It holds for the process, to its
    end; where there is no glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def resolve(conf: ExperimentConf) -> ExperimentConf:
    """Return the config with every `auto` replaced by what this machine has.

    Raises `DeviceError` for cuda or bf16 where there is none.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if conf.device == "auto" else conf.device
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device=cuda needs a CUDA GPU, and there is none here: take device=auto or device=cpu")
    precision = ("bf16" if has_bf16(device) else "fp32") if conf.precision == "auto" else conf.precision
    if precision == "bf16" and not has_bf16(device):
        raise DeviceError(
            f"precision=bf16 needs a {device} that multiplies bfloat16, and this one does not: "
            "take precision=auto or precision=fp32"
        )
    threads = AUTO_THREADS if conf.threads == "auto" else conf.threads
    return replace(conf, device=device, precision=precision, threads=threads)


def has_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


@contextmanager
def reproducible(conf: ExperimentConf) -> Iterator[None]:
    """Seed torch and fix its threads for a resolved config; all of it is put back afterwards.

    On a CPU every operation used here is deterministic for a fixed number of threads. On CUDA torch is told to take
    none that is not; saying so on a CPU as well would import torch's compiler, 1.3 s of it.
    """
    assert isinstance(conf.threads, int)
    threads_before = torch.get_num_threads()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        try:
            torch.manual_seed(conf.seed)
            torch.set_num_threads(conf.threads)
            if conf.device == "cuda":
                torch.use_deterministic_algorithms(mode=True)
            yield
        finally:
            torch.set_num_threads(threads_before)
            if conf.device == "cuda":
                torch.use_deterministic_algorithms(mode=deterministic_before)

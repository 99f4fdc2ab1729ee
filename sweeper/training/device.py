"""Resolves the device, precision and threads of a run, and seeds torch so that the run is reproducible."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from sweeper.config.schema import ExperimentConf
from sweeper.errors import DeviceError

AUTO_THREADS: Final = 1
"""Intra-op threads of `threads=auto`. Operations of networks this small are too short to split: on two idle cores, two
threads train the default network 1.06 times and the notebook's 1.2 times as fast as one. If another process uses the
cores, two threads are 5 and 20 times slower (default, notebook's): each operation waits for its slower half. One thread
also gives the same bits on machines with different numbers of cores. Use more cores for more runs."""

KEPT_BYTES: Final = 2**30
"""Bytes of freed memory that malloc keeps, and the smallest request that it maps separately: more than a step needs."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt` (malloc.h)."""


def keep_freed_memory() -> None:
    """Make glibc keep freed memory. Otherwise each step returns it to the operating system and gets it as new pages.

    For the notebook's network that is 6,000 page faults per step, a fifth of the time. The setting lasts until the
    process ends. Without glibc this function does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def resolve(conf: ExperimentConf) -> ExperimentConf:
    """Return the config with every `auto` replaced by this machine's device, precision and thread count.

    Raises `DeviceError` if the config asks for a GPU or bf16 that this machine does not have.
    """
    device = ("cuda" if torch.cuda.is_available() else "cpu") if conf.device == "auto" else conf.device
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device=cuda needs a CUDA GPU, but this machine has none: use device=auto or device=cpu")
    precision = ("bf16" if has_bf16(device) else "fp32") if conf.precision == "auto" else conf.precision
    if precision == "bf16" and not has_bf16(device):
        raise DeviceError(
            f"precision=bf16 needs a {device} that multiplies bfloat16, but this one does not: "
            "use precision=auto or precision=fp32"
        )
    threads = AUTO_THREADS if conf.threads == "auto" else conf.threads
    return replace(conf, device=device, precision=precision, threads=threads)


def has_bf16(device: str) -> bool:
    """Whether a device, ``cpu`` or ``cuda``, multiplies bfloat16 in hardware; emulation is slower than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, its weights in channels-last format, as the batches of images are."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stub lacks device and memory_format together


@contextmanager
def reproducible(conf: ExperimentConf) -> Iterator[None]:
    """Seed torch and set its threads for a resolved config; restore both afterwards.

    On CUDA, torch's deterministic mode is on. On a CPU it stays off: all operations used are deterministic for a fixed
    number of threads, and turning it on imports torch's compiler, which takes 1.3 s.
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

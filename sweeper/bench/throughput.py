"""Images per second of several training loops, in turn and repeatedly: what the machine does meanwhile hits them alike."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import torch

from sweeper.bench.loops import OnBlock
from sweeper.config.schema import ExperimentConf
from sweeper.errors import BenchError
from sweeper.study.executors.workers import start_ignoring_sigint

PEAK_CHANNELS: Final = 512
PEAK_SIDE: Final = 14
PEAK_IMAGES: Final = 16
"""The convolution that measures the processor's peak: large enough to reach it, with maps that stay in the cache."""
PEAK_TURNS: Final = 5
BLOCK_SECONDS: Final = 0.8
"""A turn is as many blocks as fill this, one at least."""

Loop = Callable[[ExperimentConf, OnBlock], None]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One loop, with what it computes with."""

    loop: Loop
    conf: ExperimentConf
    """Resolved."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one contender reached, turn by turn."""

    contender: Contender
    images_per_second: tuple[float, ...]

    @property
    def median(self) -> float:
        """Images per second."""
        return statistics.median(self.images_per_second)

    @property
    def range(self) -> tuple[float, float]:
        """Slowest and fastest turn."""
        return min(self.images_per_second), max(self.images_per_second)

    def over(self, other: "Rates") -> float:
        """Return the median, turn by turn, of how many times as fast as the other it was."""
        pairs = zip(self.images_per_second, other.images_per_second, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def compare(contenders: Sequence[Contender], turns: int, on_turn: Callable[[], None]) -> list[Rates]:
    """Let the contenders train in turn, each in a process of its own; all others wait."""
    racers = []
    try:
        racers = [_Racer(contender) for contender in contenders]
        rates: list[list[float]] = [[] for _ in racers]
        for racer in racers:
            racer.turn()  # the first blocks pay for what is made once
        for _ in range(turns):
            for racer, reached in zip(racers, rates, strict=True):
                reached.append(racer.turn())
                on_turn()
    finally:
        for racer in racers:
            racer.stop()
    return [
        Rates(contender=contender, images_per_second=tuple(reached))
        for contender, reached in zip(contenders, rates, strict=True)
    ]


def matrix_peak(precision: str) -> float:
    """Return what one thread reaches in the matrix products of a large 3×3 convolution, GFLOP/s: the best of a few.

    Not in torch's own matrix product: its library leaves some makes of processor at two fifths of this.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    images = torch.randn(PEAK_IMAGES, PEAK_CHANNELS, PEAK_SIDE, PEAK_SIDE, dtype=dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(PEAK_CHANNELS, PEAK_CHANNELS, 3, 3, dtype=dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = []
        for _ in range(PEAK_TURNS):
            started = time.perf_counter()
            torch.conv2d(images, kernel, padding=1)
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 2 * PEAK_IMAGES * PEAK_SIDE**2 * 9 * PEAK_CHANNELS**2 / min(seconds) / 1e9


class _Racer:
    """A process that trains a block at a time, when it is told to."""

    def __init__(self, contender: Contender) -> None:
        self._conf = contender.conf
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_train, args=(contender.loop, contender.conf, theirs), daemon=True)
        start_ignoring_sigint(self._process)
        theirs.close()

    def turn(self) -> float:
        """Train for a turn; return images per second."""
        rates: list[float] = []
        started = time.perf_counter()
        while not rates or time.perf_counter() - started < BLOCK_SECONDS:
            try:
                self._pipe.send(None)
                rates.append(self._pipe.recv())
            except (EOFError, OSError) as error:
                self._process.join()
                what = f"{self._conf.precision}, {self._conf.threads} threads"
                raise BenchError(f"a training loop ({what}) ended, exit code {self._process.exitcode}") from error
        return statistics.harmonic_mean(rates)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _train(loop: Loop, conf: ExperimentConf, pipe: Connection) -> None:
    def on_block(rate: float) -> None:
        pipe.send(rate)
        pipe.recv()

    with suppress(EOFError, OSError):  # whoever asked is gone
        pipe.recv()
        loop(conf, on_block)

"""Compares training loops, called contenders, by images per second in alternating turns.

A turn trains one contender while the others wait, so other load on the machine slows all alike.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from sweeper.bench.loops import OnBlock
from sweeper.config.schema import ExperimentConf
from sweeper.errors import BenchError
from sweeper.study.executors.process import start_ignoring_sigint

TURN_SECONDS: Final = 0.8
"""A turn is at least this long: it ends with the first block that ends after this time."""

Loop = Callable[[ExperimentConf, OnBlock], None]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A training loop and its config."""

    loop: Loop
    """Must be picklable: a function of a module, or a `functools.partial` of one."""
    conf: ExperimentConf
    """Resolved."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A contender's images per second."""

    contender: Contender
    images_per_second: tuple[float, ...]
    """One per turn."""

    @property
    def median(self) -> float:
        """Median images per second over turns."""
        return statistics.median(self.images_per_second)

    @property
    def range(self) -> tuple[float, float]:
        """Images per second of the slowest and the fastest turn."""
        return min(self.images_per_second), max(self.images_per_second)

    def over(self, other: "Rates") -> float:
        """Return the speedup over `other`: the median over turns of each turn's ratio."""
        return statistics.median(self.ratios(other))

    def ratios(self, other: "Rates") -> list[float]:
        """Return the speedup over `other` in each turn."""
        pairs = zip(self.images_per_second, other.images_per_second, strict=True)
        return [rate / other_rate for rate, other_rate in pairs]


def compare(contenders: Mapping[str, Contender], turns: int, on_turn: Callable[[], None]) -> dict[str, Rates]:
    """Train the contenders in turn, each in its own process while the others wait; call `on_turn` after each turn.

    Raises `BenchError` if a process ends.
    """
    processes: dict[str, _TrainingProcess] = {}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        for name, contender in contenders.items():
            processes[name] = _TrainingProcess(contender)
        for process in processes.values():
            process.train()  # not counted: the first steps allocate and compile
        for _ in range(turns):
            for name, process in processes.items():
                rates[name].append(process.train())
                on_turn()
    finally:
        for process in processes.values():
            process.stop()
    return {
        name: Rates(contender=contender, images_per_second=tuple(rates[name])) for name, contender in contenders.items()
    }


class _TrainingProcess:
    """A process that trains one block per request."""

    def __init__(self, contender: Contender) -> None:
        self._conf = contender.conf
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_train, args=(contender.loop, contender.conf, theirs), daemon=True)
        start_ignoring_sigint(self._process)
        theirs.close()

    def train(self) -> float:
        """Train for one turn; return images per second. Raises `BenchError` if the process ends."""
        rates: list[float] = []
        started = time.perf_counter()
        while not rates or time.perf_counter() - started < TURN_SECONDS:
            try:
                self._pipe.send(None)
                rates.append(self._pipe.recv())
            except (EOFError, OSError) as error:
                self._process.join()
                settings = f"{self._conf.precision}, {self._conf.threads} threads"
                raise BenchError(f"a training loop ({settings}) ended, exit code {self._process.exitcode}") from error
        return statistics.harmonic_mean(rates)

    def stop(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()


def _train(loop: Loop, conf: ExperimentConf, pipe: Connection) -> None:
    """Run the loop in this process; each block waits for a request."""

    def on_block(rate: float) -> None:
        pipe.send(rate)
        pipe.recv()

    with suppress(EOFError, OSError):  # the parent is gone
        pipe.recv()
        loop(conf, on_block)

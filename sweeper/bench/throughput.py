"""Compares training loops by images per second, in alternating turns, so that other load on the machine slows all alike."""

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
"""A turn ends with the first block after this time."""

Loop = Callable[[ExperimentConf, OnBlock], None]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A training loop and its config."""

    loop: Loop
    """Sent to another process: a function of a module, or a `functools.partial` of one."""
    conf: ExperimentConf
    """Resolved."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A contender's images per second."""

    contender: Contender
    images_per_second: tuple[float, ...]
    """One for each turn."""

    @property
    def median(self) -> float:
        """Images per second."""
        return statistics.median(self.images_per_second)

    @property
    def range(self) -> tuple[float, float]:
        """Slowest and fastest turn."""
        return min(self.images_per_second), max(self.images_per_second)

    def over(self, other: "Rates") -> float:
        """Return how many times as fast as the other this is: the median over turns of each turn's ratio."""
        return statistics.median(self.ratios(other))

    def ratios(self, other: "Rates") -> list[float]:
        """Return how many times as fast as the other this is, turn by turn."""
        pairs = zip(self.images_per_second, other.images_per_second, strict=True)
        return [mine / theirs for mine, theirs in pairs]


def compare(contenders: Mapping[str, Contender], turns: int, on_turn: Callable[[], None]) -> dict[str, Rates]:
    """Let the contenders train in turn, each in its own process while the others wait; `on_turn` follows each turn.

    Raises `BenchError` if one of the processes ends.
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
    """A process that trains block by block, on request."""

    def __init__(self, contender: Contender) -> None:
        self._conf = contender.conf
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_train, args=(contender.loop, contender.conf, theirs), daemon=True)
        start_ignoring_sigint(self._process)
        theirs.close()

    def train(self) -> float:
        """Train for one turn; return images per second."""
        rates: list[float] = []
        started = time.perf_counter()
        while not rates or time.perf_counter() - started < TURN_SECONDS:
            try:
                self._pipe.send(None)
                rates.append(self._pipe.recv())
            except (EOFError, OSError) as error:
                self._process.join()
                what = f"{self._conf.precision}, {self._conf.threads} threads"
                raise BenchError(f"a training loop ({what}) ended, exit code {self._process.exitcode}") from error
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

"""What `bench` measures, in which order, and how it is shown."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sweeper.bench.loops import engine_loop, notebook_loop
from sweeper.bench.throughput import Contender, Rates, compare, matrix_peak
from sweeper.bench.whole import plans_per_second, seconds_to_target, trial_overhead_ms
from sweeper.config.composition import compose
from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import split
from sweeper.design import analyze
from sweeper.errors import ConfigError
from sweeper.training.device import has_bf16, resolve

TURNS: Final = 15
QUICK_TURNS: Final = 5
FLOP_PER_MAC: Final = 2
PASSES: Final = 3
"""Forward, and backward by input and by weight: each as many multiply-accumulates as the other."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """This machine, measured."""

    rates: Mapping[str, Rates]
    """By contender: `notebook`, `fp32`, `auto`, and each with `_all_threads` where there is more than one."""
    peak_gflops: Mapping[str, float]
    """One thread's matrix product, by precision."""
    network_gflop: float
    """Of one image, forward and backward."""
    trial_overhead_ms: float
    plans_per_second: float
    target: float
    seconds_to_target: float | None
    """None when it was not measured, or not reached."""
    quick: bool

    @property
    def speedup(self) -> dict[str, float]:
        """Engine over notebook loop, on the same number of threads."""
        pairs = {"fp32": "notebook", "auto": "notebook", "auto_all_threads": "notebook_all_threads"}
        return {name: self.rates[name].over(self.rates[pair]) for name, pair in pairs.items() if name in self.rates}

    @property
    def peak_share(self) -> float:
        """Share of its precision's matrix peak that the engine uses on one thread, with `precision=auto`."""
        auto = self.rates["auto"]
        return auto.median * self.network_gflop / self.peak_gflops[auto.contender.conf.precision]

    def as_json(self) -> str:
        """Return all of it as one JSON object."""
        report: dict[str, Any] = {
            "machine": {"processor": _processor(), "cores": _cores(), "torch": torch.__version__},
            "speedup": {name: round(value, 3) for name, value in self.speedup.items()},
            "images_per_second": {name: round(rates.median, 1) for name, rates in self.rates.items()},
            "images_per_second_range": {
                name: [round(rate, 1) for rate in rates.range] for name, rates in self.rates.items()
            },
            "precision": {name: rates.contender.conf.precision for name, rates in self.rates.items()},
            "threads": {name: rates.contender.conf.threads for name, rates in self.rates.items()},
            "peak_gflops": {precision: round(peak, 1) for precision, peak in self.peak_gflops.items()},
            "peak_share": round(self.peak_share, 4),
            "target": self.target,
            "seconds_to_target": None if self.seconds_to_target is None else round(self.seconds_to_target, 2),
            "trial_overhead_ms": round(self.trial_overhead_ms, 1),
            "plans_per_second": round(self.plans_per_second),
            "quick": self.quick,
        }
        return json.dumps(report, indent=2)

    def tables(self) -> RenderableType:
        """Return the figures as a person reads them."""
        throughput = Table(box=SIMPLE_HEAD, pad_edge=False)
        throughput.add_column("training loop", no_wrap=True)
        for title in ("precision", "threads", "images/s", "slowest", "fastest", "× notebook"):
            throughput.add_column(title, justify="right", no_wrap=True)
        for name, rates in self.rates.items():
            pair = self.rates["notebook_all_threads" if name.endswith("all_threads") else "notebook"]
            conf = rates.contender.conf
            slowest, fastest = rates.range
            throughput.add_row(
                "notebook's own" if rates is pair else "sweeper",
                conf.precision,
                str(conf.threads),
                *(f"{rate:,.0f}" for rate in (rates.median, slowest, fastest)),
                "1.00" if rates is pair else f"{rates.over(pair):.2f}",
            )
        rest = Table.grid(padding=(0, 2))
        rest.add_column(style="dim")
        rest.add_column()
        auto = self.rates["auto"].contender.conf.precision
        peaks = ", ".join(f"{peak:,.0f} GFLOP/s {precision}" for precision, peak in self.peak_gflops.items())
        rest.add_row("matrix peak", f"{peaks}, one thread")
        rest.add_row("share of it", f"{self.peak_share:.1%} of {auto}, one thread")
        if not self.quick:
            reached = self.seconds_to_target
            took = "not reached" if reached is None else f"{reached:.1f} s from the start of the process"
            rest.add_row(f"to {self.target:.0%} validation", took)
        rest.add_row("added to a trial", f"{self.trial_overhead_ms:,.0f} ms by a sweep")
        rest.add_row("plans and budgets", f"{self.plans_per_second:,.0f} checked a second")
        machine = Text(f"{_processor()}, {_cores()} cores, torch {torch.__version__}", style="bold")
        turns = len(self.rates["auto"].images_per_second)
        note = Text(
            f"The notebook's network and batch size. Medians of {turns} turns, all loops in turn; × is the median of the turns' own ratios.",
            style="dim",
        )
        return Group(machine, throughput, note, "", rest)


def measure(overrides: Sequence[str], *, quick: bool, console: Console | None) -> Bench:
    """Measure everything, one after the other, on processors only; `console` shows how far it is.

    `overrides` say where the data is. Raises `ConfigError` for others, `DataError` for data that cannot be read,
    `BenchError` for a measured process that fails.
    """
    for override in overrides:
        if not override.startswith("data"):
            raise ConfigError(f"bench trains what it always trains, on data that may be chosen, but got {override}")
    overrides = ["device=cpu", *overrides]
    reference, default = compose(["experiment=notebook", *overrides]), compose(overrides)
    split(reference.data)  # what is wrong with the data is said here, not by one of the processes
    contenders = _contenders(reference)
    turns = QUICK_TURNS if quick else TURNS
    if console is not None and not console.is_terminal:
        console.print(f"measuring, about {'one minute' if quick else 'two minutes'}")
    with _progress(console) as progress:
        task = progress.add_task("training loops, in turn", total=turns * len(contenders) + (2 if quick else 3))
        rates = compare(list(contenders.values()), turns, lambda: progress.advance(task))
        peaks = {precision: matrix_peak(precision) for precision in ("fp32", *(["bf16"] if has_bf16("cpu") else []))}
        progress.update(task, advance=1, description="a sweep")
        overhead = trial_overhead_ms()
        progress.advance(task)
        seconds = None
        if not quick:
            progress.update(task, description=f"a run to {default.target:.0%}")
            seconds = seconds_to_target(overrides, default.target)
            progress.advance(task)
    return Bench(
        rates=dict(zip(contenders, rates, strict=True)),
        peak_gflops=peaks,
        network_gflop=analyze(reference).summary.macs * FLOP_PER_MAC * PASSES / 1e9,
        trial_overhead_ms=overhead,
        plans_per_second=plans_per_second(reference),
        target=default.target,
        seconds_to_target=seconds,
        quick=quick,
    )


def _contenders(reference: ExperimentConf) -> dict[str, Contender]:
    """Return who trains against whom: the same network, batch size and optimizer, until they are stopped."""
    training = replace(reference.training, epochs=10**6)
    base = replace(reference, training=training, threads=1)
    every = [("", 1), ("_all_threads", _cores())] if _cores() > 1 else [("", 1)]
    found = {}
    for suffix, threads in every:
        conf = replace(base, threads=threads, precision="fp32")
        found[f"notebook{suffix}"] = Contender(loop=notebook_loop, conf=conf)
        found[f"fp32{suffix}"] = Contender(loop=engine_loop, conf=resolve(conf))
        found[f"auto{suffix}"] = Contender(loop=engine_loop, conf=resolve(replace(conf, precision="auto")))
    return found


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

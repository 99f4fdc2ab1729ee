"""The results of `bench`, as JSON and as tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.bench.machine import cores, processor
from sweeper.bench.throughput import Rates
from sweeper.terminal.formats import short_percent

WITHOUT: Final = "_without_fast_paths"
"""Suffix of the names of contenders that train with torch's own modules."""
NETWORKS: Final = {"notebook": "", "default": "default_"}
"""The measured networks, and the prefix of their contenders' names."""
MeasuredPrecision = Literal["fp32", "auto"]
PRECISIONS: Final[tuple[MeasuredPrecision, ...]] = ("fp32", "auto")
"""The measured values of the config key `precision`."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The measurements of this machine."""

    rates: Mapping[str, Rates]
    """By contender. On the notebook's network: `notebook`, `fp32`, `auto`, and each with `_all_threads` where there is
    more than one core. On the default network: `default_fp32`, `default_auto`. The last four on one thread also end in
    `_without_fast_paths`."""
    peak_gflops: Mapping[str, float]
    """Peak GFLOP/s of one thread, by resolved precision: `sweeper.bench.machine.matrix_peak`."""
    network_gflop: float
    """GFLOP per image on the notebook's network, forward and backward."""
    trial_overhead_ms: float
    """Milliseconds that a search adds to each trial."""
    plans_per_second: float
    """Networks planned and checked against their budget per second."""
    target: float
    """Validation accuracy of `seconds_to_target`, a fraction."""
    seconds_to_target: float | None
    """None if the target was not reached, or not measured because of `quick`."""
    quick: bool
    """Whether `bench` ran with ``--quick``."""

    @property
    def speedup(self) -> dict[str, float]:
        """Speedup of the engine over the notebook's loop on the same number of threads, by contender."""
        baselines = {"fp32": "notebook", "auto": "notebook", "auto_all_threads": "notebook_all_threads"}
        return {name: self.rates[name].over(self.rates[base]) for name, base in baselines.items() if name in self.rates}

    @property
    def fast_path_gain(self) -> dict[str, dict[str, float]]:
        """Speedup of the engine by the hand-written CPU paths, by network and precision; on one thread."""
        return {
            network: {
                precision: self.rates[start + precision].over(self.rates[start + precision + WITHOUT])
                for precision in PRECISIONS
            }
            for network, start in NETWORKS.items()
        }

    @property
    def peak_share(self) -> float:
        """Fraction of peak FLOP/s that the engine reaches on the notebook's network, one thread, `precision=auto`."""
        auto = self.rates["auto"]
        return auto.median * self.network_gflop / self.peak_gflops[auto.contender.conf.precision]

    def as_json(self) -> str:
        """Return everything as one JSON object."""
        report: dict[str, Any] = {
            "machine": describe_machine(),
            "speedup": {name: round(value, 3) for name, value in self.speedup.items()},
            "fast_path_gain": {
                network: {precision: round(gain, 3) for precision, gain in gains.items()}
                for network, gains in self.fast_path_gain.items()
            },
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
        """Return the tables for a terminal."""
        turns = len(self.rates["auto"].images_per_second)
        note = Text(
            "The notebook's loop and sweeper train the notebook's network with the notebook's batch size. Figures are "
            f"medians of {turns} alternating turns; × is the median of each turn's ratio.",
            style="dim",
        )
        return Group(machine_line(), self._loops(), self._fast_paths(), note, "", self._others())

    def _loops(self) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("training loop", no_wrap=True)
        for title in ("precision", "threads", "images/s", "slowest", "fastest", "× notebook"):
            table.add_column(title, justify="right", no_wrap=True)
        for name, rates in self.rates.items():
            if name.endswith(WITHOUT) or name.startswith(NETWORKS["default"]):
                continue
            baseline = self.rates["notebook_all_threads" if name.endswith("all_threads") else "notebook"]
            conf = rates.contender.conf
            table.add_row(
                "notebook's own" if rates is baseline else "sweeper",
                conf.precision,
                str(conf.threads),
                *(f"{rate:,.0f}" for rate in (rates.median, *rates.range)),
                "1.00" if rates is baseline else f"{rates.over(baseline):.2f}",
            )
        return table

    def _fast_paths(self) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("sweeper on one thread", no_wrap=True)
        for title in ("precision", "images/s", "torch's modules", "× torch's"):
            table.add_column(title, justify="right", no_wrap=True)
        for network, gains in self.fast_path_gain.items():
            for precision, gain in gains.items():
                name = NETWORKS[network] + precision
                rates, without = self.rates[name], self.rates[name + WITHOUT]
                table.add_row(
                    f"{network} network",
                    rates.contender.conf.precision,
                    f"{rates.median:,.0f}",
                    f"{without.median:,.0f}",
                    f"{gain:.2f}",
                )
        return table

    def _others(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        auto = self.rates["auto"].contender.conf.precision
        peaks = ", ".join(f"{peak:,.0f} GFLOP/s {precision}" for precision, peak in self.peak_gflops.items())
        table.add_row("matrix peak", f"{peaks}, one thread")
        table.add_row("share of peak", f"{100 * self.peak_share:.1f} % of {auto}, one thread")
        if not self.quick:
            reached = self.seconds_to_target
            took = "not reached" if reached is None else f"{reached:.1f} s from the start of the process"
            table.add_row(f"to {short_percent(self.target)} validation", took)
        table.add_row("search overhead", f"{self.trial_overhead_ms:,.0f} ms per trial")
        table.add_row("plans and budgets", f"{self.plans_per_second:,.0f} checked per second")
        return table


def describe_machine() -> dict[str, Any]:
    """Return the processor, its core count and torch's version, for JSON."""
    return {"processor": processor(), "cores": cores(), "torch": torch.__version__}


def machine_line() -> Text:
    """Return the same as one line for a terminal."""
    return Text(f"{processor()}, {cores()} cores, torch {torch.__version__}", style="bold")

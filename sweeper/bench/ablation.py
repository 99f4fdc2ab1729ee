"""Ablation of the hand-written CPU paths: training speed with all of them, compared with leaving one out.

``python -m sweeper bench --ablation`` prints the gains on the notebook's and the default network, in each precision.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.bench.measure import QUICK_TURNS, TURNS, compose_networks, engine, make_progress
from sweeper.bench.report import PRECISIONS, describe_machine, machine_line
from sweeper.bench.throughput import Rates, compare
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, NO_FAST_PATHS, FastPaths

_VARIANTS: Final[dict[str, FastPaths]] = {
    "all": ALL_FAST_PATHS,
    "none": NO_FAST_PATHS,
    "without conv_unit": replace(ALL_FAST_PATHS, conv_unit=False, padded_gradient=False),
    "without max_pool": replace(ALL_FAST_PATHS, max_pool=False),
    "without padded_gradient": replace(ALL_FAST_PATHS, padded_gradient=False),
}
_GAINS: Final[dict[str, tuple[str, str]]] = {
    "all paths": ("all", "none"),
    "conv_unit": ("without padded_gradient", "without conv_unit"),
    "max_pool": ("all", "without max_pool"),
    "padded_gradient": ("all", "without padded_gradient"),
}
"""The table's rows: the gain of a row is the speed of its first variant over that of its second."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Training speed of every variant."""

    rates: Mapping[str, Mapping[str, Mapping[str, Rates]]]
    """By network, precision (`PRECISIONS`) and variant (`_VARIANTS`); on one thread."""

    def gain(self, network: str, precision: str, row: str) -> tuple[float, float, float]:
        """Return a row's speedup of training: the lower quartile, median and upper quartile over turns."""
        rates = self.rates[network][precision]
        faster, slower = _GAINS[row]
        low, median, high = statistics.quantiles(rates[faster].ratios(rates[slower]), n=4, method="inclusive")
        return low, median, high

    def as_json(self) -> str:
        """Return everything as one JSON object; each gain is the three quartiles."""
        return json.dumps(
            {
                "machine": describe_machine(),
                "images_per_second": {
                    network: {
                        precision: {name: round(rates.median, 1) for name, rates in variants.items()}
                        for precision, variants in by_precision.items()
                    }
                    for network, by_precision in self.rates.items()
                },
                "gain": {
                    network: {
                        precision: {
                            row: [round(value, 3) for value in self.gain(network, precision, row)] for row in _GAINS
                        }
                        for precision in by_precision
                    }
                    for network, by_precision in self.rates.items()
                },
            },
            indent=2,
        )

    def tables(self) -> RenderableType:
        """Return the machine, the table of gains and a note for a terminal."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("gain of", no_wrap=True)
        columns = [(network, precision) for network, by_precision in self.rates.items() for precision in by_precision]
        for network, precision in columns:
            resolved = self.rates[network][precision]["all"].contender.conf.precision
            table.add_column(f"{network}, {resolved}", justify="right")
        for row in _GAINS:
            quartiles = [self.gain(*column, row) for column in columns]
            table.add_row(row, *(f"{median:.2f} ({low:.2f}-{high:.2f})" for low, median, high in quartiles))
        rates = next(iter(next(iter(self.rates.values())).values()))["all"]
        note = Text(
            f"Images per second with the path over those without it, one thread: median and quartiles of "
            f"{len(rates.images_per_second)} alternating turns.",
            style="dim",
        )
        return Group(machine_line(), table, note)


def measure_ablation(overrides: Sequence[str], *, quick: bool, console: Console | None) -> Ablation:
    """Measure every variant on both networks in each precision, on one thread; show progress on `console`.

    Raises the errors of `sweeper.bench.measure.measure`.
    """
    confs = compose_networks(overrides)
    turns = QUICK_TURNS if quick else TURNS
    if console is not None and not console.is_terminal:
        console.print(f"measuring, about {'four' if quick else 'ten'} minutes")
    rates: dict[str, dict[str, dict[str, Rates]]] = {network: {} for network in confs}
    with make_progress(console) as progress:
        task = progress.add_task("variants, in turn", total=turns * len(_VARIANTS) * len(PRECISIONS) * len(confs))
        for network, conf in confs.items():
            for precision in PRECISIONS:
                contenders = {
                    name: engine(conf, precision, threads=1, fast_paths=paths) for name, paths in _VARIANTS.items()
                }
                rates[network][precision] = compare(contenders, turns, lambda: progress.advance(task))
    return Ablation(rates=rates)

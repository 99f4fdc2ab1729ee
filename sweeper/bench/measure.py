"""Runs the measurements of `bench` one after another, all on the CPU."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from sweeper.bench.commands import plans_per_second, seconds_to_target, trial_overhead_ms
from sweeper.bench.loops import engine_loop, notebook_loop
from sweeper.bench.machine import cores, matrix_peak
from sweeper.bench.report import NETWORKS, PRECISIONS, WITHOUT, Bench, MeasuredPrecision
from sweeper.bench.throughput import Contender, Rates, compare
from sweeper.config.composition import compose
from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import split
from sweeper.design import analyze
from sweeper.errors import ConfigError
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, NO_FAST_PATHS, FastPaths
from sweeper.terminal.formats import short_percent
from sweeper.training.device import has_bf16, resolve

TURNS: Final = 15
"""Turns of each contender; see `sweeper.bench.throughput`."""
QUICK_TURNS: Final = 3
"""The same with ``--quick``."""
FLOP_PER_MAC: Final = 2
PASSES: Final = 3
"""The forward pass and the gradients of input and weights: three passes of equal work."""
ENDLESS: Final = 10**6
"""More epochs than any loop completes: `compare` kills it first."""


def measure(overrides: Sequence[str], *, quick: bool, console: Console | None) -> Bench:
    """Take all measurements, one at a time; show progress on `console`.

    `overrides` may only choose the data. Raises `ConfigError` for any other override, `DataError` for data that cannot
    be read, `BenchError` if a measured process fails.
    """
    confs = compose_networks(overrides)
    reference, default = confs["notebook"], confs["default"]
    groups = {network: fast_path_contenders(network, conf) for network, conf in confs.items()}
    groups["notebook"] = {**_notebook_contenders(reference), **groups["notebook"]}
    turns = QUICK_TURNS if quick else TURNS
    steps = turns * sum(map(len, groups.values())) + (2 if quick else 3)
    if console is not None and not console.is_terminal:
        console.print(f"measuring, about {'90 seconds' if quick else 'four minutes'}")
    with make_progress(console) as progress:
        task = progress.add_task("training loops, in turn", total=steps)
        rates: dict[str, Rates] = {}
        # One network after the other, because only contenders on the same network are compared.
        for group in groups.values():
            rates |= compare(group, turns, lambda: progress.advance(task))
        peaks = {precision: matrix_peak(precision) for precision in ("fp32", *(["bf16"] if has_bf16("cpu") else []))}
        progress.update(task, advance=1, description="a search")
        overhead = trial_overhead_ms()
        progress.advance(task)
        seconds = None
        if not quick:
            progress.update(task, description=f"a run to {short_percent(default.target)}")
            seconds = seconds_to_target(["device=cpu", *overrides], default.target)
            progress.advance(task)
    return Bench(
        rates=rates,
        peak_gflops=peaks,
        network_gflop=analyze(reference).summary.macs * FLOP_PER_MAC * PASSES / 1e9,
        trial_overhead_ms=overhead,
        plans_per_second=plans_per_second(reference),
        target=default.target,
        seconds_to_target=seconds,
        quick=quick,
    )


def compose_networks(overrides: Sequence[str]) -> dict[str, ExperimentConf]:
    """Return the configs of the notebook's and the default network, by the keys of `NETWORKS`; read their data once.

    Raises `ConfigError` for overrides that do not choose data, `DataError` for data that cannot be read.
    """
    for override in overrides:
        if not override.startswith("data"):
            raise ConfigError(f"bench only takes overrides that choose the data, but got {override}: leave it out")
    overrides = ["device=cpu", *overrides]
    confs = {"notebook": compose(["experiment=notebook", *overrides]), "default": compose(overrides)}
    assert confs.keys() == NETWORKS.keys()
    split(confs["notebook"].data)  # an error here is one line; in a measured process it is a traceback
    return confs


def engine(
    conf: ExperimentConf, precision: MeasuredPrecision, *, threads: int, fast_paths: FastPaths = ALL_FAST_PATHS
) -> Contender:
    """Return the engine as a contender, its config resolved."""
    conf = resolve(replace(_endless(conf), precision=precision, threads=threads))
    return Contender(loop=partial(engine_loop, fast_paths=fast_paths), conf=conf)


def fast_path_contenders(network: str, conf: ExperimentConf) -> dict[str, Contender]:
    """Return the engine with all hand-written CPU paths and with none, in each precision, on one thread."""
    contenders = {}
    for precision in PRECISIONS:
        name = NETWORKS[network] + precision
        contenders[name] = engine(conf, precision, threads=1)
        contenders[name + WITHOUT] = engine(conf, precision, threads=1, fast_paths=NO_FAST_PATHS)
    return contenders


def make_progress(console: Console | None) -> Progress:
    """Make a progress bar that appears on a terminal only, and disappears at the end."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )


def _notebook_contenders(reference: ExperimentConf) -> dict[str, Contender]:
    """Return the notebook's loop and the engine, on one thread and on all: same network, batch size and optimizer."""
    contenders = {}
    for suffix, threads in [("", 1), ("_all_threads", cores())] if cores() > 1 else [("", 1)]:
        conf = replace(_endless(reference), threads=threads, precision="fp32")
        contenders[f"notebook{suffix}"] = Contender(loop=notebook_loop, conf=conf)
        for precision in PRECISIONS:
            contenders[precision + suffix] = engine(reference, precision, threads=threads)
    return contenders


def _endless(conf: ExperimentConf) -> ExperimentConf:
    return replace(conf, training=replace(conf.training, epochs=ENDLESS))

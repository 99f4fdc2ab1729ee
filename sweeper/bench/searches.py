"""Compares ways to search by the best accuracy against time: methods × seeds, a table, a figure, and a confirmation."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from sweeper.bench.search_methods import METHODS
from sweeper.bench.search_run import SearchResult, SearchRun
from sweeper.errors import BenchError
from sweeper.replicates.replicate import NamedConfig, make_replicates
from sweeper.replicates.runner import evaluate_replicates, train_replicates
from sweeper.run.folder import RunFolder, write_atomically
from sweeper.terminal.formats import percent

SHARES: Final = (0.25, 0.5, 1.0)
"""The table shows the best after these shares of the time."""
CONFIRMED_SHARES: Final = (0.25, 1.0)
"""The best after these shares of the time are confirmed."""
FIRST_SEED: Final = 1001
"""The first seed of a confirmation: searches have small seeds."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The searches of all methods and seeds so far."""

    minutes: float
    """Processor time of each search."""
    results: list[SearchResult]
    confirmed: Mapping[str, list[float]] = field(default_factory=dict)
    """Test accuracies by `confirmed_name`, one per fresh seed."""

    def table(self) -> str:
        """Return a Markdown table: for each method the median and range over seeds of the best accuracy, by time."""
        shares = [self._after(share) for share in SHARES]
        tested = [f"test, {self._after(share)}" for share in CONFIRMED_SHARES if self.confirmed]
        heads = ["method", "seeds", "trained", "rejected", *shares, *tested]
        lines = [f"| {' | '.join(heads)} |", "|---|---:|---:|---:|" + "---:|" * len(shares + tested)]
        for method in self._methods():
            runs = self._of(method)
            counts = [
                statistics.median(each) for each in ([len(run.values) for run in runs], [r.rejected for r in runs])
            ]
            cells = [_cell([run.best_after(60 * self.minutes * share) for run in runs]) for share in SHARES]
            cells += [_cell([self._mean(run, share) for run in runs]) for share in CONFIRMED_SHARES if self.confirmed]
            lines.append(f"| {' | '.join([method, str(len(runs)), *(f'{count:g}' for count in counts), *cells])} |")
        return "\n".join(lines) + "\n"

    def plot(self, file: Path) -> None:
        """Plot each method's median best accuracy over time, and the range over seeds as a band."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only needed here

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        times = [60 * self.minutes * step / 200 for step in range(201)]
        for method in self._methods():
            runs = self._of(method)
            curves = [(at, [best for run in runs if (best := run.best_after(at)) is not None]) for at in times]
            known = [(at / 60, values) for at, values in curves if values]
            at = [minute for minute, _ in known]
            (line,) = axes.plot(at, [100 * statistics.median(values) for _, values in known], label=method)
            low, high = [100 * min(values) for _, values in known], [100 * max(values) for _, values in known]
            axes.fill_between(at, low, high, alpha=0.15, color=line.get_color())
        axes.set(xlabel="minutes of one core", ylabel="best validation accuracy, %")
        axes.legend(loc="lower right")
        figure.savefig(file, dpi=150)

    def write(self, folder: Path) -> None:
        """Write `searches.json`, `searches.md` and `searches.png`."""
        write_atomically(folder / "searches.json", json.dumps(asdict(self)).encode())
        write_atomically(folder / "searches.md", self.table().encode())
        self.plot(folder / "searches.png")

    def _methods(self) -> list[str]:
        return list(dict.fromkeys(result.method for result in self.results))

    def _of(self, method: str) -> list[SearchResult]:
        return [result for result in self.results if result.method == method]

    def _after(self, share: float) -> str:
        return f"after {self.minutes * share:g} min"

    def _mean(self, result: SearchResult, share: float) -> float | None:
        name = confirmed_name(result, 60 * self.minutes * share)
        accuracies = self.confirmed.get(name) if name is not None else None
        return statistics.mean(accuracies) if accuracies else None


def compare_searches(
    overrides: Sequence[str],
    *,
    methods: Sequence[str],
    seeds: int,
    minutes: float,
    confirm: int,
    folder: Path,
    command: str,
) -> Comparison:
    """Run every method with seeds 1 to `seeds` for so many minutes of processor time, one after the other.

    A search that `folder` holds to its end is read, not run again; another starts anew. Then the best trials after
    `CONFIRMED_SHARES` of the time are trained on all training images with `confirm` fresh seeds each, if it is not 0,
    and the test set is opened. The results are written to `folder` after each search. `command` goes on after Ctrl-C.

    Raises `BenchError` for an unknown method, a search that fails or does not start in its time, or a folder that
    cannot be created or whose searches had other overrides or minutes; and the errors of `train_replicates`.
    """
    for method in methods:
        if method not in METHODS:
            raise BenchError(f"a method must be one of {', '.join(METHODS)}, but got {method!r}: correct --methods")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder} cannot be created ({error.strerror}): name another --folder") from error
    comparison = Comparison(minutes=minutes, results=[])
    runs: list[SearchRun] = []
    for seed in range(1, seeds + 1):
        for method in dict.fromkeys(methods):
            run = SearchRun(folder / f"{method}-{seed}", overrides, method=method, seed=seed, minutes=minutes)
            runs.append(run)
            comparison.results.append(run.result())
            comparison.write(folder)
    if confirm:
        comparison = replace(
            comparison, confirmed=_confirmed(comparison, runs, folder / "confirmed", seeds=confirm, command=command)
        )
        comparison.write(folder)
    return comparison


def confirmed_name(result: SearchResult, seconds: float) -> str | None:
    """Return the name of a search's best trial after a time, for example ``card-1-trial-7``; None before its first."""
    trial = result.best_trial_after(seconds)
    return None if trial is None else f"{result.method}-{result.seed}-trial-{trial}"


def _confirmed(
    comparison: Comparison, runs: Sequence[SearchRun], folder: Path, *, seeds: int, command: str
) -> dict[str, list[float]]:
    configs: dict[str, NamedConfig] = {}
    for result, run in zip(comparison.results, runs, strict=True):
        for share in CONFIRMED_SHARES:
            seconds = 60 * comparison.minutes * share
            name, trial = confirmed_name(result, seconds), result.best_trial_after(seconds)
            if name is not None and trial is not None and name not in configs:
                conf = run.config(trial)
                conf = replace(conf, data=replace(conf.data, validation="none"))
                configs[name] = NamedConfig(name=name, conf=conf)
    replicates = make_replicates(folder, list(configs.values()), range(FIRST_SEED, FIRST_SEED + seeds))
    failures = train_replicates(folder, replicates, title="confirming the best", command=command)
    if not failures:
        failures = evaluate_replicates(folder, replicates, title="opening the test set", command=command)
    if failures:
        raise BenchError(f"{failures[0].run.label} failed: {failures[0].reason}: try again with {command}")
    accuracies: dict[str, list[float]] = {}
    for replicate in replicates:
        tested = RunFolder(replicate.folder).read_test()
        assert tested is not None
        accuracies.setdefault(replicate.name, []).append(tested.accuracy)
    return accuracies


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{percent(statistics.median(known))} ({percent(min(known))} to {percent(max(known))})"

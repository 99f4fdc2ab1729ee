"""Compares ways to search by the best validation accuracy after each minute: each runs as its own command, with seeds."""

import json
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import optuna
from optuna.trial import TrialState

from sweeper.errors import BenchError
from sweeper.run.folder import write_atomically
from sweeper.study.folder import StudyFolder
from sweeper.study.storage import journal_url, open_storage
from sweeper.study.summary import state_of
from sweeper.terminal.formats import percent

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "start": ("search=card", "hydra.sweeper.n_trials=3"),
    "random": ("search=card", "hydra/sweeper/sampler=random"),
    "card": ("search=card",),
    "architecture": ("search=architecture",),
}
"""Overrides of each method. `start` is only what every search tries first."""
STUDY: Final = "search"
"""Name of each study in its own journal."""
UNLIMITED: Final = "hydra.sweeper.n_trials=100000"
STOPPING_SECONDS: Final = 120
"""A search that takes longer to stop is killed."""
SHARES: Final = (0.25, 0.5, 1.0)
"""The table shows the best after these shares of the time."""


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """One search of one method with one seed."""

    method: str
    seed: int
    seconds: tuple[float, ...]
    """When each trial completed, since the start of the command, in rising order."""
    values: tuple[float, ...]
    """The trials' validation accuracies, in the same order."""
    epochs: tuple[int, ...]
    """Epochs that each of them trained."""
    rejected: int
    """Proposals that were not trained."""
    pruned: int

    def best_after(self, seconds: float) -> float | None:
        """Return the best accuracy so far; None before the first trial completed."""
        return max((value for at, value in zip(self.seconds, self.values, strict=True) if at <= seconds), default=None)


def compare_searches(
    overrides: Sequence[str], *, methods: Sequence[str], seeds: Sequence[int], minutes: float, folder: Path
) -> list[SearchResult]:
    """Run every method with every seed for so many minutes, one after the other, and return the results.

    A search that `folder` holds to its end is read, not run again; another starts anew. Writes `searches.json`,
    `searches.md` and `searches.png` after each. Raises `BenchError` for an unknown method, a command that fails or does
    not start in its time, or a folder that cannot be created or whose searches had other overrides or minutes.
    """
    for method in methods:
        if method not in METHODS:
            raise BenchError(f"a method must be one of {', '.join(METHODS)}, but got {method}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder} cannot be created ({error.strerror}): name another --folder") from error
    results: list[SearchResult] = []
    for seed in seeds:
        for method in dict.fromkeys(methods):
            results.append(_result(overrides, method, seed, minutes, folder / f"{method}-{seed}"))
            write_atomically(folder / "searches.json", json.dumps([asdict(one) for one in results]).encode())
            write_atomically(folder / "searches.md", table(results, minutes).encode())
            plot(results, minutes, folder / "searches.png")
    return results


def table(results: Sequence[SearchResult], minutes: float) -> str:
    """Return a Markdown table: for each method the median and range over seeds of the best accuracy, by time."""
    heads = [f"after {minutes * share:g} min" for share in SHARES]
    lines = [
        f"| method | seeds | trained | rejected | {' | '.join(heads)} |",
        "|---|---:|---:|---:|" + "---:|" * len(heads),
    ]
    for method in dict.fromkeys(one.method for one in results):
        runs = [one for one in results if one.method == method]
        trained = statistics.median(len(one.values) for one in runs)
        rejected = statistics.median(one.rejected for one in runs)
        cells = [_cell([one.best_after(60 * minutes * share) for one in runs]) for share in SHARES]
        lines.append(f"| {method} | {len(runs)} | {trained:g} | {rejected:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(results: Sequence[SearchResult], minutes: float, file: Path) -> None:
    """Plot each method's median best accuracy over time, and the range over seeds as a band."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only needed here

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    times = [60 * minutes * step / 200 for step in range(201)]
    for method in dict.fromkeys(one.method for one in results):
        runs = [one for one in results if one.method == method]
        curves = [(at, [best for run in runs if (best := run.best_after(at)) is not None]) for at in times]
        known = [(at / 60, values) for at, values in curves if values]
        at = [minute for minute, _ in known]
        (line,) = axes.plot(at, [100 * statistics.median(values) for _, values in known], label=method)
        low, high = [100 * min(values) for _, values in known], [100 * max(values) for _, values in known]
        axes.fill_between(at, low, high, alpha=0.15, color=line.get_color())
    axes.set(xlabel="minutes", ylabel="best validation accuracy, %")
    axes.legend(loc="lower right")
    figure.savefig(file, dpi=150)


def _result(overrides: Sequence[str], method: str, seed: int, minutes: float, folder: Path) -> SearchResult:
    done = folder / "done.json"
    asked = {"overrides": list(overrides), "minutes": minutes}
    if not done.exists():
        study = folder / f"{time.time_ns()}"
        started = _run(overrides, method, seed, minutes, study)
        write_atomically(done, json.dumps({"study": study.name, "started": started, **asked}).encode())
    saved = json.loads(done.read_text())
    there = {key: saved.get(key) for key in asked}
    if there != asked:
        raise BenchError(f"{folder} holds a search of {there}, but {asked} is asked for: choose another --folder")
    return _read(method, seed, folder / saved["study"], saved["started"])


def _run(overrides: Sequence[str], method: str, seed: int, minutes: float, study: Path) -> float:
    """Search until the time is over; return when it started, in seconds since the epoch."""
    own = ("hydra.sweeper.stop_at_target=false", f"hydra.sweeper.study_name={STUDY}", f"hydra.sweep.dir={study}")
    options = (UNLIMITED, *METHODS[method], f"hydra.sweeper.sampler.seed={seed}", f"seed={seed}", *own)
    command = [sys.executable, "-m", "sweeper", "-m", *overrides, *options]
    study.mkdir(parents=True)
    # A shell's background jobs ignore interrupts, and would pass that on to the search.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.time()
    output = study / "output.log"
    with output.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:  # noqa: S603 - our own command
        try:
            process.wait(60 * minutes)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOPPING_SECONDS)
        else:
            if process.returncode != 0:
                reason = next(iter(output.read_text().strip().splitlines()[-1:]), "no message")
                raise BenchError(f"the search {method} failed: {reason.removeprefix('sweeper: ')}: see {output}")
        finally:
            process.kill()
    return started


def _read(method: str, seed: int, study: Path, started: float) -> SearchResult:
    storage = open_storage(journal_url(StudyFolder(study).journal))
    try:
        trials = optuna.load_study(study_name=STUDY, storage=storage).get_trials(deepcopy=False)
    except KeyError as error:
        raise BenchError(
            f"the search {method} must start within its time, but did not: give more --minutes in another --folder"
        ) from error
    completed = sorted(
        (trial.datetime_complete.timestamp() - started, trial.values[0], len(trial.intermediate_values))
        for trial in trials
        if trial.state is TrialState.COMPLETE and trial.datetime_complete is not None
    )
    states = Counter(map(state_of, trials))
    return SearchResult(
        method=method,
        seed=seed,
        seconds=tuple(seconds for seconds, _, _ in completed),
        values=tuple(value for _, value, _ in completed),
        epochs=tuple(epochs for _, _, epochs in completed),
        rejected=states["rejected"],
        pruned=states["pruned"],
    )


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{percent(statistics.median(known))} ({percent(min(known))} to {percent(max(known))})"

"""The output of a running study: one line per event, and in a terminal a live table of the running trials."""

import re
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.study.attributes import PARAMETERS
from sweeper.study.executors.base import JobResult
from sweeper.study.summary import StudySummary, summarize_trials
from sweeper.study.trials import TrialStore
from sweeper.terminal.console import about, display_path, make_console

REFRESHES_PER_SECOND: Final = 1
"""Each refresh reads the storage; at this rate the cost is negligible."""


class StudyProgress:
    """Prints one study's events, which the coordinator reports."""

    def __init__(
        self, trials: TrialStore, *, name: str, total: int, folder: Path, console: Console | None = None
    ) -> None:
        """Show the study `name` of `total` trials, on standard output by default."""
        self._trials = trials
        self._name = name
        self._total = total
        self._folder = folder
        self._console = console or make_console()
        self._started = time.monotonic()
        self._finished = 0
        # rich refreshes from its own thread: the main thread may be busy with a job.
        self._live = Live(
            console=self._console,
            get_renderable=self._table,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Print the study's name and folder, and show the table in a terminal."""
        counted = self._trials.summary().counted
        resumed = f", {counted} of them done before" if counted else ""
        self._console.print(
            f"study {self._name}: {self._total} trial{'s' if self._total != 1 else ''}{resumed}, "
            f"in {display_path(self._folder)}/",
            soft_wrap=True,
        )
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the table."""
        self._live.stop()

    def on_recovered(self, numbers: list[int]) -> None:
        """Print the trials that were queued again because their process is gone."""
        for number in numbers:
            self._console.print(f"trial {number} lost its process: queued again")

    def on_rejected(self, number: int, reason: str) -> None:
        """Print a rejected proposal, except above a live table, which counts them; the end lists counts by rule."""
        if not self._live.is_started:
            self._console.print(f"trial {number} rejected: {reason.partition(': narrow')[0]}", soft_wrap=True)

    def on_repeated(self, number: int, other: FrozenTrial) -> None:
        """Print a proposal that has the same config as a completed trial."""
        self._console.print(f"trial {number} repeats trial {other.number}: {other.value:.2%}, not trained again")

    def on_finished(self, result: JobResult, seconds: float, *, is_retried: bool) -> None:
        """Print a job's result; `is_retried` if it failed and its point is queued again."""
        self._finished += 1
        trial = self._trials.trials()[result.number]
        if result.error is not None:
            retried = ", its point is tried again" if is_retried else ""
            text = f"trial {result.number} failed{retried}: {result.error}"
        else:
            in_epoch = (
                f" in epoch {max(trial.intermediate_values)}" if result.pruned and trial.intermediate_values else ""
            )
            how = f"pruned{in_epoch}" if result.pruned else "done"
            params = format_params(trial.params)
            text = f"trial {result.number} {how}: {result.value:.2%}  {seconds:5.1f} s  {params}"
        self._console.print(text, soft_wrap=True)

    def show_end(self, why: str, command: str | None) -> None:
        """Print the end of the study: reason, counts, the best trial, its reproduce command, and `command`."""
        self._live.stop()
        summary = self._trials.summary()
        elsewhere = f"; {summary.running} still running in another process" if summary.running else ""
        self._console.print(f"{why}: {_counts(summary)}{elsewhere}")
        for rule, count in self._trials.rejections().items():
            self._console.print(f"  {count} rejected: {rule}")
        if summary.best is not None:
            self._console.print(_best(summary.best), soft_wrap=True)
            if (self._folder / "best.yaml").exists():
                again = shlex.join(["python", "-m", "sweeper", "reproduce", str(display_path(self._folder / "best"))])
                self._console.print(f"run it again: {again}", soft_wrap=True)
        if command is not None:
            self._console.print(f"go on: {command}", soft_wrap=True)

    def _table(self) -> Group:
        trials = self._trials.trials()
        summary = summarize_trials(trials, self._trials.study.direction)
        table = Table(box=None, pad_edge=False)
        for title in ("trial", "epoch", "accuracy", "parameters", "with"):
            table.add_column(title, justify="left" if title == "with" else "right", no_wrap=title != "with")
        for trial in trials:
            if trial.state is TrialState.RUNNING:
                values = trial.intermediate_values
                accuracy = f"{values[max(values)]:.2%}" if values else ""
                parameters = f"{trial.user_attrs.get(PARAMETERS, 0):,}"
                epoch = str(max(values, default=""))
                table.add_row(str(trial.number), epoch, accuracy, parameters, format_params(trial.params))
        lines: list[RenderableType] = [table, Text(f"{_counts(summary)} · {self._time_left(summary)}")]
        if summary.best is not None:
            lines.append(Text(_best(summary.best)))
        return Group(*lines)

    def _time_left(self, summary: StudySummary) -> str:
        if not self._finished:
            return "time left unknown yet"
        seconds = (time.monotonic() - self._started) / self._finished * max(0, self._total - summary.counted)
        return f"{about(seconds)} left"


def format_params(params: Mapping[str, object]) -> str:
    """Return a trial's values as one readable line, a group's widths in one list: ``dropout=0.1 block1=8,12,16``."""
    formatted: dict[str, list[str]] = {}
    for key, value in params.items():
        width = re.fullmatch(r"model\.groups\.(\w+)\.channels\.\d+", key)
        name = width[1] if width else key.rpartition(".")[2]
        formatted.setdefault(name, []).append(f"{value:.4g}" if isinstance(value, float) else str(value))
    return " ".join(f"{name}={','.join(values)}" for name, values in formatted.items())


def _counts(summary: StudySummary) -> str:
    counts = (
        f"{summary.complete} done",
        f"{summary.pruned} pruned",
        f"{summary.rejected} rejected",
        f"{summary.failed} failed",
    )
    return ", ".join(counts)


def _best(trial: FrozenTrial) -> str:
    counted = f"{trial.user_attrs.get(PARAMETERS, 0):,} parameters"
    return f"best: trial {trial.number}, {trial.value:.2%}, {counted}, {format_params(trial.params)}"

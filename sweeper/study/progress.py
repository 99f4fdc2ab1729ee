"""Decides what a running study prints: one line per event, in a terminal a live table, and how the study ended."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from optuna.trial import FrozenTrial
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweeper.study.attributes import FAILED
from sweeper.study.executors.base import JobResult
from sweeper.study.front import worst_cost
from sweeper.study.front_table import front_status, live_front
from sweeper.study.headline import Headline, Tone
from sweeper.study.live_table import format_params, joined, live_table
from sweeper.study.server import is_connection_lost
from sweeper.study.summary import StudySummary, summarize_trials
from sweeper.study.time_limits import TimeLimits
from sweeper.study.trials import TrialStore
from sweeper.terminal.console import display_path, make_console, print_command, print_prose, wrapped
from sweeper.terminal.formats import counted, percent, points

REFRESHES_PER_SECOND: Final = 1
"""Each refresh reads the storage; at this rate the cost is negligible."""
INDENT: Final = "  "
STYLES: Final[dict[Tone, str]] = {
    "met": "bold green",
    "infeasible": "bold red",
    "failed": "bold red",
    "neutral": "bold",
}
"""The style of a headline's sentence; the others are yellow."""


class StudyProgress:
    """Prints one study's events, which the coordinator reports."""

    def __init__(
        self,
        trials: TrialStore,
        *,
        name: str,
        total: int,
        folder: Path,
        is_grid: bool = False,
        is_accuracy: bool = True,
        target: float | None = None,
        epochs: int | None = None,
        limit: int | None = None,
        times: TimeLimits | None = None,
        read: Callable[[], list[FrozenTrial]] | None = None,
        console: Console | None = None,
    ) -> None:
        """Show the study `name` of `total` trials, on standard output by default.

        `is_grid` says whether `total` includes points that are rejected, `is_accuracy` whether values are accuracies.
        `target` is the accuracy to reach, `epochs` the number that a trial trains unless it is searched, `limit` the
        budget of the cost in a search with two objectives. `times` knows the limits of time. `read` returns all trials for the live table, whose thread must
        not wait for a storage that the main thread waits for.
        """
        self._trials = trials
        self._name = name
        self._total = total
        self._folder = folder
        self._is_grid, self._is_accuracy, self._target, self._epochs = is_grid, is_accuracy, target, epochs
        self._limit, self._times = limit, times or TimeLimits()
        self._console = console or make_console()
        self._started = time.monotonic()
        self._finished = 0
        self._is_waiting = False
        self._read = read or trials.trials
        self._shown: list[FrozenTrial] = []
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
        self._print(
            f"study {self._name}: {self._total} trial{'s' if self._total != 1 else ''}{resumed}, "
            f"in {display_path(self._folder)}/"
        )
        if limits := self._times.sentence():
            self._print(limits)
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the table."""
        self._live.stop()

    def on_recovered(self, numbers: list[int]) -> None:
        """Print the trials that were queued again because their process is gone."""
        for number in numbers:
            self._print(f"trial {number} lost its process: queued again")

    def on_given_up(self, number: int) -> None:
        """Print that a trial's result came too late: others had taken this process for dead."""
        self._print(f"trial {number} came too late: its point is tried again as another trial")

    def on_waiting_for_others(self, running: int) -> None:
        """Print once that the study ends when other processes have finished their trials."""
        if running and not self._is_waiting:
            self._print(f"waiting for {counted(running, 'trial')} of other processes")
        self._is_waiting = running > 0

    def on_unsaved(self, number: int, reason: str) -> None:
        """Print that other hosts will lack the files of a trial, which the server cannot take."""
        self._print(f"other hosts will lack the files of trial {number}: {reason}")

    def on_wait(self, message: str) -> None:
        """Print what the search waits for, such as a storage that does not answer, or that it no longer does."""
        self._print(message)

    def on_rejected(self, number: int, reason: str) -> None:
        """Print a rejected proposal, except above a live table, which counts them; the end lists counts by rule."""
        if not self._live.is_started:
            self._print(f"trial {number} rejected: {reason.partition(': narrow')[0]}")

    def on_repeated(self, number: int, other: FrozenTrial) -> None:
        """Print a proposal that has the same config as a completed trial."""
        # A trial of two objectives has no single value: the first one is the accuracy.
        value = self._value(other.values[0])
        self._print(f"trial {number} repeats trial {other.number}: {value}, not trained again")

    def on_finished(self, result: JobResult, seconds: float, *, is_retried: bool) -> None:
        """Print a job's result; `is_retried` if it failed and its point is queued again."""
        self._finished += 1
        trial = self._trials.trials()[result.number]
        if result.error is not None:
            retried = ", its point is tried again" if is_retried else ""
            self._print(f"trial {result.number} failed{retried}: {trial.user_attrs.get(FAILED, result.error)}")
            return
        unit = "in epoch" if self._is_accuracy else "at step"
        in_epoch = f" {unit} {max(trial.intermediate_values)}" if result.pruned and trial.intermediate_values else ""
        how = f"pruned{in_epoch}" if result.pruned else "done"
        value = result.reason if result.value is None else self._value(result.value)
        said = f": {value}" if value else ""
        self._print(f"trial {result.number} {how}{said}  {seconds:5.1f} s  {format_params(trial.params)}")

    def show_end(self, headline: Headline, why: str, *, elsewhere: str = "") -> None:
        """Print the end of the study: headline, best values, rejections by rule, `why` it stopped, and the commands.

        `elsewhere` is a sentence with the hosts of files that this one lacks.

        Each command is one line of its own.
        """
        self._live.stop()
        self._console.print()
        print_prose(self._console, headline.sentence, STYLES.get(headline.tone, "bold yellow"))
        self._print(headline.details, indent="")
        if headline.best is not None and headline.best.params and not self._trials.goal.others:
            self._print(f"best: trial {headline.best.number}, {format_params(headline.best.params)}")
        for rule, count in self._trials.rejections().items():
            self._print(f"{count} rejected: {rule}")
        running = self._trials.summary().running
        others = f"{running} still running in another process" if running else ""
        reasons = "; ".join(reason for reason in (why, others) if reason)
        if reasons:
            self._print(reasons)
        if elsewhere:
            self._print(elsewhere, indent="")
        for command in headline.commands:
            print_command(self._console, command.label, command.text)

    def _print(self, text: str, indent: str = INDENT) -> None:
        is_narrow = self._console.is_terminal
        self._console.print(wrapped(text, self._console.width, indent) if is_narrow else text, soft_wrap=True)

    def _value(self, value: float | tuple[float, ...]) -> str:
        if isinstance(value, tuple):
            return ", ".join(f"{each:.6g}" for each in value)
        return percent(value) if self._is_accuracy else f"{value:.6g}"

    def _table(self) -> RenderableType:
        try:
            trials = self._shown = self._read()
        except Exception as error:
            if not is_connection_lost(error):
                raise
            trials = self._shown  # until the server answers again
        summary = summarize_trials(trials, self._trials.goal)
        width = self._console.width
        status = Text(joined(self._status(summary, trials), width))
        if not self._has_results(trials):
            return status
        table = live_table(
            trials, width, epochs=self._epochs, is_accuracy=self._is_accuracy, times=self._times.of_trial
        )
        tables = [table] if table.rows else []
        if self._trials.goal.cost is not None and summary.complete:
            tables.append(live_front(trials, self._trials.goal, width))
        return Group(*tables, status)

    def _has_results(self, trials: list[FrozenTrial]) -> bool:
        """Whether a trial has finished here or reported an epoch."""
        return self._finished > 0 or any(trial.intermediate_values for trial in trials if not trial.state.is_finished())

    def _status(self, summary: StudySummary, trials: list[FrozenTrial]) -> list[str]:
        total = self._total - (summary.rejected if self._is_grid else 0)
        phrases = [f"{summary.counted} of {total}"]
        counts = ((summary.pruned, "pruned"), (summary.failed, "failed"), (summary.rejected, "rejected"))
        phrases += [f"{count} {name}" for count, name in counts if count]
        if not self._has_results(trials):
            phrases.append("starting workers")
        if self._trials.goal.cost is not None:
            phrases += front_status(trials, self._trials.goal, self._worst_cost(trials))
        elif summary.best is not None:
            phrases.append(f"best {self._value(summary.best.values[0])}{self._short(summary.best.values[0])}")
        elapsed, to_do = time.monotonic() - self._started, max(0, total - summary.counted)
        return [*phrases, self._times.status(elapsed, finished=self._finished, left=to_do)]

    def _worst_cost(self, trials: list[FrozenTrial]) -> float:
        """Return the cost of the hypervolume's reference point: the budget, or the most of any completed trial."""
        return self._limit or worst_cost(trials, self._trials.goal)

    def _short(self, value: float) -> str:
        if self._target is None:
            return ""
        short = self._target - value
        return f", {points(short).removesuffix(' points')} short" if short > 0 else ", target met"

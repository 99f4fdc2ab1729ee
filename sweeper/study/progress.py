"""What a person sees while a study runs: a live table in a terminal, a line per event elsewhere."""

import re
import shlex
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.study.executors.workers import Outcome
from sweeper.study.trials import PARAMETERS, Ledger, Tally
from sweeper.terminal.console import about, display_path, make_console

REFRESH_SECONDS: Final = 1.0
"""The table reads the storage: seldom enough to cost a search nothing."""


class Board:
    """Shows one study. The sweeper tells it of each event, under its lock."""

    def __init__(self, ledger: Ledger, *, name: str, total: int, folder: Path, console: Console | None = None) -> None:
        """Show that study of `total` trials."""
        self._ledger = ledger
        self._name = name
        self._total = total
        self._folder = folder
        self._console = console or make_console()
        self._started = time.monotonic()
        self._ended = 0
        self._over = threading.Event()
        # A thread of its own: a job that runs in this process leaves the main one no time to draw.
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Begin, with a line that says where the study lies."""
        tally = self._ledger.tally()
        resumed = f", {tally.counted} of them done before" if tally.counted else ""
        self._console.print(
            f"study {self._name}: {self._total} trial{'s' if self._total != 1 else ''}{resumed}, in {display_path(self._folder)}/"
        )
        if self._console.is_terminal:
            self._live.start()
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the table down."""
        self._stop()

    def say_recovered(self, numbers: list[int]) -> None:
        """Trials whose process is gone were queued again."""
        for number in numbers:
            self._console.print(f"trial {number} had no process any more: queued again")

    def say_rejected(self, number: int, reason: str) -> None:
        """A proposal was rejected; the live table counts them, and the end names the rules."""
        if not self._live.is_started:
            self._console.print(f"trial {number} rejected: {reason.partition(': narrow')[0]}", soft_wrap=True)

    def say_repeated(self, number: int, other: FrozenTrial) -> None:
        """A proposal repeats a finished trial."""
        self._console.print(f"trial {number} repeats trial {other.number}: {other.value:.2%}, not trained again")

    def say_ended(self, number: int, result: Outcome, seconds: float, *, again: bool) -> None:
        """A job ended; `again` if it failed and its point is tried once more."""
        self._ended += 1
        trial = self._ledger.trials()[number]
        params = format_params(trial.params)
        if result.error is not None:
            text = f"trial {number} failed{', its point is tried again' if again else ''}: {result.error}"
        else:
            epochs = (
                f" in epoch {max(trial.intermediate_values)}" if result.pruned and trial.intermediate_values else ""
            )
            how = f"pruned{epochs}" if result.pruned else "done"
            text = f"trial {number} {how}: {result.value:.2%}  {seconds:5.1f} s  {params}"
        self._console.print(text, soft_wrap=True)

    def show_end(self, why: str, command: str | None) -> None:
        """The study is over, for now: counts, best, where, and the command that goes on."""
        self._stop()
        tally = self._ledger.tally()
        elsewhere = f"; {tally.running} still running in another process" if tally.running else ""
        self._console.print(f"{why}: {_counts(tally)}{elsewhere}")
        for rule, count in self._ledger.reasons().items():
            self._console.print(f"  {count} rejected: {rule}")
        if tally.best is not None:
            self._console.print(_best(tally.best), soft_wrap=True)
            if (self._folder / "best.yaml").exists():
                again = shlex.join(["python", "-m", "sweeper", "reproduce", str(display_path(self._folder / "best"))])
                self._console.print(f"run it again: {again}", soft_wrap=True)
        if command is not None:
            self._console.print(f"go on: {command}", soft_wrap=True)

    def _tick(self) -> None:
        while not self._over.wait(REFRESH_SECONDS):
            self._live.update(self._table(self._ledger.tally()), refresh=True)

    def _stop(self) -> None:
        self._over.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._live.stop()

    def _table(self, tally: Tally) -> Group:
        table = Table(box=None, pad_edge=False)
        for title in ("trial", "epoch", "accuracy", "parameters", "with"):
            table.add_column(title, justify="left" if title == "with" else "right", no_wrap=title != "with")
        for trial in self._ledger.trials():
            if trial.state is TrialState.RUNNING:
                values = trial.intermediate_values
                accuracy = f"{values[max(values)]:.2%}" if values else ""
                params = format_params(trial.params)
                parameters = f"{trial.user_attrs.get(PARAMETERS, 0):,}"
                table.add_row(str(trial.number), str(max(values, default="")), accuracy, parameters, params)
        lines: list[RenderableType] = [table, Text(f"{_counts(tally)} · {self._left(tally)}")]
        if tally.best is not None:
            lines.append(Text(_best(tally.best)))
        return Group(*lines)

    def _left(self, tally: Tally) -> str:
        if not self._ended:
            return "time left unknown yet"
        seconds = (time.monotonic() - self._started) / self._ended * max(0, self._total - tally.counted)
        return f"{about(seconds)} left"


def _counts(tally: Tally) -> str:
    counts = [
        f"{tally.complete} done",
        f"{tally.pruned} pruned",
        f"{tally.rejected} rejected",
        f"{tally.failed} failed",
    ]
    return ", ".join(counts)


def _best(trial: FrozenTrial) -> str:
    counted = f"{trial.user_attrs.get(PARAMETERS, 0):,} parameters"
    return f"best: trial {trial.number}, {trial.value:.2%}, {counted}, {format_params(trial.params)}"


def format_params(params: Mapping[str, object]) -> str:
    """Return a trial's values as a person would say them: ``dropout=0.1 block1=8,12,16``."""
    said: dict[str, list[str]] = {}
    for key, value in params.items():
        width = re.fullmatch(r"model\.groups\.(\w+)\.channels\.\d+", key)
        said.setdefault(width[1] if width else key.rpartition(".")[2], []).append(_short_value(value))
    return " ".join(f"{name}={','.join(values)}" for name, values in said.items())


def _short_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

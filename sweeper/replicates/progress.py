"""Decides what is printed while replicates are trained: a line per finished run and, in a terminal, a live table with the time left."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.errors import SweeperError
from sweeper.records import EpochRecord
from sweeper.replicates.replicate import Replicate
from sweeper.run.folder import RunFolder
from sweeper.study.executors.base import JobResult
from sweeper.study.live_table import GAP, joined
from sweeper.terminal.console import display_path, make_console, print_command, wrapped
from sweeper.terminal.formats import clock, counted, percent, time_left

INDENT: Final = "  "


class ReplicatesProgress:
    """Prints a line per replicate."""

    def __init__(
        self,
        title: str,
        runs: Sequence[Replicate],
        *,
        folder: Path,
        reused: int,
        is_test: bool = False,
        console: Console | None = None,
    ) -> None:
        """Show `title`, whose `runs` are to be done, and of which `reused` were done before.

        `is_test` says that the runs are evaluated on the test set, not trained.
        """
        self._title, self._runs, self._folder, self._reused = title, runs, folder, reused
        self._is_test = is_test
        self._console = console or make_console()
        self._started = time.monotonic()
        self._running: list[Replicate] = []
        self._done = self._failed = 0
        self._epochs_done = 0
        """Epochs of the runs that finished here; a failed run counts with all of its epochs, which are not left."""
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=1, transient=True)

    def __enter__(self) -> Self:
        """Print the title and folder, and show the table in a terminal."""
        total = len(self._runs) + self._reused
        reused = f", {self._reused} of them done before" if self._reused else ""
        self._print(f"{self._title}: {counted(total, 'run')}{reused}, in {display_path(self._folder)}/")
        if self._console.is_terminal and self._runs:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the table."""
        self._live.stop()

    def on_started(self, run: Replicate) -> None:
        """Show a run that a worker has got."""
        self._running.append(run)

    def on_finished(self, run: Replicate, result: JobResult, seconds: float) -> None:
        """Print a run's result."""
        self._running.remove(run)
        self._epochs_done += run.conf.training.epochs
        if result.error is not None:
            self._failed += 1
            self._print(f"{run.label} failed: {result.error}")
            return
        self._done += 1
        kind = "test" if self._is_test else "training" if run.conf.data.validation == "none" else "validation"
        assert isinstance(result.value, float)
        self._print(f"{run.label} done: {percent(result.value)} {kind} accuracy  {seconds:5.1f} s")

    def show_interruption(self, command: str) -> None:
        """Print how many runs are complete, and the command that goes on."""
        self._live.stop()
        complete, total = self._reused + self._done, self._reused + len(self._runs)
        self._print(f"interrupted: {complete} of {counted(total, 'run')} complete, which are kept")
        print_command(self._console, "go on", command)

    def _print(self, text: str) -> None:
        is_narrow = self._console.is_terminal
        self._console.print(wrapped(text, self._console.width, INDENT) if is_narrow else text, soft_wrap=True)

    def _table(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        for heading in ("run", "epoch", "accuracy"):
            table.add_column(heading, justify="left" if heading == "run" else "right", no_wrap=True)
        epochs_running = 0
        for run in [] if self._is_test else list(self._running):
            epochs = _epochs(run)
            epochs_running += len(epochs)
            table.add_row(Text(run.label), f"{len(epochs)}/{run.conf.training.epochs}", _accuracy(run, epochs))
        status = Text(joined(self._status(epochs_running), self._console.width))
        return Group(table, status) if table.rows else status

    def _status(self, epochs_running: int) -> list[str]:
        phrases = [f"{self._reused + self._done} of {self._reused + len(self._runs)}"]
        if self._failed:
            phrases.append(f"{self._failed} failed")
        elapsed = time.monotonic() - self._started
        done, total = self._epochs_done + epochs_running, sum(run.conf.training.epochs for run in self._runs)
        if self._is_test:
            done, total = self._done + self._failed, len(self._runs)
        if not done:
            return [*phrases, "starting workers", clock(elapsed)]
        return [*phrases, f"{clock(elapsed)}, {time_left(elapsed / done * (total - done))}"]


def _epochs(run: Replicate) -> tuple[EpochRecord, ...]:
    """Return the epochs that a running run has completed."""
    try:
        return RunFolder(run.unfinished).read_epochs()
    except SweeperError:  # it has not started, or has just been completed
        return ()


def _accuracy(run: Replicate, epochs: Sequence[EpochRecord]) -> str:
    if not epochs:
        return ""
    is_training = run.conf.data.validation == "none"
    return percent(epochs[-1].train_accuracy if is_training else epochs[-1].val_accuracy)

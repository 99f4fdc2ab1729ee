"""Terminal output of a run: the network's cost and findings, a progress bar, one line per epoch, the result."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.records import BatchProgress, EpochRecord
from sweeper.run.experiment import CompletedRun
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener
from sweeper.run.recorder import timeout_reason
from sweeper.run.reproduction import Comparison
from sweeper.shell import path_word, sweeper_command
from sweeper.terminal.console import (
    budget_lines,
    display_path,
    finding_lines,
    make_console,
    print_command,
    print_prose,
    wrapped,
)
from sweeper.terminal.formats import clock, duration, percent, points, time_left

COLUMNS: Final = {
    "epoch": 6,
    "train loss": 12,
    "train acc": 11,
    "val loss": 10,
    "val acc": 10,
    "lr": 10,
    "time": 9,
    "images/s": 10,
}
"""The columns of the lines of epochs, each with its width in characters."""
DROPPED: Final = ("images/s", "lr", "train loss", "val loss", "time")
"""The columns to leave out in a narrow terminal, the first to go first."""
BAR_WIDTHS: Final = (24, 12)
"""Width of the progress bar, in characters, in a terminal of at least `WIDE` characters and in a narrower one."""
WIDE: Final = 80


class RunProgress(Listener):
    """Prints one run's progress. As a context manager it removes the progress bar when the run ends or raises."""

    def __init__(self, console: Console | None = None) -> None:
        """Print on `console`, by default on standard output."""
        self.console = console or make_console()
        self.folder: Path | None = None
        self.epochs_done = 0
        self._columns = _shown_columns(self.console.width)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=BAR_WIDTHS[self.console.width < WIDE]),
            TextColumn("{task.fields[status]}"),
            console=self.console,
            transient=True,
            disable=not (self.console.is_terminal or self.console.is_jupyter),
        )
        self._task: TaskID | None = None
        self._epochs = self._images = 0
        self._has_dropout = False
        self._timeout: float | None = None
        self._started = 0.0
        """When training began here, on `time.monotonic`."""
        self._validation = 0.0
        """How long the last epoch's validation took, seconds."""

    def __enter__(self) -> Self:
        """Return the listener; the bar appears when training starts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._progress.stop()

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Print the network's cost, its findings, the data and the device."""
        self.folder, self._epochs, self._images = folder, conf.training.epochs, len(splits.train)
        self._has_dropout = design.plan.has_dropout
        self._timeout, self._started = conf.training.timeout, time.monotonic()
        validated_on = "TEST images (data.validation=test)" if splits.validation_is_test else "validation images"
        self.console.print(budget_lines(design, conf.budget))
        if design.findings:
            self.console.print(finding_lines(design, self.console.width))
        threads = f"{conf.threads} thread{'s' if conf.threads != 1 else ''}"
        print_prose(
            self.console,
            f"{DATASETS.facts(conf.data.name).title}: {len(splits.train):,} training and {len(splits.validation):,} "
            f"{validated_on} · {conf.device} {conf.precision}, {threads}",
        )
        header = "".join(f"{title:>{width}}" for title, width in self._columns.items())
        self.console.print(Text(header, style="bold"), soft_wrap=True)
        self._progress.start()
        # Without a total, the bar moves until the first steps are done.
        self._task = self._progress.add_task("", total=None, epoch=f"1/{self._epochs}", status="starting")

    def on_batch(self, progress: BatchProgress) -> None:
        """Advance the bar."""
        assert self._task is not None
        total = self._epochs * progress.images_total
        done = (progress.epoch - 1) * progress.images_total + progress.images
        speed = progress.images_per_second
        epoch = f"{progress.epoch}/{self._epochs}"
        phrases = [percent(done / total, 0), f"acc {percent(progress.accuracy)}"]
        if speed > 0 and done < total:
            phrases.insert(1, self._time_left(progress))
        phrases.append(f"loss {progress.loss:.4f}")
        if speed > 0:
            phrases.append(f"{speed:,.0f} images/s")
        width = self.console.width - len(f"epoch {epoch}  ") - BAR_WIDTHS[self.console.width < WIDE] - 1
        self._progress.update(self._task, total=total, completed=done, epoch=epoch, status=_fitting(phrases, width))

    def _time_left(self, progress: BatchProgress) -> str:
        """Return the time until the last epoch's end, or that of the epoch in which the limit of time lies."""
        epoch = progress.images_total / progress.images_per_second + self._validation
        rest = (progress.images_total - progress.images) / progress.images_per_second + self._validation
        epochs_left = self._epochs - progress.epoch
        if self._timeout is None:
            return time_left(rest + epochs_left * epoch)
        elapsed = time.monotonic() - self._started
        until_limit = math.ceil(max(0.0, self._timeout - elapsed - rest) / epoch)
        return f"{clock(elapsed, self._timeout)}, {time_left(rest + min(epochs_left, until_limit) * epoch)}"

    def on_epoch(self, record: EpochRecord) -> None:
        """Print one line with the epoch's measurements."""
        self.epochs_done = record.epoch
        if record.images_per_second > 0:
            self._validation = max(0.0, record.seconds - self._images / record.images_per_second)
        cells = {
            "epoch": f"{record.epoch}/{self._epochs}",
            "train loss": f"{record.train_loss:.4f}",
            "train acc": percent(record.train_accuracy),
            "val loss": f"{record.val_loss:.4f}",
            "val acc": percent(record.val_accuracy),
            "lr": f"{record.lr:.2g}",
            "time": f"{record.seconds:.1f} s",
            "images/s": f"{record.images_per_second:,.0f}",
        }
        self.console.print(
            "".join(f"{cells[title]:>{width}}" for title, width in self._columns.items()), soft_wrap=True
        )

    def show_result(self, completed: CompletedRun, *, next_command: str, warning: str = "") -> None:
        """Print the result; `next_command` is the shell command to try next, `warning` a line why there is no report."""
        result = completed.result
        met = result.target_met
        style = "green" if met else "yellow"
        by = points(abs(result.value - completed.conf.target))
        exactly = met and result.value == completed.conf.target
        sentence = f"Target {'met' if met else 'missed'}{'' if exactly else f' by {by}'}."
        limit = completed.conf.budget.parameters
        rows = {
            "test accuracy" if result.data.validation_is_test else "validation accuracy": f"{percent(result.value)} of "
            f"{result.data.validation_images:,} images, target {percent(completed.conf.target)}",
            "best epoch": f"{percent(result.best_val_accuracy)} in epoch {result.best_epoch} of {result.epochs}",
            "training accuracy": f"{percent(result.train_accuracy)} as trained, "
            f"{percent(result.train_accuracy_eval)} {'with dropout off' if self._has_dropout else 'after training'}",
            "parameters": f"{result.parameters:,}{'' if limit is None else f' of {limit:,} allowed'}",
            "time": duration(result.seconds),
        }
        labels = max(map(len, rows))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True)
        left = self.console.width - labels - 6  # the box, and the gap between the columns
        for label, text in rows.items():
            grid.add_row(label, wrapped(text, left))
        self.console.print(
            Panel.fit(grid, title=Text(sentence, style=f"bold {style}"), title_align="left", style=style)
        )
        # Outside the box, so that they can be copied.
        files = RunFolder(display_path(completed.folder))
        self.console.print(f"files: {files.path}/", soft_wrap=True)
        if result.timed_out:
            self.console.print(timeout_reason(completed.conf.training, result.epochs), soft_wrap=True)
            self._show_resume(files.path)
        self.console.print(f"! {warning}" if warning else f"report: {files.report}", soft_wrap=True)
        print_command(self.console, "run it again", sweeper_command("reproduce", path_word(files.path)))
        if next_command:
            print_command(self.console, "next", next_command)

    def show_comparison(self, comparison: Comparison) -> None:
        """Print whether a run was reproduced, and the differences if it was not."""
        result = "different" if comparison.differences else "identical"
        epochs = f"{comparison.epochs} epoch{'s' if comparison.epochs != 1 else ''}"
        self.console.print(f"{result}: {comparison.original} and {comparison.repetition}, {epochs}", soft_wrap=True)
        for line in comparison.differences:
            self.console.print(f"  {line}", soft_wrap=True)
        if comparison.circumstances:
            self.console.print("also different (versions, hardware or data):")
        for line in comparison.circumstances:
            self.console.print(f"  {line}", soft_wrap=True)

    def show_interruption(self) -> None:
        """Print the number of completed epochs of an interrupted run, and where they are."""
        self._progress.stop()
        if self.folder is None:
            self.console.print("interrupted before training started: nothing was written", soft_wrap=True)
        elif self.epochs_done == 0:
            self.console.print(
                f"interrupted in the first epoch: no epoch was completed; the folder is {self.folder}", soft_wrap=True
            )
        else:
            folder = display_path(self.folder)
            self.console.print(
                f"interrupted after {self.epochs_done} of {self._epochs} epochs: they are in {RunFolder(folder).metrics}",
                soft_wrap=True,
            )
            self._show_resume(folder)

    def _show_resume(self, folder: Path) -> None:
        print_command(self.console, "go on", sweeper_command("resume", path_word(folder)))


def _shown_columns(width: int) -> dict[str, int]:
    """Return the columns that fit into a terminal's width."""
    shown = dict(COLUMNS)
    for title in DROPPED:
        if sum(shown.values()) > width:
            del shown[title]
    return shown


def _fitting(phrases: Sequence[str], width: int) -> str:
    """Return the first phrases that fit, whole ones alone."""
    shown = phrases[0]
    for phrase in phrases[1:]:
        if len(shown) + 2 + len(phrase) > width:
            break
        shown += f"  {phrase}"
    return shown

"""Terminal output of a run: the network's cost and findings, a progress bar, one line per epoch, the result."""

from pathlib import Path
from typing import Final, Self

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
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
from sweeper.run.reproduction import Comparison
from sweeper.terminal.console import budget_lines, finding_lines, make_console

_HEADER: Final = " epoch  train loss  train acc  val loss   val acc        lr     time  images/s"


class RunProgress(Listener):
    """Prints one run's progress. As a context manager it removes the progress bar when the run ends or raises."""

    def __init__(self, console: Console | None = None) -> None:
        """Print on `console`, by default on standard output."""
        self.console = console or make_console()
        self.folder: Path | None = None
        self.epochs_done = 0
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f} %"),
            TextColumn("loss {task.fields[loss]:.4f}  acc {task.fields[accuracy]:.2%}"),
            TextColumn("{task.fields[rate]:,.0f} images/s"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            transient=True,
            disable=not (self.console.is_terminal or self.console.is_jupyter),
        )
        self._task: TaskID | None = None
        self._epochs = 0

    def __enter__(self) -> Self:
        """Return the listener; the bar appears when training starts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._progress.stop()

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Print the network's cost, its findings, the data and the device."""
        self.folder, self._epochs = folder, conf.training.epochs
        validated_on = "TEST images (data.validation=test)" if splits.validation_is_test else "validation images"
        self.console.print(budget_lines(design, conf.budget))
        if design.findings:
            self.console.print(finding_lines(design))
        threads = f"{conf.threads} thread{'s' if conf.threads != 1 else ''}"
        self.console.print(
            f"{DATASETS.facts(conf.data.name).title}: {len(splits.train):,} training and {len(splits.validation):,} "
            f"{validated_on} · {conf.device} {conf.precision}, {threads}"
        )
        self.console.print(Text(_HEADER, style="bold"), soft_wrap=True)
        self._progress.start()
        self._task = self._progress.add_task(
            "", total=self._epochs * len(splits.train), epoch=f"1/{self._epochs}", loss=0.0, accuracy=0.0, rate=0.0
        )

    def on_batch(self, progress: BatchProgress) -> None:
        """Advance the bar."""
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=(progress.epoch - 1) * progress.images_total + progress.images,
            epoch=f"{progress.epoch}/{self._epochs}",
            loss=progress.loss,
            accuracy=progress.accuracy,
            rate=progress.images_per_second,
        )

    def on_epoch(self, record: EpochRecord) -> None:
        """Print one line with the epoch's measurements."""
        self.epochs_done = record.epoch
        self.console.print(
            f"{f'{record.epoch}/{self._epochs}':>6}{record.train_loss:12.4f}{record.train_accuracy:11.2%}"
            f"{record.val_loss:10.4f}{record.val_accuracy:10.2%}{record.lr:10.2g}{record.seconds:7.1f} s"
            f"{record.images_per_second:10,.0f}",
            soft_wrap=True,
        )

    def show_result(self, completed: CompletedRun, *, next_command: str) -> None:
        """Print the result; `next_command` is the shell command to try next."""
        result = completed.result
        met = result.target_met
        measured = "test accuracy" if result.data.validation_is_test else "validation accuracy"
        reached = "met" if met else f"{(completed.conf.target - result.value) * 100:.2f} points short"
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        grid.add_row(
            measured,
            Text(
                f"{result.value:.2%}, target {completed.conf.target:.2%}: {reached}",
                style="green" if met else "yellow",
            ),
        )
        grid.add_row("best epoch", f"{result.best_val_accuracy:.2%} in epoch {result.best_epoch} of {result.epochs}")
        grid.add_row(
            "training accuracy",
            f"{result.train_accuracy:.2%} as trained, {result.train_accuracy_eval:.2%} with dropout off",
        )
        limit = completed.conf.budget.parameters
        budget = "" if limit is None else f" of {limit:,} allowed"
        grid.add_row("parameters", f"{result.parameters:,}{budget}")
        grid.add_row("time", f"{result.seconds:.1f} s")
        grid.add_row("files", f"{completed.folder}/")
        grid.add_row("report", str(RunFolder(completed.folder).report))
        grid.add_row("next", next_command)
        title = "target met" if met else "target missed"
        self.console.print(
            Panel(Group(grid), title=title, title_align="left", border_style="green" if met else "yellow")
        )

    def show_comparison(self, comparison: Comparison) -> None:
        """Print whether a run was reproduced, and the differences if it was not."""
        outcome = "different" if comparison.differences else "identical"
        epochs = f"{comparison.epochs} epoch{'s' if comparison.epochs != 1 else ''}"
        self.console.print(f"{outcome}: {comparison.original} and {comparison.repetition}, {epochs}", soft_wrap=True)
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
            metrics = RunFolder(self.folder).metrics
            self.console.print(
                f"interrupted after {self.epochs_done} of {self._epochs} epochs: they are in {metrics}", soft_wrap=True
            )

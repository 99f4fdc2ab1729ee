"""What a person sees while a run goes on: the network's cost and faults, a bar, a line per epoch, a closing panel."""

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


class Terminal(Listener):
    """Shows one run. As a context manager, so that the bar is taken down however the run ends."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on that console, by default on standard output."""
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
        self._design: Design | None = None

    def __enter__(self) -> Self:
        """Begin; the bar appears when training does."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar down."""
        self._progress.stop()

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Print what is about to be trained, on what, and what is wrong with it."""
        self.folder, self._epochs, self._design = folder, conf.training.epochs, design
        judges = "TEST images (data.validation=test)" if splits.validation_is_test else "validation images"
        self.console.print(budget_lines(design, conf.budget))
        if design.findings:
            self.console.print(finding_lines(design))
        threads = f"{conf.threads} thread{'s' if conf.threads != 1 else ''}"
        self.console.print(
            f"{DATASETS.facts(conf.data.name).title}: {len(splits.train):,} training and {len(splits.validation):,} "
            f"{judges} · {conf.device} {conf.precision}, {threads}"
        )
        self.console.print(Text(_HEADER, style="bold"), soft_wrap=True)
        self._progress.start()
        self._task = self._progress.add_task(
            "", total=self._epochs * len(splits.train), epoch=f"1/{self._epochs}", loss=0.0, accuracy=0.0, rate=0.0
        )

    def on_batch(self, progress: BatchProgress) -> None:
        """Move the bar."""
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=(progress.epoch - 1) * progress.images_total + progress.images,
            epoch=f"{progress.epoch}/{self._epochs}",
            loss=progress.loss,
            accuracy=progress.accuracy,
            rate=progress.images_per_second,
        )

    def on_epoch(self, metrics: EpochRecord) -> None:
        """Print the epoch's line."""
        self.epochs_done = metrics.epoch
        self.console.print(
            f"{f'{metrics.epoch}/{self._epochs}':>6}{metrics.train_loss:12.4f}{metrics.train_accuracy:11.2%}"
            f"{metrics.val_loss:10.4f}{metrics.val_accuracy:10.2%}{metrics.lr:10.2g}{metrics.seconds:7.1f} s"
            f"{metrics.images_per_second:10,.0f}",
            soft_wrap=True,
        )

    def show_result(self, completed: CompletedRun, *, next_command: str) -> None:
        """Print the closing panel, with the command to try next."""
        assert self._design is not None
        result = completed.result
        met = result.target_met
        judged = "test accuracy" if result.data.validation_is_test else "validation accuracy"
        verdict = "target met" if met else f"{(completed.conf.target - result.value) * 100:.2f} points short"
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        grid.add_row(
            judged,
            Text(
                f"{result.value:.2%} of {completed.conf.target:.2%} wanted: {verdict}",
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
        """Say whether a run came out again, and what else differs where it did not."""
        verdict = "different" if comparison.differences else "identical"
        self.console.print(
            f"{verdict}: {comparison.original} and {comparison.again}, {comparison.epochs} epoch{'s' if comparison.epochs != 1 else ''}",
            soft_wrap=True,
        )
        for line in comparison.differences:
            self.console.print(f"  {line}", soft_wrap=True)
        if comparison.circumstances:
            self.console.print("what else differs:")
        for line in comparison.circumstances:
            self.console.print(f"  {line}", soft_wrap=True)

    def show_interruption(self) -> None:
        """Say what is left of a run that was stopped."""
        self._progress.stop()
        if self.folder is None:
            self.console.print("interrupted before training began: nothing was written", soft_wrap=True)
        elif self.epochs_done == 0:
            self.console.print(
                f"interrupted in the first epoch: nothing was measured; the folder is {self.folder}", soft_wrap=True
            )
        else:
            metrics = RunFolder(self.folder).metrics
            self.console.print(
                f"interrupted after {self.epochs_done} of {self._epochs} epochs: they are in {metrics}", soft_wrap=True
            )

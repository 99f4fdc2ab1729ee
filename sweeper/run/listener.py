"""The interface of a run's observers: a `Listener` is called at the start, in each epoch and at the end."""

from pathlib import Path

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.records import BatchProgress, EpochRecord, Mistakes


class Listener:
    """Observes a run. Every method does nothing by default; an exception from one of them ends the run."""

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Called before training, after all checks; `conf` is resolved and `folder` is claimed."""

    def on_batch(self, progress: BatchProgress) -> None:
        """Called every few training steps."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch, once its record is on disk."""

    def on_mistakes(self, mistakes: Mistakes) -> None:
        """Called once the result is on disk, with the validation images' confusion matrix and worst mistakes."""

    def on_end(self) -> None:
        """Called once, after all other methods, whether the run completes or raises."""

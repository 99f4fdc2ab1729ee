"""What can observe a run: a `Listener` gets its start, its batches, its epochs and its end."""

from pathlib import Path

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.records import BatchProgress, EpochRecord


class Listener:
    """Observes a run. Every method does nothing by default; an exception from one of them ends the run."""

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Called before training, when everything is checked, `conf` is resolved and `folder` is claimed."""

    def on_batch(self, progress: BatchProgress) -> None:
        """Called every few training steps."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Called after each epoch, when its record is on disk."""

    def on_end(self) -> None:
        """Called once after all other methods, however the training ends."""

"""Who may watch a run: what a listener is told, and when."""

from pathlib import Path

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.records import BatchProgress, EpochRecord


class Listener:
    """Watches a run. Every method does nothing until a subclass has something to do."""

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Everything is checked, `conf` resolved, the folder claimed; training begins."""

    def on_batch(self, progress: BatchProgress) -> None:
        """Every few steps."""

    def on_epoch(self, metrics: EpochRecord) -> None:
        """After an epoch whose metrics are on disk."""

    def on_end(self) -> None:
        """After the last call of the others, however the run ended."""

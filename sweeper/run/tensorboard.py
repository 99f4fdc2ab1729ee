"""TensorBoard event files: loss, accuracy, learning rate and speed by epoch, and the config as hyperparameters.

Only this file uses undocumented parts of torch's TensorBoard API: `summary.hparams` and `SummaryWriter.file_writer`.
The documented `SummaryWriter.add_hparams` writes a second event file, in which every run's accuracy starts at 0.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Final

from sweeper.config.loading import dotted, dump
from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.errors import ConfigError
from sweeper.records import EpochRecord
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener

VERSION: Final = "2.14.1"
"""The version of torch whose undocumented parts this file was checked against."""
METRIC: Final = "accuracy/validation"
"""The scalar by which TensorBoard's HParams tab compares runs."""


class TensorBoard(Listener):
    """Writes event files into the run's folder: ``tensorboard --logdir outputs`` shows all runs and trials."""

    def __init__(self) -> None:
        """Raise `ConfigError` if the package is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional package
            from torch.utils.tensorboard.summary import hparams  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "logging=tensorboard needs the package tensorboard, which is not installed: pip install tensorboard"
            ) from error
        self._make_writer = SummaryWriter
        self._hparams = hparams
        self._writer: SummaryWriter | None = None

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:  # noqa: ARG002 - a listener's arguments
        """Open the event file; write the config and the network's parameters and MACs."""
        self._writer = self._make_writer(log_dir=str(RunFolder(folder).tensorboard))
        self._writer.add_text("config", f"```yaml\n{dump(conf)}```")
        values = {**dict(dotted(asdict(conf))), "parameters": design.summary.parameters, "macs": design.summary.macs}
        hyperparameters = {
            key: value if isinstance(value, int | float) else str(value) for key, value in values.items()
        }
        assert self._writer.file_writer is not None
        for summary in self._hparams(hyperparameters, {METRIC: 0}):
            self._writer.file_writer.add_summary(summary)

    def on_epoch(self, record: EpochRecord) -> None:
        """Write the epoch's metrics and flush them, so that an open page shows them when it next reloads."""
        assert self._writer is not None
        scalars = {
            "loss/training": record.train_loss,
            "loss/validation": record.val_loss,
            "accuracy/training": record.train_accuracy,
            METRIC: record.val_accuracy,
            "lr": record.lr,
            "images_per_second": record.images_per_second,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def on_end(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()

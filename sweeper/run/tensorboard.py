"""A run as TensorBoard shows it: loss, accuracy, learning rate and speed by epoch, and the config beside them."""

from dataclasses import asdict
from pathlib import Path

from sweeper.config.loading import dotted, dump
from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.errors import ConfigError
from sweeper.records import EpochRecord
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener

JUDGED_BY = "accuracy/validation"
"""The scalar by which TensorBoard compares the configs of a study."""


class TensorBoard(Listener):
    """Writes event files into the run's folder: ``tensorboard --logdir outputs`` shows all runs and trials."""

    def __init__(self) -> None:
        """Raises `ConfigError` where the package is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an optional package
            from torch.utils.tensorboard.summary import hparams  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                "logging=tensorboard needs the package tensorboard, which is not installed: pip install tensorboard"
            ) from error
        self._make_writer = SummaryWriter
        self._summarise = hparams
        self._writer: SummaryWriter | None = None

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:  # noqa: ARG002 - a listener's arguments
        """Open the file; write what the run was asked for, and the size of its network."""
        self._writer = self._make_writer(log_dir=str(RunFolder(folder).tensorboard))
        self._writer.add_text("config", f"```yaml\n{dump(conf)}```")
        values = {**dict(dotted(asdict(conf))), "parameters": design.summary.parameters, "macs": design.summary.macs}
        named = {key: value if isinstance(value, int | float) else str(value) for key, value in values.items()}
        for summary in self._summarise(named, {JUDGED_BY: 0}):  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]  # noqa: SLF001 - add_hparams would begin a second run

    def on_epoch(self, metrics: EpochRecord) -> None:
        """Write the epoch's numbers, so that a page that is open shows them at its next look."""
        assert self._writer is not None
        scalars = {
            "loss/training": metrics.train_loss,
            "loss/validation": metrics.val_loss,
            "accuracy/training": metrics.train_accuracy,
            JUDGED_BY: metrics.val_accuracy,
            "lr": metrics.lr,
            "images_per_second": metrics.images_per_second,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, metrics.epoch)
        self._writer.flush()

    def on_end(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

"""Decides what TensorBoard shows of a run: its curves with the target, what sets it apart, and its mistakes as images.

Only this file uses undocumented parts of torch's TensorBoard API: `summary.hparams` and `SummaryWriter.file_writer`.
The documented `SummaryWriter.add_hparams` writes a second event file, in which every run's accuracy starts at 0.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from sweeper.config.composition import compose
from sweeper.config.loading import dotted, dump
from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import Splits
from sweeper.design import Design
from sweeper.errors import ConfigError
from sweeper.records import EpochRecord, Mistakes
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener
from sweeper.untrusted import parse_yaml, read_text

if TYPE_CHECKING:
    from torch import Tensor

VERSION: Final = "2.14.1"
"""The version of torch whose undocumented parts this file was checked against."""
TARGET: Final = "accuracy/target"
ACCURACIES: Final = ("accuracy/training", "accuracy/validation", TARGET)
"""The scalars in one plot of the Custom Scalars tab, in which the target is a line."""
MACHINE_KEYS: Final = ("data.root", "device", "precision", "threads", "logging.name")
"""Config keys of the machine and of logging, which do not set a run apart."""
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
        self._target, self._epochs = 0.0, 0
        self._images_nhw: Tensor | None = None

    def on_start(self, conf: ExperimentConf, design: Design, splits: Splits, folder: Path) -> None:
        """Open the event file; write the config, and what sets this run apart as hyperparameters."""
        self._target, self._epochs = conf.target, conf.training.epochs
        self._images_nhw = splits.validation.source_nhw
        self._writer = self._make_writer(log_dir=str(RunFolder(folder).tensorboard))
        self._writer.add_text("config", f"```yaml\n{dump(conf)}```")
        self._writer.add_custom_scalars({"accuracy": {"accuracy and target": ["Multiline", list(ACCURACIES)]}})
        costs = {"parameters": design.summary.parameters, "macs": design.summary.macs}
        assert self._writer.file_writer is not None
        for summary in self._hparams({**what_varies(conf, folder), **costs}, {METRIC: 0}):
            self._writer.file_writer.add_summary(summary)

    def on_epoch(self, record: EpochRecord) -> None:
        """Write the epoch's metrics and flush them, so that an open page shows them when it next reloads."""
        assert self._writer is not None
        scalars = {
            "loss/training": record.train_loss,
            "loss/validation": record.val_loss,
            "accuracy/training": record.train_accuracy,
            METRIC: record.val_accuracy,
            TARGET: self._target,
            "lr": record.lr,
            "images_per_second": record.images_per_second,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def on_mistakes(self, mistakes: Mistakes) -> None:
        """Write the confusion matrix and the worst mistakes as images."""
        from sweeper.run.tensorboard_figures import confusion_figure, worst_figure  # noqa: PLC0415 - matplotlib

        assert self._writer is not None
        assert self._images_nhw is not None
        self._writer.add_figure("mistakes/confusion", confusion_figure(mistakes), self._epochs)
        if mistakes.worst:
            figure = worst_figure(mistakes.worst, self._images_nhw)
            self._writer.add_figure("mistakes/worst", figure, self._epochs)

    def on_end(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


def what_varies(conf: ExperimentConf, folder: Path) -> dict[str, float | str]:
    """Return what sets a run apart, by key: a trial's searched values, otherwise what differs from the default config.

    The whole config would be a hundred columns in TensorBoard's table, nearly all of them the same in every run.
    """
    files = RunFolder(folder)
    searched = _searched(folder)
    if searched:
        pairs = (line.partition("=") for line in files.read_overrides())
        return {key: _number(value) for key, _, value in pairs if key in searched}
    default = dict(dotted(asdict(compose())))
    own = dict(dotted(asdict(conf)))
    different = {key: value for key, value in own.items() if value != default.get(key) and key not in MACHINE_KEYS}
    return {key: value if isinstance(value, int | float) else str(value) for key, value in different.items()}


def _searched(folder: Path) -> set[str]:
    """Return the searched keys of the study whose trial has this folder; empty if it is not a trial."""
    try:
        search = parse_yaml(read_text(folder.parent / "search.yaml"))
        return set(search["space"]) if folder.name.isdigit() else set()
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return set()


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text

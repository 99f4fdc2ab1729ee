"""Runs a trial's job: it reports each epoch to its trial in the storage, and stops when it is pruned."""

import functools
import shutil
from pathlib import Path

import optuna
from hydra.conf import HydraConf
from omegaconf import OmegaConf

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import split_cached
from sweeper.records import EpochRecord
from sweeper.run.experiment import run
from sweeper.run.listener import Listener
from sweeper.study.executors.base import PrunedAt
from sweeper.study.reporting import Reporter, open_reporter


class TrialLink(Listener):
    """Reports a job's epochs to its trial. Raises `optuna.TrialPruned` from `on_epoch` if the pruner ends the trial."""

    def __init__(self, reporter: Reporter, epochs: int) -> None:
        """Report to the trial of `reporter`, whose run has this number of epochs."""
        self._reporter, self._epochs = reporter, epochs
        self._last: EpochRecord | None = None

    def on_epoch(self, record: EpochRecord) -> None:
        """Report the epoch and ask the pruner, except after the last epoch."""
        self._last = record
        self._reporter.report(record.val_accuracy, record.epoch)
        if record.epoch < self._epochs and self._reporter.is_pruned():
            raise optuna.TrialPruned

    def pruned(self) -> PrunedAt:
        """Return the pruned job's return value: the validation accuracy of its last epoch, a fraction."""
        assert self._last is not None
        return PrunedAt(value=self._last.val_accuracy)


def run_trial(conf: ExperimentConf, folder: Path, settings: HydraConf) -> float | PrunedAt:
    """Run a study's job; it prints nothing and logs to its folder. Return its validation accuracy, or its pruning."""
    reporter = open_reporter(settings)
    link = TrialLink(reporter, conf.training.epochs)
    begin_anew(folder, settings.job.num)
    try:
        completed = run(
            conf,
            folder=folder,
            listeners=[link],
            overrides=OmegaConf.to_yaml(OmegaConf.create(list(settings.overrides.task))),
            hydra=OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
            read_splits=functools.partial(split_cached, folder=folder),
        )
    except optuna.TrialPruned:
        reporter.save(folder)
        return link.pruned()
    reporter.save(folder)
    return completed.value


def begin_anew(folder: Path, number: int) -> None:
    """Delete what the trial's job left before its engine started it again, as Slurm and Ray do by themselves.

    Only in a folder that is named by the trial's number, in which no other trial has files.
    """
    if folder.name != str(number):
        return
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != ".hydra":
            shutil.rmtree(entry)
        elif entry.is_file() and entry.suffix != ".log":
            entry.unlink()

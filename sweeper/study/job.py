"""Runs a trial's job: it reports each epoch to its trial in the storage, and stops when it is pruned."""

import functools
import shutil
from contextlib import suppress
from pathlib import Path

import optuna
from hydra.conf import HydraConf
from omegaconf import OmegaConf

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import split_cached
from sweeper.errors import SweeperError
from sweeper.records import EpochRecord
from sweeper.run.experiment import resolved, run
from sweeper.run.folder import RunFolder, atomic_write
from sweeper.run.listener import Listener
from sweeper.search.feasibility import fingerprint
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
    is_own = folder.name == str(settings.job.num)  # then no other trial has files in it
    if is_own:
        _take_over_checkpoint(folder, conf, reporter.predecessor)
    try:
        completed = run(
            conf,
            folder=folder,
            listeners=[link],
            overrides=OmegaConf.to_yaml(OmegaConf.create(list(settings.overrides.task))),
            hydra=OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
            read_splits=functools.partial(split_cached, folder=folder),
            resume=is_own,
        )
    except optuna.TrialPruned:
        RunFolder(folder).checkpoint.unlink(missing_ok=True)
        return link.pruned()
    return completed.value


def _take_over_checkpoint(folder: Path, conf: ExperimentConf, predecessor: int | None) -> None:
    """Copy the checkpoint of the trial whose point was queued again, if its folder is here and its config is the same.

    A job that its engine started again, as Slurm and Ray do by themselves, has its own, which is not older.
    """
    own = RunFolder(folder).checkpoint
    if predecessor is None or own.exists():
        return
    earlier = RunFolder(folder.with_name(str(predecessor)))
    with suppress(SweeperError):  # a damaged config is not the same
        if earlier.checkpoint.exists() and fingerprint(earlier.read_config()) == fingerprint(resolved(conf)):
            with atomic_write(own) as temporary:
                shutil.copyfile(earlier.checkpoint, temporary)

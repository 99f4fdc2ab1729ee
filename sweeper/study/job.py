"""Runs a trial's job: it finds its trial in the storage, reports each epoch to it, and stops when it is pruned."""

import functools
import shutil
from pathlib import Path

import optuna
from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf
from optuna.storages import BaseStorage

from sweeper.config.schema import ExperimentConf
from sweeper.data.splits import split_cached
from sweeper.records import EpochRecord
from sweeper.run.experiment import run
from sweeper.run.listener import Listener
from sweeper.study.executors.base import PrunedAt
from sweeper.study.optuna_private import report, running_trial, should_prune
from sweeper.study.sampler_and_pruner import make_pruner
from sweeper.study.server import PostgresqlStorage
from sweeper.study.storage import open_patiently
from sweeper.study.trial_record import patiently, save_record


class TrialLink(Listener):
    """Reports a job's epochs to its trial. Raises `optuna.TrialPruned` from `on_epoch` if the pruner ends the trial."""

    def __init__(self, trial: optuna.Trial, epochs: int, storage: BaseStorage) -> None:
        """Report to `trial`, whose run has this number of epochs and whose study is in `storage`."""
        self._trial = trial
        self._epochs = epochs
        self._storage = storage
        self._last: EpochRecord | None = None

    def on_epoch(self, record: EpochRecord) -> None:
        """Report the epoch and ask the pruner, except after the last epoch."""
        self._last = record
        patiently(lambda: report(self._trial, record.val_accuracy, record.epoch))
        if record.epoch < self._epochs and patiently(lambda: should_prune(self._trial)):
            raise optuna.TrialPruned

    def save(self, folder: Path) -> None:
        """Save the run's small files in a storage that hosts share."""
        if isinstance(self._storage, PostgresqlStorage):
            save_record(self._storage, self._trial.study.study_name, self._trial.number, folder)

    def pruned(self) -> PrunedAt:
        """Return the pruned job's return value."""
        assert self._last is not None
        return PrunedAt(epoch=self._last.epoch, value=self._last.val_accuracy)


def open_link(settings: HydraConf, epochs: int) -> TrialLink:
    """Find the job's trial in the storage and study of `settings`: its number is the job's."""
    sweeper = settings.sweeper
    study, storage = _study(sweeper.storage, sweeper.study_name, OmegaConf.to_yaml(sweeper.pruner, resolve=True))
    return TrialLink(patiently(lambda: running_trial(study, settings.job.num)), epochs, storage)


def run_trial(conf: ExperimentConf, folder: Path, settings: HydraConf) -> float | PrunedAt:
    """Run a study's job; it prints nothing and logs to its folder. Return its validation accuracy, or its pruning."""
    link = open_link(settings, conf.training.epochs)
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
        link.save(folder)
        return link.pruned()
    link.save(folder)
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


@functools.lru_cache(maxsize=1)
def _study(url: str, name: str, pruner: str) -> tuple[optuna.Study, BaseStorage]:
    """Return a worker's study and its storage, opened once: reading a long journal again for each trial would take quadratic time."""
    config = OmegaConf.create(pruner)
    assert isinstance(config, DictConfig)
    storage = open_patiently(url)
    study = patiently(lambda: optuna.load_study(study_name=name, storage=storage, pruner=make_pruner(config)))
    return study, storage

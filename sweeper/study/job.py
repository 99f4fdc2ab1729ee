"""A job's link to its trial: it finds the trial in the storage, reports each epoch to it, and stops when pruned."""

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from sweeper.config.schema import DataConf, ExperimentConf
from sweeper.data.splits import Splits, split
from sweeper.records import EpochRecord
from sweeper.run.experiment import run
from sweeper.run.listener import Listener
from sweeper.study.sampler_and_pruner import make_pruner
from sweeper.study.storage import open_storage


@dataclass(frozen=True, kw_only=True)
class PrunedAt:
    """What a pruned job returns in place of its value: quietly, where an exception would log a traceback."""

    epoch: int
    """The last it ran."""
    value: float
    """Validation accuracy then."""


class TrialLink(Listener):
    """Reports a job's epochs to its trial. Raises `optuna.TrialPruned` out of the epoch that is the last."""

    def __init__(self, trial: optuna.Trial, epochs: int) -> None:
        """Link to that trial, of a run of so many epochs."""
        self._trial = trial
        self._epochs = epochs
        self.last: EpochRecord | None = None

    def on_epoch(self, metrics: EpochRecord) -> None:
        """Report the epoch; a run that is whole is not pruned any more."""
        self.last = metrics
        self._trial.report(metrics.val_accuracy, metrics.epoch)
        if metrics.epoch < self._epochs and self._trial.should_prune():
            raise optuna.TrialPruned

    def pruned(self) -> PrunedAt:
        """What the job returns after it was pruned."""
        assert self.last is not None
        return PrunedAt(epoch=self.last.epoch, value=self.last.val_accuracy)


def open_link(settings: HydraConf, epochs: int) -> TrialLink:
    """Find the job's trial: storage and study by name, the trial by the job's number."""
    sweeper = settings.sweeper
    study = _study(sweeper.storage, sweeper.study_name, OmegaConf.to_yaml(sweeper.pruner, resolve=True))
    storage = study._storage  # noqa: SLF001 - Optuna offers no public way from a number to a trial
    trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, settings.job.num)  # noqa: SLF001
    return TrialLink(optuna.Trial(study, trial_id), epochs)


def run_trial(conf: ExperimentConf, folder: Path, settings: HydraConf) -> float | PrunedAt:
    """Run a job of a study: quietly, its log in its folder. Return its value, or where it was pruned."""
    link = open_link(settings, conf.training.epochs)
    try:
        result = run(
            conf,
            folder=folder,
            listeners=[link],
            overrides=OmegaConf.to_yaml(OmegaConf.create(list(settings.overrides.task))),
            hydra=OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
            read_splits=_read_once,
        )
    except optuna.TrialPruned:
        return link.pruned()
    return result.value


def _read_once(conf: DataConf) -> Splits:
    """A worker's data, read once as long as its trials want the same."""
    return _read(**asdict(conf))


@functools.lru_cache(maxsize=1)
def _read(**fields: Any) -> Splits:
    return split(DataConf(**fields))


@functools.lru_cache(maxsize=1)
def _study(url: str, name: str, pruner: str) -> optuna.Study:
    """A worker's study, opened once: reading a journal of many trials again for each of them would be quadratic."""
    config = OmegaConf.create(pruner)
    assert isinstance(config, DictConfig)
    return optuna.load_study(study_name=name, storage=open_storage(url), pruner=make_pruner(config))

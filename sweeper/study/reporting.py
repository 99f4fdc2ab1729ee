"""Reports a running job's values to its trial in the storage, and asks whether the trial is pruned."""

import functools

import optuna
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sweeper.errors import StudyError
from sweeper.study import optuna_private
from sweeper.study.attributes import REQUEUE_OF
from sweeper.study.sampler_and_pruner import make_pruner
from sweeper.study.server import patiently
from sweeper.study.storage import open_patiently
from sweeper.study.trial import is_trial


class Reporter:
    """Reports to one trial. Every call waits for a server that restarts."""

    def __init__(self, trial: optuna.Trial) -> None:
        """Report to `trial`."""
        self._trial = trial

    @property
    def predecessor(self) -> int | None:
        """The number of the trial whose point was queued again as this one; None for any other trial."""
        number = self._trial.user_attrs.get(REQUEUE_OF)
        return number if isinstance(number, int) else None

    def report(self, value: float, step: int) -> None:
        """Save the value after a step."""
        patiently(lambda: optuna_private.report(self._trial, value, step))

    def is_pruned(self) -> bool:
        """Whether the study's pruner ends the trial after what it reported."""
        return patiently(lambda: optuna_private.should_prune(self._trial))


def open_reporter(settings: HydraConf) -> Reporter:
    """Return the reporter of a study's job, from its Hydra settings; the same one for each call of a job."""
    sweeper = settings.sweeper
    pruner = OmegaConf.to_yaml(sweeper.pruner, resolve=True)
    return _reporter(sweeper.storage, sweeper.study_name, pruner, int(settings.job.num))


def report(value: float, step: int) -> None:
    """Report a value of the running job after a step; see `sweeper.report`."""
    if not HydraConfig.initialized() or not is_trial(HydraConfig.get()):
        return
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise StudyError(f"sweeper.report needs a step from 0 on, a whole number, but got {step!r}")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise StudyError(f"sweeper.report needs a number, but got {value!r}") from error
    reporter = open_reporter(HydraConfig.get())
    reporter.report(number, step)
    if reporter.is_pruned():
        raise optuna.TrialPruned(number)


def forget_studies() -> None:
    """Forget the studies that jobs of this process have opened: one may have been deleted, and be started again."""
    _reporter.cache_clear()
    _study.cache_clear()


@functools.lru_cache(maxsize=1)
def _reporter(url: str, name: str, pruner: str, number: int) -> Reporter:
    study = _study(url, name, pruner)
    return Reporter(patiently(lambda: optuna_private.running_trial(study, number)))


@functools.lru_cache(maxsize=1)
def _study(url: str, name: str, pruner: str) -> optuna.Study:
    """Return a study, opened once: reading a long journal again for each trial would take quadratic time."""
    config = OmegaConf.create(pruner)
    assert isinstance(config, DictConfig)
    storage = open_patiently(url)
    return patiently(lambda: optuna.load_study(study_name=name, storage=storage, pruner=make_pruner(config)))

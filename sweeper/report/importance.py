"""Which parameters separate a study's best trials from the others, and how far that can be told at all."""

import random
import warnings
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from sweeper.report.study_snapshot import StudySnapshot

MIN_TRIALS: Final = 20
"""With fewer completed trials, a ranking of parameters is mostly chance."""
MAX_TRIALS: Final = 500
"""Number of trials in a resample is at most this, so that a page of thousands is written in seconds."""
REPEATS: Final = 20
"""Number of resamples, each with a seed of its own."""
BEST_SHARE: Final = 0.25
"""The best trials are this share: Optuna's default of a tenth is two trials of twenty."""
LOW, HIGH = 10, 90
"""Percentiles that bound the spread."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """One parameter's share of the importance, over all resamples."""

    key: str
    median: float
    low: float
    """The 10th percentile."""
    high: float
    """The 90th percentile."""


def importances(study: StudySnapshot) -> list[Importance]:
    """Return each parameter's importance by PED-ANOVA, the most important first; empty for too few trials.

    PED-ANOVA has no randomness of its own, so its trials are resampled with replacement: the spread shows how much of
    the ranking depends on which trials the search happened to make. fANOVA takes minutes for hundreds of trials. With
    two objectives the best trials are those nearest to the front, as for Optuna's samplers.
    """
    keys = _varied(study.completed)
    trials = [trial for trial in study.completed if all(key in trial.params for key in keys)]
    if any(len(trial.values) != len(study.goal.directions) for trial in trials):
        return []  # another program's study, with objectives that are not known here
    if len(trials) < MIN_TRIALS or len({tuple(trial.values) for trial in trials}) == 1 or not keys:
        return []
    shares: dict[str, list[float]] = {key: [] for key in keys}
    storage = InMemoryStorage()
    name = optuna.create_study(directions=study.goal.directions, storage=storage).study_name
    for seed in range(REPEATS):
        chosen = random.Random(seed).choices(trials, k=min(len(trials), MAX_TRIALS))  # noqa: S311 - no secret
        for key, share in _shares(_Resampled(name, storage, chosen), keys).items():
            shares[key].append(share)
    found = [
        Importance(
            key=key,
            median=float(np.median(shares[key])),
            low=float(np.percentile(shares[key], LOW)),
            high=float(np.percentile(shares[key], HIGH)),
        )
        for key in keys
    ]
    return sorted(found, key=lambda importance: -importance.median)


def _varied(trials: list[FrozenTrial]) -> list[str]:
    """Return the parameters that most trials have and that have several values."""
    keys = dict.fromkeys(key for trial in trials for key in trial.params)
    values = {key: {str(trial.params[key]) for trial in trials if key in trial.params} for key in keys}
    common = {key for key in keys if sum(key in trial.params for trial in trials) > len(trials) / 2}
    return [key for key in keys if key in common and len(values[key]) > 1]


class _Resampled(optuna.Study):
    """A study of given trials. Adding them to a storage would copy each of them, which takes most of a page's time."""

    def __init__(self, name: str, storage: BaseStorage, trials: list[FrozenTrial]) -> None:
        super().__init__(name, storage)
        self._resample = trials

    def get_trials(
        self,
        deepcopy: bool = True,  # noqa: ARG002, FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,  # noqa: ARG002 - all are completed
    ) -> list[FrozenTrial]:
        """Return the trials."""
        return self._resample


def _shares(study: optuna.Study, keys: list[str]) -> dict[str, float]:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE, evaluate_on_local=True)
    with warnings.catch_warnings():
        # Optuna warns that importances of few trials are unreliable: the spread shows it.
        warnings.filterwarnings("ignore", category=UserWarning, module="optuna")
        return get_param_importances(study, evaluator=evaluator, params=keys)

"""Prunes the trials of a study with two objectives: those that can be expected neither on the front nor at the target."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.config_keys import EPOCHS
from sweeper.study.front import LEAST_ERROR
from sweeper.study.goal import Goal


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A completed trial: its cost, and the logarithms of its error after the epoch in question and after its last."""

    cost: int
    now: float
    end: float


class FrontPruner(optuna.pruners.BasePruner):
    """Prunes a trial that trails smaller ones by more than any trial did that ended ahead of all smaller ones.

    How far a trial trails after an epoch is the ratio of its error to the least error of a completed trial of at most its
    cost, after the same epoch: under one schedule, epochs of equal number are comparable, so trials of another number of
    epochs do not count. The study itself tells how much is too much: of its completed trials, those that no smaller one
    beats in the end trailed by so much after this epoch, or led. Of trials that would end ahead like them, an epoch then
    prunes at most the share `spare`.

    In a search for the smallest network, once one reaches the target, a trial is also pruned that would miss it even if
    its error shrank from here as much as that of all completed trials but the share `spare`. Before that, a trial that
    misses the target may still come closer to it than all others. Optuna's own pruners take one objective, see issue
    3450 of optuna.
    """

    def __init__(self, *, n_startup_trials: int = 5, n_warmup_steps: int = 1, spare: float = 0.2) -> None:
        """Prune from the epoch `n_warmup_steps` on, once `n_startup_trials` are completed.

        `spare` is the greatest share of promising trials that an epoch may prune. Raises `ValueError` out of bounds.
        """
        if n_startup_trials < 1 or n_warmup_steps < 0 or not 0 <= spare < 1:
            raise ValueError(
                "n_startup_trials must be at least 1, n_warmup_steps at least 0 and spare in [0, 1), but got "
                f"{n_startup_trials}, {n_warmup_steps} and {spare}"
            )
        self._startup, self._warmup, self._spare = n_startup_trials, n_warmup_steps, spare

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial should end after the epoch that it reported last."""
        epoch = trial.last_step
        goal = Goal.of(study)
        cost = goal.cost_of(trial)
        if epoch is None or epoch < self._warmup or cost is None:
            return False
        completed = [
            _Seen(cost=other_cost, now=log_error(other.intermediate_values[epoch]), end=log_error(other.values[0]))
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if epoch in other.intermediate_values
            and other.params.get(EPOCHS) == trial.params.get(EPOCHS)
            and (other_cost := goal.cost_of(other)) is not None
        ]
        if len(completed) < self._startup:
            return False
        now = log_error(trial.intermediate_values[epoch])
        if goal.smallest and goal.target is not None and self._misses(log_error(goal.target), now, completed):
            return True
        lags = [_lag(each.now, smaller) for each in completed if (smaller := _beaten(each, completed))]
        smaller = [other for other in completed if other.cost <= cost]
        return bool(smaller) and _lag(now, smaller) > max(0.0, self._quantile(lags))

    def _misses(self, target: float, now: float, completed: Sequence[_Seen]) -> bool:
        reached = any(each.end <= target for each in completed)
        return reached and now - self._quantile([each.now - each.end for each in completed]) > target

    def _quantile(self, values: Sequence[float]) -> float:
        """Return the value that another one like these exceeds with probability `spare` at most; infinity if few.

        It is the quantile of conformal prediction (Vovk et al. 2005), which holds for any number of values.
        """
        rank = math.ceil((1 - self._spare) * (len(values) + 1))
        return sorted(values)[rank - 1] if rank <= len(values) else math.inf


def _beaten(one: _Seen, completed: Sequence[_Seen]) -> list[_Seen]:
    """Return the trials of at most the cost of one that ended better than all of them; empty if it did not."""
    smaller = [other for other in completed if other is not one and other.cost <= one.cost]
    return smaller if all(one.end < other.end for other in smaller) else []


def _lag(now: float, smaller: Sequence[_Seen]) -> float:
    return now - min(other.now for other in smaller)


def log_error(accuracy: float) -> float:
    """Return the natural logarithm of the error of an accuracy; infinite for an accuracy that is not finite."""
    return math.log(max(LEAST_ERROR, 1 - accuracy)) if math.isfinite(accuracy) else math.inf

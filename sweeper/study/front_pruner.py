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
    """Prunes a trial that would not end on the front even if its error shrank as only few trials' errors did.

    The study itself tells how much an error shrinks from an epoch to the last: in the completed trials of as many epochs
    its ratio is known, and only the share `spare` of them shrank by more. If so large a shrinkage leaves the trial behind
    the least final error of the completed trials of at most its cost, it is pruned. So the probability that an epoch
    prunes a trial which would have ended ahead is at most `spare`, as far as trials are exchangeable.

    In a search for the smallest network, once one reaches the target, the trial must reach the target instead. Before
    that, a trial that misses it may still come closer than all others. Optuna's own pruners take one objective, see issue
    3450 of optuna.
    """

    def __init__(self, *, n_startup_trials: int = 5, n_warmup_steps: int = 1, spare: float = 0.1) -> None:
        """Prune from the epoch `n_warmup_steps` on, once `n_startup_trials` are completed.

        With fewer than `1 / spare - 1` completed trials no such share is known, and none is pruned. Raises `ValueError`
        out of bounds.
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
        shrinkage = self._quantile([each.now - each.end for each in completed])
        return log_error(trial.intermediate_values[epoch]) - shrinkage > _bar(goal, cost, completed)

    def _quantile(self, values: Sequence[float]) -> float:
        """Return the value that another one like these exceeds with probability `spare` at most; infinity if few.

        It is the quantile of conformal prediction (Vovk et al. 2005), which holds for any number of values.
        """
        rank = math.ceil((1 - self._spare) * (len(values) + 1))
        return sorted(values)[rank - 1] if rank <= len(values) else math.inf


def _bar(goal: Goal, cost: int, completed: Sequence[_Seen]) -> float:
    """Return the logarithm of the error that a trial of this cost must reach; infinity if any error is on the front."""
    if goal.smallest and goal.target is not None:
        target = log_error(goal.target)
        if any(each.end <= target for each in completed):
            return target
    return min((each.end for each in completed if each.cost <= cost), default=math.inf)


def log_error(accuracy: float) -> float:
    """Return the natural logarithm of the error of an accuracy; infinite for an accuracy that is not finite."""
    return math.log(max(LEAST_ERROR, 1 - accuracy)) if math.isfinite(accuracy) else math.inf

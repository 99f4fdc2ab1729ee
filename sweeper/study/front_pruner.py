"""Prunes the trials of a study with two objectives: those that can be expected neither on the front nor at the target."""

import math
from typing import Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.front import LEAST_ERROR
from sweeper.study.goal import Goal

EPOCHS: Final = "training.epochs"


class FrontPruner(optuna.pruners.BasePruner):
    """Prunes a trial that a completed one beats in cost, and would beat in accuracy even if the trial still gained much.

    What a trial may still gain is taken from the study: for every completed trial, by how much its error shrank from
    this epoch to its last, as a ratio. The trial gets the best but `spare` of these. Epochs of equal number are
    comparable under one schedule, so trials of another number of epochs do not count. Optuna cannot prune with several
    objectives, see issue 3450 of optuna; the shape of the rule is that of its percentile pruner.
    """

    def __init__(self, *, n_startup_trials: int = 5, n_warmup_steps: int = 1, spare: float = 0.1) -> None:
        """Prune from the epoch `n_warmup_steps` on, once `n_startup_trials` are completed.

        `spare` is the share of completed trials whose gain is taken for luck. Raises `ValueError` out of bounds.
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
            other
            for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if epoch in other.intermediate_values and other.params.get(EPOCHS) == trial.params.get(EPOCHS)
        ]
        if len(completed) < self._startup:
            return False
        gains = sorted(log_error(other.intermediate_values[epoch]) - log_error(other.values[0]) for other in completed)
        gain = gains[math.ceil((1 - self._spare) * len(gains)) - 1]
        expected = log_error(trial.intermediate_values[epoch]) - gain
        beating = [
            other.values[0]
            for other in completed
            if (other_cost := goal.cost_of(other)) is not None and other_cost <= cost
        ]
        if goal.smallest and goal.target is not None and any(goal.is_reached(other) for other in completed):
            beating.append(goal.target)
        return bool(beating) and expected > log_error(max(beating))


def log_error(accuracy: float) -> float:
    """Return the natural logarithm of the error of an accuracy; infinite for an accuracy that is not finite."""
    return math.log(max(LEAST_ERROR, 1 - accuracy)) if math.isfinite(accuracy) else math.inf

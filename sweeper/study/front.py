"""Which completed trials are on the front of accuracy against cost, and how much the front covers."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.attributes import DUPLICATE
from sweeper.study.goal import Goal

WORST_ERROR: Final = 1.0
"""Error of the hypervolume's reference point: no image is right. Below chance little is left of a logarithm."""
LEAST_ERROR: Final = 1e-5
"""An accuracy of 100 % counts as this error: a logarithm has no zero."""


def pareto_front(points: Sequence[tuple[int, float, int]], *, maximize: bool) -> list[tuple[int, float, int]]:
    """Return the Pareto front of the points (cost, value, trial number): lower cost, better value.

    It is in order of cost. Of equal points it has the one with the lowest number.
    """
    sign = -1 if maximize else 1
    front: list[tuple[int, float, int]] = []
    for point in sorted(points, key=lambda p: (p[0], sign * p[1], p[2])):
        if not front or sign * point[1] < sign * front[-1][1]:
            front.append(point)
    return front


def front_trials(trials: Iterable[FrozenTrial], goal: Goal) -> list[FrozenTrial]:
    """Return the completed trials that no other one beats in accuracy and cost, the cheapest first."""
    completed = {
        trial.number: (cost, trial)
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and DUPLICATE not in trial.user_attrs
        and (cost := goal.cost_of(trial)) is not None
    }
    points = [(cost, trial.values[0], number) for number, (cost, trial) in completed.items()]
    return [completed[number][1] for _, _, number in pareto_front(points, maximize=goal.maximize)]


def non_dominated(trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return the completed trials that no other one equals or beats in all values, and beats in one."""
    signs = [-1 if direction is StudyDirection.MAXIMIZE else 1 for direction in directions]
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    points = [tuple(sign * value for sign, value in zip(signs, t.values, strict=True)) for t in completed]
    return [
        trial
        for trial, point in zip(completed, points, strict=True)
        if not any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points)
    ]


def answer(trials: Iterable[FrozenTrial], goal: Goal) -> FrozenTrial | None:
    """Return the cheapest completed trial that reaches the target; None if none does."""
    return next((trial for trial in front_trials(trials, goal) if goal.is_reached(trial)), None)


def hypervolume(points: Iterable[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the area that points dominate up to a reference point, both coordinates to be minimized.

    The exact sweep of Fonseca, Paquete and López-Ibáñez (2006) for two dimensions.
    """
    area, low = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < low:
            area += (reference[0] - x) * (low - y)
            low = y
    return area


def log_hypervolume(trials: Iterable[FrozenTrial], goal: Goal, worst_cost: float) -> float:
    """Return the hypervolume of error and cost, both on decimal logarithms, up to `WORST_ERROR` and `worst_cost`.

    On logarithms, halving the error counts as much as halving the cost, wherever that is on the front.
    """
    points = (
        (math.log10(max(1, cost)), math.log10(max(LEAST_ERROR, 1 - trial.values[0])))
        for trial in trials
        if (cost := goal.cost_of(trial)) is not None
    )
    return hypervolume(points, (math.log10(max(1, worst_cost)), math.log10(WORST_ERROR)))


def worst_cost(trials: Iterable[FrozenTrial], goal: Goal) -> float:
    """Return the greatest cost of the completed trials, the reference point of a study without a budget; 1 of none."""
    costs = [goal.cost_of(trial) for trial in trials if trial.state is TrialState.COMPLETE]
    return max((cost for cost in costs if cost is not None), default=1)

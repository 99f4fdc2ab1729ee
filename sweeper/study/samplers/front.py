"""Proposes points near the front of a study with two objectives: trials on it, changed a little, between TPE's proposals."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.conditions import WIDTH
from sweeper.study.front import answer, front_trials
from sweeper.study.goal import Goal
from sweeper.study.samplers.moves import moved, nearest

SCALING: Final = 0.35
"""Standard deviation of the common factor of all widths, on a logarithmic scale."""


class FrontSampler(optuna.samplers.BaseSampler):
    """Changes a trial of the front, or asks TPE: local moves refine the front, TPE finds what is far from it.

    As in regularised evolution (Real et al. 2019) a parent is changed, not crossed; it is drawn uniformly from the
    whole front. Half of the changes multiply all widths by one factor, which moves along the front.
    """

    def __init__(self, *, seed: int | None = None, n_startup_trials: int = 5, local: float = 0.75) -> None:
        """Change trials of the front with probability `local`, once `n_startup_trials` are completed.

        Raises `ValueError` out of bounds.
        """
        if not 0 <= local <= 1 or n_startup_trials < 1:
            raise ValueError(
                f"local must be in [0, 1] and n_startup_trials at least 1, but got {local} and {n_startup_trials}"
            )
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._tpe = optuna.samplers.TPESampler(seed=seed)
        self._space = IntersectionSearchSpace()
        self._startup, self._local = n_startup_trials, local
        self._is_local = False

    def reseed_rng(self) -> None:
        """Draw other numbers: a resumed study would otherwise repeat its first proposals."""
        self._random.seed()
        self._tpe.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Prepare TPE."""
        self._tpe.before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Tell TPE."""
        self._tpe.after_trial(study, trial, state, values)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that all finished trials have; none if TPE proposes this trial."""
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._is_local = len(completed) >= self._startup and self._random.random() < self._local
        if not self._is_local:
            return self._tpe.infer_relative_search_space(study, trial)
        return {name: each for name, each in self._space.calculate(study).items() if not each.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a trial of the front, changed, or TPE's proposal."""
        if not self._is_local:
            return self._tpe.sample_relative(study, trial, search_space)
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self._changed(self._parent(completed, Goal.of(study)).params, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return TPE's value of one parameter."""
        return self._tpe.sample_independent(study, trial, param_name, param_distribution)

    def _parent(self, completed: list[FrozenTrial], goal: Goal) -> FrozenTrial:
        """Draw a trial of the front; in a search for the smallest network at the target the answer every other time."""
        best = answer(completed, goal) if goal.smallest else None
        if best is not None and self._random.random() < 0.5:
            return best
        front = front_trials(completed, goal)
        if best is not None:  # a larger network leads nowhere
            front = [trial for trial in front if not goal.is_reached(trial)][-2:] or [best]
        return self._random.choice(front)

    def _changed(self, params: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        point = {name: params[name] for name in space}
        if self._random.random() < 0.5:
            factor = math.exp(self._random.gauss(0, SCALING))
            point |= {
                name: nearest(space[name], value * factor) for name, value in point.items() if WIDTH.fullmatch(name)
            }
        for _ in range(1 + int(self._random.expovariate(1.0))):
            point = moved(point, space, self._random)
        return point

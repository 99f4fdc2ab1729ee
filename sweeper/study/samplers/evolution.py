"""Regularized evolution: each proposal is a recent good trial with one or two values moved."""

import random
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.space import contains
from sweeper.study.samplers.moves import moved


class EvolutionSampler(BaseSampler):
    """Regularized evolution (Real et al., *Regularized Evolution for Image Classifier Architecture Search*, 2019).

    Of the last `population_size` completed trials, `tournament_size` are drawn; the best of them is the parent, and the
    proposal is the parent with one or two values moved, see `sweeper.study.samplers.moves`. As in local search (White
    et al., *Local Search is State of the Art for NAS Benchmarks*, 2020), the best trial so far never dies of age. With
    two objectives the parent is drawn from the Pareto front.

    A trial's proposal depends on the seed, its number and the completed trials alone, so a resumed study goes on as it
    would have without the interruption.
    """

    def __init__(
        self,
        *,
        population_size: int = 20,
        tournament_size: int = 6,
        n_startup_trials: int = 2,
        two_moves: float = 0.5,
        seed: int | None = None,
    ) -> None:
        """Sample at random until `n_startup_trials` trials have completed. `two_moves` is the probability of a second
        move. Raises `ValueError` for a value out of bounds.
        """
        if not 1 <= tournament_size <= population_size:
            raise ValueError(
                f"tournament_size must be in [1, population_size], but got {tournament_size} of {population_size}"
            )
        if n_startup_trials < 1:
            raise ValueError(f"n_startup_trials must be at least 1, but got {n_startup_trials}")
        if not 0 <= two_moves <= 1:
            raise ValueError(f"two_moves must be in [0, 1], but got {two_moves}")
        self._population_size, self._tournament_size = population_size, tournament_size
        self._n_startup_trials, self._two_moves = n_startup_trials, two_moves
        self._seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self._draws: dict[int, int] = {}
        """How many proposals were made for the trial with this number: a second one for it is another one."""

    def infer_relative_search_space(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - of Optuna's contract
    ) -> dict[str, BaseDistribution]:
        """Return all distributions of completed trials, also those that only some trials have."""
        found: dict[str, BaseDistribution] = {}
        for completed in _completed(study):
            found.update(completed.distributions)
        return found

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a parent's values with one or two of them moved; empty until enough trials have completed."""
        completed = _completed(study)
        if len(completed) < self._n_startup_trials or not search_space:
            return {}
        draw = self._draws.get(trial.number, 0)
        self._draws = {trial.number: draw + 1}
        generator = random.Random(f"{self._seed} {trial.number} {draw}")  # noqa: S311 - no secret
        parent = self._parent(study, completed, generator)
        params = {name: parent.params[name] for name in search_space if name in parent.params}
        params = {name: value for name, value in params.items() if contains(search_space[name], value)}
        for _ in range(1 + (generator.random() < self._two_moves)):
            params = moved(params, search_space, generator)
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a random value: for the first trials, and for a name that the parent lacks."""
        sampler = RandomSampler(seed=random.Random(f"{self._seed} {trial.number} {param_name}").getrandbits(32))  # noqa: S311
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Do nothing: proposals differ by their trial's number."""

    def _parent(self, study: optuna.Study, completed: Sequence[FrozenTrial], generator: random.Random) -> FrozenTrial:
        if len(study.directions) > 1:
            return generator.choice(study.best_trials or list(completed))
        sign = 1 if study.direction == StudyDirection.MAXIMIZE else -1

        def fitness(trial: FrozenTrial) -> float:
            assert trial.value is not None
            return sign * trial.value

        best = max(completed, key=fitness)
        population = [trial for trial in completed[-self._population_size :] if trial is not best] + [best]
        drawn = generator.sample(population, min(self._tournament_size, len(population)))
        return max(drawn, key=fitness)


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    """Return the completed feasible trials in order of their numbers, the oldest first."""
    trials = [*getattr(study, "seeds", ()), *study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    return [trial for trial in trials if all(excess <= 0 for excess in trial.constraints.values())]

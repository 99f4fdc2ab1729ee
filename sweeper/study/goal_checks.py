"""Decides whether a sampler and a pruner can serve a study: its number of objectives, and its space."""

import optuna
from optuna.distributions import FloatDistribution

from sweeper.errors import StudyError
from sweeper.search.space import Space
from sweeper.study.front_pruner import FrontPruner
from sweeper.study.goal import Goal
from sweeper.study.samplers.evolution import EvolutionSampler
from sweeper.study.samplers.front import FrontSampler


def check_goal(goal: Goal, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner) -> None:
    """Raise `StudyError` for a sampler or pruner of another number of objectives."""
    is_nop, is_front = isinstance(pruner, optuna.pruners.NopPruner), isinstance(pruner, FrontPruner)
    if goal.others and not is_nop:
        raise StudyError(
            "Optuna's pruners take one value, but hydra.sweeper.direction has several: leave the pruner out"
        )
    if goal.others and isinstance(sampler, optuna.samplers.CmaEsSampler | EvolutionSampler):
        raise StudyError(
            "this sampler takes one value, but hydra.sweeper.direction has several: choose tpe, nsgaii or random"
        )
    if goal.cost is not None and not (is_nop or is_front):
        raise StudyError(
            "a search with hydra.sweeper.cost has two objectives, for which Optuna's pruners are not made: "
            "choose hydra/sweeper/pruner=front or none"
        )
    if goal.cost is not None and isinstance(sampler, optuna.samplers.CmaEsSampler):
        raise StudyError(
            "a search with hydra.sweeper.cost has two objectives, but CMA-ES takes one: "
            "choose hydra/sweeper/sampler=front, tpe or nsgaii"
        )
    for name, is_one in (("pruner", is_front), ("sampler", isinstance(sampler, FrontSampler))):
        if goal.cost is None and is_one:
            raise StudyError(
                f"hydra/sweeper/{name}=front needs two objectives: add hydra.sweeper.cost=parameters, "
                f"or choose another {name}"
            )


def check_space(space: Space, sampler: optuna.samplers.BaseSampler) -> None:
    """Raise `StudyError` for a space with too many points for a sampler that tries all of them."""
    if isinstance(sampler, optuna.samplers.BruteForceSampler):
        for key, distribution in space.distributions.items():
            if isinstance(distribution, FloatDistribution) and distribution.step is None:
                raise StudyError(
                    f"hydra/sweeper/sampler=brute_force tries every point, but {key} is an interval without a step: give "
                    "a list, or range(start,stop,step)"
                )

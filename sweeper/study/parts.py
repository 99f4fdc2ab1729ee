"""What a study needs beside its storage: goal, sampler, pruner, warm start; all of it checked before anything is written."""

from dataclasses import dataclass

import optuna
from omegaconf import DictConfig
from optuna.study import StudyDirection

from sweeper.errors import StudyError
from sweeper.search.definition import Search
from sweeper.search.options import StudyOptions
from sweeper.study.goal import Goal
from sweeper.study.goal_checks import check_goal, check_space
from sweeper.study.idle_options import check_options, typed_settings
from sweeper.study.sampler_and_pruner import make_pruner, make_sampler
from sweeper.study.samplers.feasible import FeasibleSampler
from sweeper.study.warm_start import ReadOther, WarmStart


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one study."""

    search: Search
    sampler: optuna.samplers.BaseSampler
    """As it is configured; see `feasible`."""
    pruner: optuna.pruners.BasePruner
    goal: Goal
    warm_start: WarmStart

    def check_new(self) -> None:
        """Raise `StudyError` for a study that would be in vain, before it is created, so that none is left."""
        self.warm_start.check()
        # A sampler that tries every point may find the only one that fits.
        if not isinstance(self.sampler, optuna.samplers.BruteForceSampler):
            self.search.check_any_fits()


def make_parts(search: Search, options: StudyOptions, config: DictConfig, read_other: ReadOther | None) -> Parts:
    """Return the parts that the sweep's config asks for. Raises `StudyError` for those that do not go together."""
    sampler = make_sampler(config.hydra.sweeper.sampler)
    pruner = make_pruner(config.hydra.sweeper.pruner)
    goal = make_goal(search, options)
    check_goal(goal, sampler, pruner)
    check_space(search.space, sampler)
    warm_start = WarmStart(search, goal, options.other_studies, read_other)
    check_options(search, typed_settings(config))
    return Parts(search=search, sampler=sampler, pruner=pruner, goal=goal, warm_start=warm_start)


def make_goal(search: Search, options: StudyOptions) -> Goal:
    """Return what a search optimizes. Raises `StudyError` for a target that it would not look at."""
    typed = next((line for line in search.space.fixed if line.startswith("target=")), None)
    if search.base is not None and options.direction == "minimize" and typed is not None:
        raise StudyError(
            f"a target is the accuracy to reach, but hydra.sweeper.direction=minimize looks for the lowest, and {typed} was "
            "given: leave one out"
        )
    direction, *others = (StudyDirection[each.upper()] for each in options.directions)
    if options.cost is None:
        return Goal(direction=direction, others=tuple(others))
    assert search.base is not None
    return Goal(direction=direction, cost=options.cost, target=search.base.target, smallest=options.smallest)


def feasible(sampler: optuna.samplers.BaseSampler, search: Search) -> optuna.samplers.BaseSampler:
    """Return the sampler without repeats, and with one objective repaired into the budget; a grid proposes nothing.

    What is repaired is another point: a sampler that tries every point would propose the first one again.
    """
    repair = search.repair
    if repair is None:
        return sampler
    if search.options.cost is not None or isinstance(sampler, optuna.samplers.BruteForceSampler):
        return FeasibleSampler(sampler, search.space, None, None)
    return FeasibleSampler(sampler, search.space, repair, search.anchor)

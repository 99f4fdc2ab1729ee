"""What a search does about its budget before it begins: the network it starts from, and whether any point can fit."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import optuna
from optuna.distributions import CategoricalDistribution

from sweeper.config.schema import Cost, ExperimentConf
from sweeper.design import image_facts
from sweeper.errors import ConfigError, StudyError
from sweeper.network.budget import COSTS
from sweeper.network.repair import narrow
from sweeper.search.conditions import WIDTH
from sweeper.search.feasibility import Feasibility, FeasibilityCheck
from sweeper.search.proposals import ProposalRepair
from sweeper.search.space import Params, Space

SAMPLES: Final = 200
"""Random points that are tried, unless one of them fits."""
SAMPLING_SECONDS: Final = 5.0
"""No further points are tried after so long."""


def within_budget(base: ExperimentConf, *, kept: frozenset[str] = frozenset()) -> ExperimentConf:
    """Return the config with a network narrowed into its budget, see `narrow`; the same one if it fits or nothing helps."""
    model = narrow(base.model, base.budget, image_facts(base), kept=kept)
    return base if model is None or model is base.model else replace(base, model=model)


def unsearched_widths(base: ExperimentConf, space: Space) -> frozenset[str]:
    """Return the override keys of the widths that a space does not vary."""
    widths = (
        f"model.groups.{name}.channels.{index}"
        for name, group in base.model.groups.items()
        for index in range(len(group.channels))
    )
    return frozenset(key for key in widths if key not in space.distributions)


def fixed_widths(space: Space) -> frozenset[str]:
    """Return the override keys of single widths that the command line fixes."""
    keys = (line.partition("=")[0].lstrip("+") for line in space.fixed)
    return frozenset(key for key in keys if WIDTH.fullmatch(key))


def any_fits(space: Space, repair: ProposalRepair) -> bool:
    """Whether one of some random points can be trained, as it is or repaired."""
    return any(repair.repair(point) is not None for point in _random_points(space))


def check_any_fits(space: Space, check: FeasibilityCheck, repair: ProposalRepair) -> None:
    """Raise `StudyError` unless one of some random points can be trained, as it is or repaired."""
    if any_fits(space, repair):
        return
    checked = [check.check(point) for point in _random_points(space)]
    sizes = {(one.design.summary.parameters, one.design.summary.macs) for one in checked if one.design is not None}
    if len(sizes) <= 1:  # the network is the same at every point
        raise StudyError(f"a search needs a point that can be trained, but no point can: {checked[0].reason}")
    cost = tightest(checked)
    least = min(getattr(one.design.summary, cost) for one in checked if one.design is not None)
    raise StudyError(
        f"a search needs a point within its budget, but the smallest of {len(checked)} random points has {least:,} "
        f"{dict(COSTS)[cost]}: {advice(cost)}"
    )


def tightest(checked: Sequence[Feasibility]) -> Cost:
    """Return the cost whose limit is furthest below that of the smallest network."""
    built = [one.constraints for one in checked if one.design is not None]
    excess = {cost: min(each.get(cost, -1.0) for each in built) for cost, _ in COSTS}
    return max(excess, key=lambda cost: excess[cost])


def advice(cost: Cost = "parameters") -> str:
    """Return what to do if no point is within the limit of a cost."""
    return f"raise budget.{cost}, or search narrower widths"


def check_one_network(space: Space, compose: Callable[[str], ExperimentConf]) -> None:
    """Raise `StudyError` if a swept value replaces the network whose widths are searched by one with other convolutions."""
    for key, distribution in space.distributions.items():
        if not isinstance(distribution, CategoricalDistribution) or not all(
            isinstance(c, str) for c in distribution.choices
        ):
            continue
        networks: set[tuple[tuple[str, int], ...]] = set()
        for choice in distribution.choices:
            with suppress(ConfigError):  # such a value rejects its own trials
                groups = compose(f"{key}={choice}").model.groups
                networks.add(
                    tuple(
                        (name, len(group.channels))
                        for name, group in groups.items()
                        if key != f"model.groups.{name}.channels"
                    )
                )
        if len(networks) > 1:
            raise StudyError(
                f"the widths of one network can be searched, but {key}={','.join(map(str, distribution.choices))} gives several: "
                "choose one, or make a search for each"
            )


def _random_points(space: Space) -> Iterator[Params]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    end = time.monotonic() + SAMPLING_SECONDS
    for number in range(SAMPLES):
        if number and time.monotonic() > end:
            return
        yield study.ask(space.distributions).params

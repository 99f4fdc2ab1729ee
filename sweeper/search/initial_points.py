"""Where a search starts: the composed network, and the same network repaired where its diagnosis objects."""

from dataclasses import replace
from typing import Final

from optuna.distributions import FloatDistribution, IntDistribution

from sweeper.config.schema import ExperimentConf
from sweeper.design import image_facts
from sweeper.network.repair import MODEL_WIDE, Bounds, repair
from sweeper.search.config_keys import value_at
from sweeper.search.space import Params, Space, contains

LR: Final = "optimizer.lr"


def initial_points(base: ExperimentConf, space: Space) -> tuple[Params, ...]:
    """Return the composed config as a point of the space, and the repaired network's points where there is one.

    The repaired network comes twice where the learning rate is searched, the second time at half the rate: repaired, the
    notebook's network reaches 99.1 % on average over seeds, and misses 99 % one time in four.

    Empty where the space does not contain the composed config. Raises `ConfigError` for a network that cannot be built.
    """
    start: Params = {key: value_at(base, key) for key in space.keys}
    if not all(contains(space.distributions[key], value) for key, value in start.items()):
        return ()
    model = repair(base.model, base.budget, bounds(space), image_facts(base))
    if model is None:
        return (start,)
    repaired: Params = {key: value_at(replace(base, model=model), key) for key in space.keys}
    rate = repaired.get(LR)
    if not isinstance(rate, float) or not contains(space.distributions[LR], rate / 2):
        return (start, repaired)
    return (start, repaired, {**repaired, LR: rate / 2})


def bounds(space: Space) -> Bounds:
    """Return how far the space lets a repair go: the ranges of its widths, the least of its dropout probabilities."""
    widths: dict[str, tuple[int, int]] = {}
    least_dropout: dict[str, float] = {}
    for key, distribution in space.distributions.items():
        match key.split("."):
            case ["model", "groups", group, "channels", index] if isinstance(distribution, IntDistribution):
                widths[f"{group}.{index}"] = (distribution.low, distribution.high)
            case ["model", "groups", group, "dropout"] if isinstance(distribution, FloatDistribution):
                least_dropout[group] = distribution.low
            case ["model", "dropout"] if isinstance(distribution, FloatDistribution):
                least_dropout[MODEL_WIDE] = distribution.low
    return Bounds(widths=widths, least_dropout=least_dropout)

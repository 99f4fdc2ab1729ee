"""Widths and first points of a search for a front: it needs networks of every size, also much smaller ones."""

from typing import Final

from optuna.distributions import BaseDistribution, IntDistribution

from sweeper.config.schema import ExperimentConf
from sweeper.network.plan import Plan
from sweeper.network.repair import width_bounds
from sweeper.search.conditions import WIDTH
from sweeper.search.initial_points import initial_points
from sweeper.search.space import Params, Space, Value, contains

FACTORS: Final = (0.7, 0.5, 0.35, 0.25)
"""Factors of the widths of the first points: parameters fall to about their squares."""


def front_widths(plan: Plan) -> dict[str, BaseDistribution]:
    """Return the distribution of each convolution's width by override key: from 1, on a logarithmic scale."""
    return {key: IntDistribution(1, high, log=True) for key, (_, high) in width_bounds(plan).items()}


def front_points(base: ExperimentConf, space: Space) -> tuple[Params, ...]:
    """Return the first points of an ordinary search, then its last one narrowed by each of `FACTORS`.

    Raises `ConfigError` as `initial_points` does.
    """
    points = initial_points(base, space)
    if not points:
        return ()
    widest = points[min(1, len(points) - 1)]  # the repaired network, if it needed a repair
    narrowed = [{key: _narrowed(key, value, factor) for key, value in widest.items()} for factor in FACTORS]
    found: list[Params] = []
    for point in (*points, *narrowed):
        if point not in found and all(contains(space.distributions[key], value) for key, value in point.items()):
            found.append(point)
    return tuple(found)


def _narrowed(key: str, value: Value, factor: float) -> Value:
    return max(1, int(value * factor)) if WIDTH.fullmatch(key) and isinstance(value, int) else value

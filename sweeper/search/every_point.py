"""Enumerates the points of a finite space, and decides whether all were tried."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.search.conditions import is_active
from sweeper.search.space import Params, Value

Point = frozenset[tuple[str, Value]]
"""A point, whatever the order of its keys."""


def point(params: Mapping[str, Value]) -> Point:
    """Return a point that can be compared."""
    return frozenset(params.items())


def are_all_tried(distributions: Mapping[str, BaseDistribution], tried: Collection[Point]) -> bool:
    """Whether every point of a space was tried; False for an infinite space. Stops at the first point that was not."""
    if any(isinstance(each, FloatDistribution) and each.step is None for each in distributions.values()):
        return False
    return bool(distributions) and all(point(params) in tried for params in every_point(distributions))


def every_point(distributions: Mapping[str, BaseDistribution]) -> Iterator[Params]:
    """Yield every point of a finite space once; a key that has no effect beside the others has no value.

    >>> list(every_point({"a": CategoricalDistribution([1, 2]), "b": IntDistribution(3, 4)}))[:2]
    [{'a': 1, 'b': 3}, {'a': 1, 'b': 4}]
    """
    yield from _continued({}, list(distributions.items()))


def _continued(params: Params, left: Sequence[tuple[str, BaseDistribution]]) -> Iterator[Params]:
    if not left:
        yield params
        return
    (key, distribution), *others = left
    if not is_active(key, params):
        yield from _continued(params, others)
        return
    for value in _values(distribution):
        yield from _continued({**params, key: value}, others)


def _values(distribution: BaseDistribution) -> Iterator[Value]:
    match distribution:
        case CategoricalDistribution():
            yield from distribution.choices
        case IntDistribution():
            yield from range(distribution.low, distribution.high + 1, distribution.step)
        case FloatDistribution():
            # In decimal, as Optuna does: 0.1 + 0.2 is not 0.3.
            low, high, step = (Decimal(str(each)) for each in (distribution.low, distribution.high, distribution.step))
            while low <= high:
                yield float(low)
                low += step

"""A small random change of a point: one kind of value, one step."""

import math
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

STEP: Final = 0.15
"""Standard deviation of a step, as a fraction of the range; of its logarithm where the distribution is logarithmic."""
FEW: Final = 8
"""A whole number with at most this many values moves to a neighbouring one."""


def moved(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], random: Random) -> dict[str, Any]:
    """Return the point with one value changed; the same point if none can be.

    Keys that differ only in a group's name or an index are of one kind, and each kind is equally likely: forty widths
    are not moved forty times as often as one learning rate.
    """
    kinds: dict[str, list[str]] = {}
    for key in params:
        if key in distributions and not distributions[key].single():
            kinds.setdefault(kind(key), []).append(key)
    if not kinds:
        return dict(params)
    key = random.choice(kinds[random.choice(sorted(kinds))])
    return {**params, key: _step(params[key], distributions[key], random)}


def kind(key: str) -> str:
    """Return what a key sets, without group and index.

    >>> kind("model.groups.block1.channels.0"), kind("model.dropout")
    ('channels', 'dropout')
    """
    parts = [part for part in key.split(".") if not part.isdigit()]
    return parts[-1]


def _step(value: Any, distribution: BaseDistribution, random: Random) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return random.choice([choice for choice in distribution.choices if choice != value])
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(distribution, IntDistribution) and (high - low) // distribution.step < FEW:
        neighbours = [value - distribution.step, value + distribution.step]
        return random.choice([other for other in neighbours if low <= other <= high])
    if distribution.log:
        new = value * math.exp(random.gauss(0, STEP * math.log(high / low)))
    else:
        new = value + random.gauss(0, STEP * (high - low))
    if step is not None:  # every whole number has a step
        steps = round((new - value) / step) or random.choice((-1, 1))
        new = value + steps * step
        if not low <= new <= high:
            new = value - steps * step if low <= value - steps * step <= high else low if steps < 0 else high
        return new
    return min(max(new, low), high)


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """Return the number of a distribution that is nearest to a number; of choices, only numbers count."""
    if isinstance(distribution, CategoricalDistribution):
        return min(
            (choice for choice in distribution.choices if isinstance(choice, int | float)),
            key=lambda choice: abs(choice - value),
        )
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    return type(distribution.low)(min(max(value, distribution.low), distribution.high))

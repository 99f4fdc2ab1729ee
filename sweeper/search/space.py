"""The search space: swept overrides and a preset's parameters as Optuna distributions, all other overrides as fixed."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from sweeper.errors import StudyError
from sweeper.network.plan import Plan
from sweeper.network.repair import width_bounds
from sweeper.search.quoting import quoted

MAX_POINTS: Final = 100_000
"""A grid's points are listed before the first trial; more would take minutes and gigabytes, and years to train."""
Value = str | int | float | bool | None
"""One parameter's value: a number or boolean, or the text of an override's value."""
Params = dict[str, Value]
"""A point of the space: values by override key."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """The parameters that vary from trial to trial, and the overrides that stay fixed."""

    distributions: dict[str, BaseDistribution]
    """By override key, ``+`` and ``@`` included."""
    template: tuple[str, ...]
    """A trial's overrides in command-line order: a swept key alone, or a whole fixed override."""
    grid: tuple[Params, ...] | None
    """All points, in the order of Hydra's basic sweeper; None if a range or preset makes the space a sampler's."""

    @property
    def fixed(self) -> tuple[str, ...]:
        """Overrides that all trials share."""
        return tuple(item for item in self.template if item not in self.distributions)

    @property
    def keys(self) -> list[str]:
        """The swept keys."""
        return list(self.distributions)


def parse(
    arguments: Sequence[str], params: Mapping[str, Any], parser: OverridesParser, *, searches_network: bool = False
) -> Space:
    """Read overrides and a preset's params; the command line's override of a key replaces the preset's.

    `searches_network` is whether keys of the network are searched too, so that lists are no grid.

    Raises `StudyError` for a value that cannot be swept, `ValueError` for an override that Hydra cannot parse.
    """
    preset = [f"{key}={value}" for key, value in params.items()]
    overrides: dict[str, Override] = {}
    on_command_line: set[str] = set()
    for number, override in enumerate(parser.parse_overrides([*preset, *arguments])):
        key = override.get_key_element().lstrip("+")
        if key in on_command_line and override.is_sweep_override() and overrides[key].is_sweep_override():
            raise StudyError(f"{key} must be swept once, but is swept twice: put all its values into one list")
        if number >= len(preset):
            on_command_line.add(key)
        overrides.pop(key, None)  # a repeated key moves to its last position
        overrides[key] = override
    swept = [override for override in overrides.values() if override.is_sweep_override()]
    for override in swept:
        if override.get_key_element().lstrip("+").startswith(("hydra.", "hydra/")):
            raise StudyError(f"Hydra's own settings cannot be swept, but got {override.input_line}")
    distributions = {override.get_key_element(): _distribution(override) for override in swept}
    is_grid = (
        not params
        and not searches_network
        and bool(swept)
        and not any(override.is_interval_sweep() for override in swept)
    )
    if is_grid and (points := math.prod(map(_size, distributions.values()))) > MAX_POINTS:
        raise _too_many(f"this one has {points:,}")
    return Space(
        distributions=distributions,
        template=tuple(
            override.get_key_element() if override.is_sweep_override() else _line(override)
            for override in overrides.values()
        ),
        grid=tuple(_grid(swept)) if is_grid else None,
    )


def width_distributions(plan: Plan) -> dict[str, BaseDistribution]:
    """Return the distribution of each convolution's width, in channels, by override key; see `width_bounds`."""
    return {key: IntDistribution(low, high) for key, (low, high) in width_bounds(plan).items()}


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Whether the distribution contains the value. Choices that are not numbers are the text Hydra writes for them."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low <= value <= distribution.high


def as_integers(key: str, distribution: BaseDistribution) -> BaseDistribution:
    """Return the distribution, with the float range that ``interval`` gave an integer key turned into an integer range.

    Raises `StudyError` if its bounds are not integers.
    """
    if not isinstance(distribution, FloatDistribution):
        return distribution
    if not (distribution.low.is_integer() and distribution.high.is_integer()):
        raise StudyError(
            f"{key} takes whole numbers, but got an interval from {distribution.low} to {distribution.high}: "
            "give whole bounds"
        )
    return IntDistribution(int(distribution.low), int(distribution.high), log=distribution.log)


def as_overrides(space: Space, params: Mapping[str, Value]) -> list[str]:
    """Return a trial's overrides, in command-line order; a key that does not exist for its values is left out."""
    return [
        f"{item}={to_override(params[item])}" if item in params else item
        for item in space.template
        if item in params or item not in space.distributions
    ]


def first_point(space: Space) -> Params:
    """Return the first point of a grid; otherwise the lower bound of each range and the first of each list."""
    if space.grid:
        return space.grid[0]
    return {
        key: each.choices[0] if isinstance(each, CategoricalDistribution) else each.low  # type: ignore[attr-defined]
        for key, each in space.distributions.items()
    }


def search_record(
    space: Space,
    base: dict[str, Any],
    goal: Mapping[str, Any] | None = None,
    application: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of `search.yaml`: space, fixed overrides, base config, what else is given, and a hash of all."""
    record: dict[str, Any] = {
        "space": {key: json.loads(distribution_to_json(d)) for key, d in space.distributions.items()},
        "fixed": list(space.fixed),
        "base": base,
        **({"goal": dict(goal)} if goal else {}),
        **({"application": dict(application)} if application else {}),
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    return {**record, "sha256": digest}


def read_space(saved_search: Any) -> dict[str, BaseDistribution]:
    """Return the distributions that `search_record` saved; empty for a damaged record."""
    try:
        return {key: json_to_distribution(json.dumps(saved)) for key, saved in saved_search["space"].items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def describe(distribution: BaseDistribution) -> str:
    """Return a range or a list of choices as readable text.

    >>> describe(FloatDistribution(0.003, 0.5, log=True))
    '0.003 to 0.5, logarithmic'
    """
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(str(choice) for choice in distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = "" if distribution.step in {None, 1} else f", in steps of {distribution.step:g}"
    log = ", logarithmic" if distribution.log else ""
    whole = "whole numbers, " if isinstance(distribution, IntDistribution) else ""
    return f"{whole}{distribution.low:g} to {distribution.high:g}{step}{log}"


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _distribution(override: Override) -> BaseDistribution:
    """Return a swept value as an Optuna distribution. Intervals and integer ranges become the same distributions as in
    hydra-optuna-sweeper. Raises `StudyError`.
    """
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(override, value)
    if isinstance(value, RangeSweep) and not value.shuffle and not value.transformers:
        numbers = value.range()
        # A range of fractions stays a list of choices: binary numbers may not hit its step exactly.
        if isinstance(numbers, range) and numbers:
            return IntDistribution(min(numbers), max(numbers), step=abs(numbers.step))
    choices = list(itertools.islice(_values(override), MAX_POINTS + 1))
    if not choices:
        raise StudyError(f"{override.input_line} must list at least one value, but it has none")
    if len(choices) > MAX_POINTS:
        raise _too_many(f"{override.input_line} has more")
    return CategoricalDistribution(choices)


def _interval(override: Override, interval: IntervalSweep) -> BaseDistribution:
    low, high, log = interval.start, interval.end, "log" in interval.tags
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise StudyError(f"an interval must have finite bounds, but got {override.input_line}: give two numbers")
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    except (ValueError, OverflowError) as error:
        raise StudyError(f"{override.input_line} is not a range that can be searched: {error}") from error


def _values(override: Override) -> Iterator[Value]:
    """Yield each distinct value of a sweep over a list: numbers and booleans as such, all others as Hydra's text."""
    seen = set()
    for plain in override.sweep_iterator(transformer=Transformer.identity):
        value = quoted(plain) if isinstance(plain, str) else Transformer.encode(plain)
        if (type(value), value) not in seen:  # True == 1, but they are two values
            seen.add((type(value), value))
            assert isinstance(value, str | int | float | bool)
            yield value


def _size(distribution: BaseDistribution) -> int:
    """Return the number of values of a list of choices or of a range of whole numbers."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    assert isinstance(distribution, IntDistribution)
    return (distribution.high - distribution.low) // distribution.step + 1


def _too_many(found: str) -> StudyError:
    return StudyError(
        f"a list or grid must have at most {MAX_POINTS:,} points, but {found}: have points proposed from a range, as in "
        "seed=interval(1,1000000)"
    )


def _grid(swept: Sequence[Override]) -> Iterator[Params]:
    keys = [override.get_key_element() for override in swept]
    for values in itertools.product(*(list(_values(override)) for override in swept)):
        yield dict(zip(keys, values, strict=True))


def to_override(value: Value) -> str:
    """Return a value as the text after an override's ``=``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)

"""What is searched: the swept overrides and presets as Optuna distributions, the rest as fixed overrides."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from sweeper.errors import StudyError
from sweeper.network.plan import Conv, Plan

Value = str | int | float | bool | None
Params = dict[str, Value]

WIDTH_REACH: Final = 12
"""A width may be searched up to this many channels, though twice its own be fewer: a bottleneck has to be able to go."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What varies from trial to trial, and what does not."""

    distributions: dict[str, BaseDistribution]
    """By override key, ``+`` and ``@`` included."""
    template: tuple[str, ...]
    """What a trial's overrides are, in the order they were typed: a swept key, or a whole fixed override."""
    grid: tuple[Params, ...] | None
    """All points, in the order Hydra's basic sweeper has them, when every swept value is listed; else None."""

    @property
    def fixed(self) -> tuple[str, ...]:
        """Overrides that every trial has."""
        return tuple(item for item in self.template if item not in self.distributions)

    @property
    def keys(self) -> list[str]:
        """The swept keys."""
        return list(self.distributions)


def parse(arguments: Sequence[str], params: Mapping[str, Any], parser: OverridesParser) -> Space:
    """Read overrides and a preset's params; what is typed wins over the preset.

    Raises `StudyError` for a value that cannot be swept.
    """
    preset = [f"{key}={value}" for key, value in params.items()]
    overrides: dict[str, Override] = {}
    typed: set[str] = set()
    for number, override in enumerate(parser.parse_overrides([*preset, *arguments])):
        key = override.get_key_element().lstrip("+")
        if key in typed and override.is_sweep_override() and overrides[key].is_sweep_override():
            raise StudyError(f"{key} must be swept once, but is swept twice: put all its values into one list")
        if number >= len(preset):
            typed.add(key)
        overrides.pop(key, None)  # so that the last one also stands last
        overrides[key] = override
    swept = [override for override in overrides.values() if override.is_sweep_override()]
    for override in swept:
        if override.get_key_element().lstrip("+").startswith(("hydra.", "hydra/")):
            raise StudyError(f"Hydra's own settings cannot be swept, but got {override.input_line}")
    distributions = {override.get_key_element(): _distribution(override) for override in swept}
    listed = not params and bool(swept) and not any(override.is_interval_sweep() for override in swept)
    return Space(
        distributions=distributions,
        template=tuple(
            override.get_key_element() if override.is_sweep_override() else _line(override)
            for override in overrides.values()
        ),
        grid=tuple(_grid(swept)) if listed else None,
    )


def width_distributions(plan: Plan) -> dict[str, BaseDistribution]:
    """Return one distribution per convolution's width: from half of it to twice, and up to `WIDTH_REACH` at least."""
    return {
        width_key(layer): IntDistribution(
            max(1, layer.out_channels // 2), max(2 * layer.out_channels, WIDTH_REACH), log=False
        )
        for layer in plan.layers
        if isinstance(layer, Conv)
    }


def width_key(layer: Conv) -> str:
    """Return the override key of a convolution's width."""
    return f"model.groups.{layer.group}.channels.{layer.name.rpartition('.')[2]}"


def contains(distribution: BaseDistribution, value: object) -> bool:
    """Whether a value can be a trial's, of a distribution whose choices are values as Hydra writes them."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return distribution.low <= value <= distribution.high


def as_integers(key: str, distribution: BaseDistribution) -> BaseDistribution:
    """Return a range of whole numbers for a range that Hydra's ``interval`` made one of fractions.

    Raises `StudyError` for bounds that are fractions.
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
    """Return a trial's overrides, in the order they were typed."""
    return [f"{item}={to_override(params[item])}" if item in space.distributions else item for item in space.template]


def search_record(space: Space, base: dict[str, Any]) -> dict[str, Any]:
    """Return what `search.yaml` holds: space, fixed overrides, base config and a hash of all three."""
    described: dict[str, Any] = {
        "space": {key: json.loads(distribution_to_json(d)) for key, d in space.distributions.items()},
        "fixed": list(space.fixed),
        "base": base,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return {**described, "sha256": digest}


def read_space(described: Any) -> dict[str, BaseDistribution]:
    """Return what `describe` wrote as varying; nothing for what is damaged."""
    try:
        return {key: json_to_distribution(json.dumps(saved)) for key, saved in described["space"].items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def describe(distribution: BaseDistribution) -> str:
    """Return a range or choice as a person would say it.

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
    if override.is_interval_sweep():
        try:
            distribution = create_optuna_distribution_from_override(override)
        except ValueError as error:
            raise StudyError(f"{override.input_line} is no range that can be searched: {error}") from error
        assert isinstance(distribution, BaseDistribution)
        return distribution
    choices = list(_values(override))
    if not choices:
        raise StudyError(f"{override.input_line} must list at least one value, but it has none")
    if all(isinstance(c, int) and not isinstance(c, bool) for c in choices) and override.is_range_sweep():
        ordered = create_optuna_distribution_from_override(override)
        assert isinstance(ordered, BaseDistribution)
        return ordered
    return CategoricalDistribution(choices)


def _values(override: Override) -> Iterator[Value]:
    """Every value of a listed sweep, once, numbers as numbers and all else as Hydra writes it."""
    seen = set()
    for value in override.sweep_iterator(transformer=Transformer.encode):
        if (type(value), value) not in seen:  # True == 1, but they are two values
            seen.add((type(value), value))
            assert isinstance(value, str | int | float | bool)
            yield value


def _grid(swept: Sequence[Override]) -> Iterator[Params]:
    keys = [override.get_key_element() for override in swept]
    for values in itertools.product(*(list(_values(override)) for override in swept)):
        yield dict(zip(keys, values, strict=True))


def to_override(value: Value) -> str:
    """Return a value as an override has it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)

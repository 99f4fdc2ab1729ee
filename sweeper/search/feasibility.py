"""Whether a proposal may be trained, and which finished trial it repeats: from the plan alone, before any launch."""

import copy
import functools
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args, get_type_hints

from sweeper.config.schema import ExperimentConf, LoggingConf
from sweeper.design import Design, analyze
from sweeper.errors import CompositionError, ConfigError
from sweeper.network.budget import COSTS, check_budget
from sweeper.search.space import Params, Space, Value, to_override

Composer = Callable[[Sequence[str]], ExperimentConf]


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """What the plan says of a proposal."""

    constraints: dict[str, float]
    """By constraint, how far past its limit it is, as a share of the limit: above 0 breaks it."""
    reason: str | None
    """Why it is rejected, one line; None for one that may be trained."""
    rule: str | None
    """Which rule rejected it, for counting: ``over budget`` or ``cannot be built``."""
    design: Design | None
    """The network on paper, where it can be built."""
    fingerprint: str | None
    """Equal for two proposals that resolve to one config."""


UNCHECKED: Final = Feasibility(constraints={}, reason=None, rule=None, design=None, fingerprint=None)
"""Of a proposal of which nothing is known."""


class FeasibilityCheck:
    """Judges proposals of one space; `compose` turns overrides into a checked config."""

    def __init__(self, space: Space, compose: Composer) -> None:
        """FeasibilityCheck for that space, its fixed overrides composed by `compose`."""
        self._space = space
        # A number within the config is set on the typed config, in microseconds. Whatever else varies (an option of a
        # group, a list, an added key) goes through Hydra, 50 ms, once for each combination.
        self._composed = functools.lru_cache(maxsize=1024)(compose)

    def check(self, params: Params) -> Feasibility:
        """Say whether a proposal may be trained. `CompositionError` is raised: no other proposal mends it."""
        design: Design | None = None
        try:
            conf = self.configure(params)
            design = analyze(conf)
            check_budget(conf.model, design.plan, design.summary, conf.budget)
        except ConfigError as error:
            if isinstance(error, CompositionError):
                raise
            return Feasibility(
                constraints={"buildable": 1.0} if design is None else _constraints(conf, design),
                reason=str(error),
                rule="cannot be built" if design is None else "over budget",
                design=design,
                fingerprint=None,
            )
        return Feasibility(
            constraints=_constraints(conf, design), reason=None, rule=None, design=design, fingerprint=fingerprint(conf)
        )

    def configure(self, params: Mapping[str, Value]) -> ExperimentConf:
        """Return the proposal's config. Raises `ConfigError` for one that breaks a bound."""
        try:
            base = self._composed(self._space.fixed)
        except CompositionError:
            raise
        except ConfigError:
            numbers: Params = {}  # the fixed overrides alone may lack what every proposal has
        else:
            numbers = {
                key: value
                for key, value in params.items()
                if _is_number_in(base, key, value) and not self._is_replaced(key)
            }
        overrides = tuple(
            f"{item}={to_override(params[item])}" if item in params else item
            for item in self._space.template
            if item not in numbers and (item in params or item not in self._space.distributions)
        )
        conf = copy.deepcopy(self._composed(overrides))
        for key, value in numbers.items():
            _set(conf, key, value)
        return conf

    def _is_replaced(self, key: str) -> bool:
        """Whether an override after it sets what a key stands in: then Hydra has to say what comes out."""
        later = self._space.template[self._space.template.index(key) + 1 :]
        names = (item.partition("=")[0].lstrip("+~") for item in later)
        return any("." in name and key.startswith(f"{name}.") for name in names)


def fingerprint(conf: ExperimentConf) -> str:
    """Return a checksum of all that changes what is trained: what only judges or watches is left out."""
    unjudged = copy.copy(conf)
    unjudged.target, unjudged.logging = 1.0, LoggingConf()
    return hashlib.sha256(repr(unjudged).encode()).hexdigest()


def takes_integers(conf: ExperimentConf, key: str) -> bool:
    """Whether a key is a number of the typed config that has to be whole."""
    return _is_number_in(conf, key, 1) and not _is_number_in(conf, key, 1.5)


def value_at(conf: ExperimentConf, key: str) -> Value:
    """Return the number or word that a config has at a key; None where it has none."""
    try:
        value = _get(*_owner(conf, key.lstrip("+")))
    except (AttributeError, KeyError, IndexError, ValueError):
        return None
    return value if isinstance(value, str | int | float | bool) else None


def _constraints(conf: ExperimentConf, design: Design) -> dict[str, float]:
    limits: dict[str, int | None] = {cost: getattr(conf.budget, cost) for cost, _ in COSTS}
    over = {cost: getattr(design.summary, cost) / limit - 1 for cost, limit in limits.items() if limit is not None}
    return {"buildable": -1.0, **over}


def _is_number_in(conf: ExperimentConf, key: str, value: Value) -> bool:
    """Whether a key is a number of the typed config, and the value one it can take."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        owner, name = _owner(conf, key)
        _get(owner, name)
    except (AttributeError, KeyError, IndexError, ValueError):
        return False
    kinds = {int} if isinstance(owner, list) else _kinds(type(owner), name)  # type: ignore[arg-type]  # a class is hashable
    return float in kinds or (int in kinds and isinstance(value, int))


@functools.cache
def _kinds(owner: Hashable, name: str) -> set[type]:
    """The types a field of a dataclass may have."""
    hint = get_type_hints(owner).get(name)
    return {hint} if isinstance(hint, type) else set(get_args(hint))


def _owner(conf: Any, key: str) -> tuple[Any, str]:
    """Return the object that a dotted key's last part belongs to, and that part."""
    *path, name = key.split(".")
    for part in path:
        conf = _get(conf, part)
    return conf, name


def _get(owner: Any, name: str) -> Any:
    if isinstance(owner, dict):
        return owner[name]
    return owner[int(name)] if isinstance(owner, list) else getattr(owner, name)


def _set(conf: ExperimentConf, key: str, value: Value) -> None:
    """Set a number, and check the bounds of the part of the config it stands in."""
    owner, name = _owner(conf, key)
    path = key.rpartition(".")[0]
    if isinstance(owner, list):
        owner[int(name)] = value
        owner, path = _owner(conf, path)[0], path.rpartition(".")[0]
    else:
        setattr(owner, name, float(value) if float in _kinds(type(owner), name) else value)  # type: ignore[arg-type]
    try:
        owner.__post_init__()
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}" if path else str(error)) from error

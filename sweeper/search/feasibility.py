"""Whether a proposal may be trained, and which config it resolves to: from the plan alone, before any job starts."""

import copy
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sweeper.config.schema import ExperimentConf, LoggingConf
from sweeper.design import Design, analyze
from sweeper.errors import CompositionError, ConfigError
from sweeper.network.budget import COSTS, check_budget
from sweeper.search.config_keys import is_number_in, set_number
from sweeper.search.space import Params, Space, Value, to_override

Composer = Callable[[Sequence[str]], ExperimentConf]


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """What the plan says about a proposal."""

    constraints: dict[str, float]
    """By name, the relative excess over the limit: above 0 is infeasible, as Optuna has it."""
    reason: str | None
    """Why it is rejected, one line; None for a feasible one."""
    rule: str | None
    """Which rule rejects it, for counting: ``over budget`` or ``cannot be built``."""
    design: Design | None
    """The network without weights; None for one that cannot be built."""
    fingerprint: str | None
    """Equal for two proposals that resolve to the same config."""


UNCHECKED: Final = Feasibility(constraints={}, reason=None, rule=None, design=None, fingerprint=None)
"""A proposal of another Hydra application, about which nothing is known."""


class FeasibilityCheck:
    """Checks the proposals of one space."""

    def __init__(self, space: Space, compose: Composer) -> None:
        """Check proposals of that space; `compose` turns overrides into a validated config."""
        self._space = space
        # A number in the config is set on the typed config, in microseconds. Everything else that varies (an option of
        # a group, a list, an added key) is composed by Hydra, 50 ms, once for each combination.
        self._composed = functools.lru_cache(maxsize=1024)(compose)

    def check(self, params: Params) -> Feasibility:
        """Return whether a proposal may be trained. Raises `CompositionError`, which every other proposal would too."""
        design: Design | None = None
        try:
            conf = self.configure(params)
            design = analyze(conf)
            check_budget(conf.model, design.plan, design.summary, conf.budget)
        except CompositionError:
            raise
        except ConfigError as error:
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
        """Return the proposal's config. Raises `ConfigError` for a value out of bounds."""
        try:
            base = self._composed(self._space.fixed)
        except CompositionError:
            raise
        except ConfigError:
            numbers: Params = {}  # the fixed overrides alone may lack a key that every proposal sets
        else:
            numbers = {
                key: value
                for key, value in params.items()
                if is_number_in(base, key, value) and not self._is_replaced(key)
            }
        overrides = tuple(
            f"{item}={to_override(params[item])}" if item in params else item
            for item in self._space.template
            if item not in numbers and (item in params or item not in self._space.distributions)
        )
        conf = copy.deepcopy(self._composed(overrides))
        for key, value in numbers.items():
            set_number(conf, key, value)
        return conf

    def _is_replaced(self, key: str) -> bool:
        """Whether a later override replaces a parent of the key: then Hydra must compose the result."""
        later = self._space.template[self._space.template.index(key) + 1 :]
        names = (item.partition("=")[0].lstrip("+~") for item in later)
        return any("." in name and key.startswith(f"{name}.") for name in names)


def fingerprint(conf: ExperimentConf) -> str:
    """Return a checksum of everything that changes the training; target and loggers are left out."""
    trained = copy.copy(conf)
    trained.target, trained.logging = 1.0, LoggingConf()
    return hashlib.sha256(repr(trained).encode()).hexdigest()


def _constraints(conf: ExperimentConf, design: Design) -> dict[str, float]:
    limits: dict[str, int | None] = {cost: getattr(conf.budget, cost) for cost, _ in COSTS}
    over = {cost: getattr(design.summary, cost) / limit - 1 for cost, limit in limits.items() if limit is not None}
    return {"buildable": -1.0, **over}

"""The feasibility check of a proposal, the values a sampler suggests for a trial. It needs only the network's plan."""

import copy
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sweeper.config.idle import without_idle
from sweeper.config.loading import check_disabled
from sweeper.config.schema import ExperimentConf, LoggingConf
from sweeper.design import Design, analyze, check_images
from sweeper.errors import CompositionError, ConfigError
from sweeper.network.budget import COSTS, check_budget
from sweeper.search.config_keys import can_be_set, set_neutral, set_value
from sweeper.search.space import Params, Space, Value, to_override

Composer = Callable[[Sequence[str]], ExperimentConf]


@dataclass(frozen=True, kw_only=True)
class Feasibility:
    """The result of checking a proposal."""

    constraints: dict[str, float]
    """Relative excess over each limit, by name. As in Optuna, a value above 0 is infeasible."""
    reason: str | None
    """The reason for its rejection, one line; None if it is feasible."""
    rule: str | None
    """The kind of rejection, for counting: ``over budget`` or ``cannot be built``; None if it is feasible."""
    design: Design | None
    """The network without weights; None if it cannot be built."""
    fingerprint: str | None
    """Equal for two proposals that resolve to the same config; None if it is infeasible."""


UNCHECKED: Final = Feasibility(constraints={}, reason=None, rule=None, design=None, fingerprint=None)
"""The result for another Hydra application, whose proposals cannot be checked."""


class FeasibilityCheck:
    """Checks proposals of one search space, without building a network."""

    def __init__(self, space: Space, compose: Composer) -> None:
        """Check proposals of `space`; `compose` turns overrides into a validated config."""
        self._space = space
        # Numbers, and options of the network, are set on the typed config, which takes microseconds. Everything else that
        # varies (an option of a config group, a list, an added key) is composed by Hydra, which takes 50 ms, once for
        # each combination.
        self._composed = functools.lru_cache(maxsize=1024)(compose)

    def check(self, params: Params) -> Feasibility:
        """Check a proposal. Raises `CompositionError` if Hydra cannot compose it: the whole sweep is wrong."""
        design: Design | None = None
        try:
            conf = self.configure(params)
            check_images(conf)
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
        """Return the proposal's config. Raises `ConfigError` if a value is out of bounds or cannot be composed."""
        try:
            base = self._composed(self._space.fixed)
        except CompositionError:
            raise
        except ConfigError:
            given: Params = {}  # the fixed overrides may be valid only together with a key that every proposal sets
        else:
            given = {
                key: value
                for key, value in params.items()
                if can_be_set(base, key.removeprefix("++"), value) and not self._is_replaced(key)
            }
        overrides = tuple(
            f"{item}={to_override(params[item])}" if item in params else item
            for item in self._space.template
            if item not in given and (item in params or item not in self._space.distributions)
        )
        conf = copy.deepcopy(self._composed(overrides))
        for key, value in given.items():
            set_value(conf, key.removeprefix("++"), value)  # the key exists, so that ++ is no different
        if given:
            conf.model.__post_init__()  # some of its rules are about several groups
            check_disabled(conf)  # a trial's own check
        return conf

    def _is_replaced(self, key: str) -> bool:
        """Whether a later override replaces a parent of the key, so that Hydra must compose the result."""
        later = self._space.template[self._space.template.index(key) + 1 :]
        names = (item.partition("=")[0].lstrip("+~") for item in later)
        return any("." in name and key.removeprefix("++").startswith(f"{name}.") for name in names)


def fingerprint(conf: ExperimentConf) -> str:
    """Return the SHA-256 of all config values that affect training, which excludes the target and the loggers."""
    trained = copy.copy(conf)
    idle = without_idle(conf)
    if idle:
        trained = copy.deepcopy(conf)
        for key, value in idle.items():
            set_neutral(trained, key, value)
    trained.target, trained.logging = 1.0, LoggingConf()
    # Without a limit of time, the hash is that of earlier versions.
    timeout = "" if conf.training.timeout is None else f" timeout={conf.training.timeout:g}"
    return hashlib.sha256(f"{trained!r}{timeout}".encode()).hexdigest()


def _constraints(conf: ExperimentConf, design: Design) -> dict[str, float]:
    limits: dict[str, int | None] = {cost: getattr(conf.budget, cost) for cost, _ in COSTS}
    over = {cost: getattr(design.summary, cost) / limit - 1 for cost, limit in limits.items() if limit is not None}
    return {"buildable": -1.0, **over}

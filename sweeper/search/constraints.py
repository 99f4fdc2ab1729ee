"""Constraints of another Hydra application: functions of a job's config, which its own Python code names."""

from collections.abc import Callable, Sequence
from typing import Final

from omegaconf import DictConfig, open_dict

from sweeper.errors import StudyError
from sweeper.search.feasibility import Feasibility
from sweeper.search.space import Params, Space, as_overrides

Constraint = Callable[[DictConfig], float]
"""Returns a number above 0 for a config that must not run, as Optuna's constraints do."""
_CONSTRAINTS: Final[dict[str, Constraint]] = {}


def add_constraint(function: Constraint) -> None:
    """Check the jobs of every later search of this process with `function`, by its name."""
    _CONSTRAINTS[function.__name__] = function


def constraints() -> dict[str, Constraint]:
    """Return the constraints by name."""
    return dict(_CONSTRAINTS)


class ConstraintCheck:
    """Checks proposals of another application's search."""

    def __init__(self, space: Space, compose: Callable[[Sequence[str]], DictConfig]) -> None:
        """Check proposals of `space`; `compose` returns the config of a job with these overrides."""
        self._space, self._compose = space, compose

    def check(self, params: Params) -> Feasibility:
        """Check a proposal. Raises `StudyError` if a constraint fails, or returns no number."""
        config = self._compose(as_overrides(self._space, params))
        with open_dict(config):
            config.pop("hydra", None)
        values = {name: _value(name, function, config) for name, function in constraints().items()}
        broken = next((name for name, value in values.items() if value > 0), None)
        return Feasibility(
            constraints=values,
            reason=None if broken is None else f"constraint {broken} must be at most 0, but is {values[broken]:g}",
            rule=None if broken is None else f"constraint {broken}",
            design=None,
            fingerprint=None,
        )


def _value(name: str, function: Constraint, config: DictConfig) -> float:
    try:
        return float(function(config))
    except Exception as error:  # a function of the application may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StudyError(f"constraint {name} must return a number, but failed with {reason}: correct it") from error

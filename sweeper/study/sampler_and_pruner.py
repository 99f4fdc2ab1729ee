"""Creates the configured sampler and pruner: only Optuna's classes and our own, never other code that a config names."""

import inspect
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import optuna
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from sweeper.errors import StudyError

SAMPLERS: Final = (
    "optuna.samplers.*",
    # hydra-optuna-sweeper's options nsgaii and nsgaiii, which other applications have.
    "hydra_plugins.hydra_optuna_sweeper._impl.create_nsgaii_sampler",
    "hydra_plugins.hydra_optuna_sweeper._impl.create_nsgaiii_sampler",
    "sweeper.study.samplers.cmaes.CmaEsSampler",
    "sweeper.study.samplers.front.FrontSampler",
    "sweeper.study.samplers.evolution.EvolutionSampler",
)
OURS: Final = {"optuna.samplers.CmaEsSampler": "sweeper.study.samplers.cmaes.CmaEsSampler"}
"""Classes that stand in for Optuna's."""
PRUNERS: Final = ("optuna.pruners.*", "sweeper.study.front_pruner.FrontPruner")
"""Patterns of the only targets that these configs may name."""


KINDS: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "bool": ("true or false", (bool,)),
    "str": ("text", (str,)),
    "None": ("null", (type(None),)),
}
"""By a parameter's annotation: what messages call its type, and the types that it takes."""


def make_sampler(config: DictConfig) -> optuna.samplers.BaseSampler:
    """Create the configured sampler. Raises `StudyError` for another target, or arguments that Optuna refuses."""
    sampler = _make(config, SAMPLERS, "sampler")
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise StudyError(
            f"hydra/sweeper/sampler must be a sampler that proposes points, but {config.get('_target_')} is not: "
            "for every point once choose brute_force"
        )
    return sampler


def make_pruner(config: DictConfig) -> optuna.pruners.BasePruner:
    """Create the configured pruner. Raises `StudyError` for another target, or arguments that Optuna refuses."""
    pruner = _make(config, PRUNERS, "pruner")
    assert isinstance(pruner, optuna.pruners.BasePruner)
    return pruner


def _make(config: DictConfig, allowed: tuple[str, ...], name: str) -> object:
    if not isinstance(config, Mapping):
        got = "null" if config is None else config
        raise StudyError(
            f"hydra.sweeper.{name} must be a config, but got {got}: choose one with hydra/sweeper/{name}=NAME"
        )
    with warnings.catch_warnings():
        # Some of the classes in conf/ are marked experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            _check_types(config, allowed, f"hydra.sweeper.{name}")
            return instantiate(_with_ours(config), _execution_whitelist_=allowed)
        except StudyError:
            raise
        except Exception as error:  # each of Optuna's classes checks its arguments in its own way
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise StudyError(
                f"hydra.sweeper.{name} must be a config that {config.get('_target_')} accepts, but it is not: {reason}"
            ) from error


def _with_ours(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _with_ours(value)
        if isinstance(value, Mapping)
        else OURS.get(value, value)
        if key == "_target_" and isinstance(value, str)
        else value
        for key, value in config.items()
    }


def _check_types(config: Mapping[str, Any], allowed: tuple[str, ...], where: str) -> None:
    """Raise `StudyError` for an argument of another type than its class declares: Python would fail later, or never."""
    target = str(config.get("_target_"))
    if not any(fnmatchcase(target, pattern) for pattern in allowed):
        return  # refused by the caller
    parameters = inspect.signature(get_object(target)).parameters
    for name, value in config.items():
        key = f"{where}.{name}"
        if isinstance(value, Mapping):
            _check_types(value, allowed, key)
        elif name in parameters:
            annotation = parameters[name].annotation  # text, in modules that postpone annotations
            declared = annotation.__name__ if isinstance(annotation, type) else str(annotation)
            kinds = [KINDS.get(part.strip()) for part in declared.split("|")]
            known = [kind for kind in kinds if kind is not None]
            if len(known) == len(kinds) and not any(_is_of(value, types) for _, types in known):
                names = " or ".join(words for words, _ in known)
                shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
                raise StudyError(f"{key} must be {names}, but got {shown}: correct it, or leave it out")


def _is_of(value: object, types: tuple[type, ...]) -> bool:
    # To Python, true is a whole number.
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)

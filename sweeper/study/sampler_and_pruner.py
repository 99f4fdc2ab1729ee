"""Creates the configured sampler and pruner: only Optuna's classes and our own, never other code that a config names."""

import warnings
from typing import Final

import optuna
from hydra.utils import instantiate
from omegaconf import DictConfig

from sweeper.errors import StudyError

SAMPLERS: Final = (
    "optuna.samplers.*",
    "sweeper.study.front_sampler.FrontSampler",
    "sweeper.study.samplers.evolution.EvolutionSampler",
)
PRUNERS: Final = ("optuna.pruners.*", "sweeper.study.front_pruner.FrontPruner")
"""Patterns of the only targets that these configs may name."""


def make_sampler(config: DictConfig) -> optuna.samplers.BaseSampler:
    """Create the configured sampler. Raises `StudyError` for another target, or arguments that Optuna refuses."""
    sampler = _make(config, SAMPLERS, "sampler")
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise StudyError(
            f"hydra/sweeper/sampler must be a sampler that proposes points, but {config.get('_target_')} is not: "
            "for a grid list the values, as in model.dropout=0.05,0.1"
        )
    return sampler


def make_pruner(config: DictConfig) -> optuna.pruners.BasePruner:
    """Create the configured pruner. Raises `StudyError` for another target, or arguments that Optuna refuses."""
    pruner = _make(config, PRUNERS, "pruner")
    assert isinstance(pruner, optuna.pruners.BasePruner)
    return pruner


def _make(config: DictConfig, allowed: tuple[str, ...], name: str) -> object:
    with warnings.catch_warnings():
        # Some of the classes in conf/ are marked experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return instantiate(config, _execution_whitelist_=allowed)
        except Exception as error:  # each of Optuna's classes checks its arguments in its own way
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise StudyError(
                f"hydra.sweeper.{name} must be a config that {config.get('_target_')} accepts, but it is not: {reason}"
            ) from error

"""How the configured sampler and pruner are made: Optuna's own classes, and no other code that a config may name."""

import warnings
from typing import Final

import optuna
from hydra.utils import instantiate
from omegaconf import DictConfig

from sweeper.errors import StudyError

SAMPLERS: Final = ("optuna.samplers.*",)
PRUNERS: Final = ("optuna.pruners.*",)
"""The only code that these configs may name."""


def make_sampler(config: DictConfig) -> optuna.samplers.BaseSampler:
    """Make the configured sampler. Raises `StudyError` for arguments that Optuna refuses."""
    sampler = _make(config, SAMPLERS, "sampler")
    if not isinstance(sampler, optuna.samplers.BaseSampler):
        raise StudyError(
            f"hydra/sweeper/sampler must be one that searches by itself, but {config.get('_target_')} is not: "
            "for a grid list the values, as in model.dropout=0.05,0.1"
        )
    return sampler


def make_pruner(config: DictConfig) -> optuna.pruners.BasePruner:
    """Make the configured pruner. Raises `StudyError` for arguments that Optuna refuses."""
    pruner = _make(config, PRUNERS, "pruner")
    assert isinstance(pruner, optuna.pruners.BasePruner)
    return pruner


def _make(config: DictConfig, allowed: tuple[str, ...], name: str) -> object:
    with warnings.catch_warnings():
        # Some that conf/ offers are still marked experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return instantiate(config, _execution_whitelist_=allowed)
        except Exception as error:  # each of Optuna's classes checks its arguments in its own way
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise StudyError(
                f"hydra.sweeper.{name} must hold what {config.get('_target_')} takes, but it does not: {reason}"
            ) from error

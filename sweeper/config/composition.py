"""Composes a config from conf/ and overrides with Hydra."""

from collections.abc import Sequence

from hydra import compose as hydra_compose
from omegaconf import DictConfig

from sweeper.config.hydra_errors import explain, is_of_hydra
from sweeper.config.initialized import OWN, initialized
from sweeper.config.loading import load
from sweeper.config.origin import CONFIG_NAME, Origin
from sweeper.config.schema import ExperimentConf
from sweeper.errors import CompositionError


def compose(overrides: Sequence[str] = (), origin: Origin = OWN) -> ExperimentConf:
    """Compose conf/, or what `origin` names, with the overrides, as the command line would, and check the result.

    Restores Hydra's global state. Raises `ConfigError` for overrides that do not compose or break a rule.

    >>> compose(["model=gap", "training.epochs=2"]).training.epochs
    2
    """
    return load(compose_dict(overrides, origin))


def compose_dict(overrides: Sequence[str], origin: Origin = OWN) -> DictConfig:
    """Compose without checking. Return Hydra's DictConfig, its interpolations unresolved. Raises `CompositionError`."""
    if isinstance(overrides, str) or not all(isinstance(override, str) for override in overrides):
        raise CompositionError(f'overrides must be a list of strings, as in ["model=gap"], but got {overrides!r}')
    with initialized(origin):
        try:
            return hydra_compose(origin.config_name or CONFIG_NAME, overrides=list(overrides))
        except Exception as error:
            if not is_of_hydra(error):
                raise
            raise explain(error, overrides, origin) from error

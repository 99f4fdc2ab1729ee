"""Composes a job's config from the sweep's config and the job's overrides, with Hydra."""

import json
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweeper.config.hydra_errors import explain
from sweeper.config.loading import load
from sweeper.config.schema import ExperimentConf
from sweeper.errors import StudyError


class JobComposer:
    """Composes the jobs of one sweep, as Hydra's own sweepers do."""

    def __init__(self, context: HydraContext, config: DictConfig) -> None:
        """Compose jobs of the sweep whose config is `config`."""
        self._context = context
        self._config = config
        # Any Hydra application may use the sweeper; only sweeper's own config describes a network.
        self.is_sweeper_config = {"model", "training", "budget"} <= set(config)

    def job(self, overrides: Sequence[str], number: int | None = None) -> DictConfig:
        """Return a job's config, including Hydra's settings, in which the job's number is set.

        Raises `CompositionError` or, for a key or option that does not exist, Hydra's own `HydraException`.
        """
        try:
            config = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        except (ValueError, OmegaConfBaseException) as error:
            if not self.is_sweeper_config:  # an explanation would name keys of our own config
                raise StudyError(next(iter(str(error).splitlines()), type(error).__name__)) from error
            raise explain(error, overrides) from error
        if number is not None:
            with open_dict(config):
                config.hydra.job.id = str(number)
                config.hydra.job.num = number
        return config

    def experiment(self, overrides: Sequence[str]) -> ExperimentConf:
        """Return a job's validated config, without Hydra's settings. Raises `ConfigError`."""
        config = self.job(overrides)
        with open_dict(config):
            config.pop("hydra", None)
        return load(config)

    def application(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the name of another Hydra application and its composed config, unresolved, as plain data."""
        config = self.job(overrides)
        name = str(config.hydra.job.name)
        with open_dict(config):
            config.pop("hydra", None)
        plain = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
        # Values that JSON has no form for, such as paths, are compared as text.
        return {"name": name, "config": json.loads(json.dumps(plain, default=str))}

    def parser(self) -> OverridesParser:
        """Return a parser that knows the config groups, which globs need."""
        return OverridesParser.create(config_loader=self._context.config_loader)

    def options(self, group: str) -> list[str]:
        """Return the names of a config group's options."""
        return list(self._context.config_loader.get_group_options(group))

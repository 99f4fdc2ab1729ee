"""The Hydra sweeper: turns ``-m`` into a study. Light to import: Hydra imports it for every command."""

from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import StudyError


class StudySweeper(Sweeper):
    """Upstream's option names (hydra-optuna-sweeper), and our own beside them; see conf/hydra/sweeper/study.yaml."""

    def __init__(self, **options: Any) -> None:
        """Keep the options until the sweep. Raises `StudyError` for one out of its bounds."""
        for name in ("n_trials", "n_jobs"):
            value = options[name]
            if value is not None and value < 1:
                raise StudyError(f"hydra.sweeper.{name} must be at least 1, but got {value}")
        if options["max_retry"] < 0:
            raise StudyError(f"hydra.sweeper.max_retry must be at least 0, but got {options['max_retry']}")
        if not 0 <= options["max_failure_rate"] <= 1:
            raise StudyError(f"hydra.sweeper.max_failure_rate must be in [0, 1], but got {options['max_failure_rate']}")
        if options["direction"] not in ("maximize", "minimize"):
            raise StudyError(f"hydra.sweeper.direction must be maximize or minimize, but got {options['direction']}")
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        """Run the study to its end; return what Hydra says of its jobs, as many in a row as run at a time."""
        from sweeper.study.run import StudyRun  # noqa: PLC0415 - Optuna and torch, which no single run's --help needs

        assert self.config is not None
        assert self.hydra_context is not None
        run = StudyRun(context=self.hydra_context, task=self.task_function, config=self.config, options=self._options)
        try:
            return run.sweep(arguments)
        except (ValueError, OmegaConfBaseException) as error:
            # What is wrong with the overrides has been explained by now; this is a bug of ours, and may look like one.
            raise RuntimeError("the study broke") from error

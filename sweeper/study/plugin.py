"""The Hydra sweeper: turns ``-m`` into a study. Light to import: Hydra imports it for every command."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import StudyError


@dataclass(kw_only=True)
class StudyOptions:
    """What `hydra.sweeper` holds: upstream's names (hydra-optuna-sweeper), and ours below them."""

    direction: Literal["maximize", "minimize"]
    """Which way the jobs' value is better."""
    storage: str | None
    """URL of the study's storage; None is a journal file in the study's folder."""
    study_name: str | None
    """Name of the study and of its folder; None is a prefix and a hash of what is searched."""
    n_trials: int
    """Trials of the whole study, resumed or not."""
    n_jobs: int | None
    """Trials at a time; None is one for each core."""
    max_failure_rate: float
    """Failed trials the study bears, as a share of `n_trials`."""
    params: dict[str, Any] | None
    """What a preset searches, as overrides."""
    widths: bool = False
    """Whether every convolution's width is searched."""
    max_retry: int = 1
    """Times a failed trial is tried again."""
    stop_at_target: bool = True
    """Whether a search ends at the first whole trial that reaches the experiment's target."""
    dry_run: bool = False
    """Whether what would be run is printed instead."""

    def __post_init__(self) -> None:
        """Check the bounds."""
        for name, value in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if value is not None and value < 1:
                raise StudyError(f"hydra.sweeper.{name} must be at least 1, but got {value}")
        if self.max_retry < 0:
            raise StudyError(f"hydra.sweeper.max_retry must be at least 0, but got {self.max_retry}")
        if not 0 <= self.max_failure_rate <= 1:
            raise StudyError(f"hydra.sweeper.max_failure_rate must be in [0, 1], but got {self.max_failure_rate}")
        if self.study_name is not None and not re.fullmatch(r"\w[\w .+-]*", self.study_name):
            raise StudyError(
                "hydra.sweeper.study_name must be letters, digits and . _ + - or spaces, since it names a folder, "
                f"but got {self.study_name!r}"
            )


class StudySweeper(Sweeper):
    """Runs a sweep as an Optuna study; see conf/hydra/sweeper/study.yaml for its options."""

    def __init__(self, **options: Any) -> None:
        """Check the options. Raises `StudyError` for one that is unknown, of another type or out of its bounds."""
        # Sampler and pruner are read where they are made, from the whole config: they may refer to the experiment's.
        own = {name: value for name, value in options.items() if name not in {"sampler", "pruner"}}
        try:
            merged = OmegaConf.merge(OmegaConf.structured(StudyOptions), own)
            checked = OmegaConf.to_object(merged)
        except OmegaConfBaseException as error:
            reason = str(error).partition("\n")[0]
            raise StudyError(f"hydra.sweeper.{error.full_key}: {reason}") from error
        assert isinstance(checked, StudyOptions)
        self._options = checked

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

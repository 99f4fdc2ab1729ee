"""The Hydra sweeper: turns ``-m`` into a study. Light to import: Hydra imports it for every command."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.conf import HydraConf
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeper.errors import StudyError
from sweeper.search.options import StudyOptions
from sweeper.startup import loading

if TYPE_CHECKING:
    from sweeper.study.coordinator import StudyRun


def is_trial(settings: HydraConf) -> bool:
    """Whether a job belongs to a study of ours, by Hydra's settings for it alone: saved configs stay clean."""
    ours = f"{StudySweeper.__module__}.{StudySweeper.__qualname__}"
    return settings.mode is RunMode.MULTIRUN and settings.sweeper.get("_target_") == ours


class StudySweeper(Sweeper):
    """Runs a sweep as an Optuna study; see conf/hydra/sweeper/study.yaml for its options."""

    last_run: ClassVar["StudyRun | None"] = None
    """The study that this process has run: Hydra, which makes and drops the sweeper, passes nothing on."""

    on_open: ClassVar[Callable[[], None] | None] = None
    """Called when a study has been opened and its trials are about to begin."""

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
        with loading():
            from sweeper.study.coordinator import StudyRun  # noqa: PLC0415 - Optuna and torch, which no single run's --help needs

        assert self.config is not None
        assert self.hydra_context is not None
        run = StudyRun(
            context=self.hydra_context,
            task=self.task_function,
            config=self.config,
            options=self._options,
            on_open=StudySweeper.on_open,
        )
        StudySweeper.last_run = run
        try:
            return run.sweep(arguments)
        except (ValueError, OmegaConfBaseException) as error:
            # What is wrong with the overrides has been explained by now; this is a bug of ours, and may look like one.
            raise RuntimeError("the study broke") from error

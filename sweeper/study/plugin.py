"""The Hydra sweeper plugin that runs ``-m`` as a study. It imports little: Hydra imports it for every command."""

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
    from sweeper.study.sweep import Sweep


def is_trial(settings: HydraConf) -> bool:
    """Whether a job belongs to one of sweeper's studies. Only its Hydra settings show this; its config does not."""
    ours = f"{StudySweeper.__module__}.{StudySweeper.__qualname__}"
    return settings.mode is RunMode.MULTIRUN and settings.sweeper.get("_target_") == ours


class StudySweeper(Sweeper):
    """Runs a sweep as an Optuna study; conf/hydra/sweeper/study.yaml lists its options."""

    last_sweep: ClassVar["Sweep | None"] = None
    """The last sweep of this process. Hydra creates and drops the sweeper object, so callers find the sweep here."""

    on_open: ClassVar[Callable[[], None] | None] = None
    """Called once a study is open, before its trials start."""

    def __init__(self, **options: Any) -> None:
        """Validate the options. Raises `StudyError` for an unknown option, a wrong type or a value out of bounds."""
        # Sampler and pruner are read later, from the whole config: they may refer to the experiment's values.
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
        """Keep Hydra's context, the task and the sweep's config."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        """Run the study to its end; return the `JobReturn`s of its jobs, in lists of `n_jobs`. Raises `StudyError`."""
        with loading():
            from sweeper.study.sweep import Sweep  # noqa: PLC0415 - Optuna, which a single run's --help does not need

        assert self.config is not None
        assert self.hydra_context is not None
        sweep = Sweep(context=self.hydra_context, task=self.task_function, config=self.config, options=self._options)
        StudySweeper.last_sweep = sweep
        try:
            return sweep.run(arguments, StudySweeper.on_open)
        except (ValueError, OmegaConfBaseException) as error:
            # Errors in the overrides were reported earlier, so this is a bug; Hydra would blame the overrides.
            raise RuntimeError("the study failed by a bug in sweeper") from error

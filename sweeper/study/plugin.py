"""The Hydra sweeper plugin that runs ``-m`` as a study. It imports little: Hydra imports it for every command."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hydra.conf import HydraConf
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from sweeper.config.explaining import nearest, type_rule
from sweeper.errors import StudyError, SweeperError
from sweeper.search.options import StudyOptions
from sweeper.startup import loading

if TYPE_CHECKING:
    from sweeper.study.sweep import Sweep
    from sweeper.study.warm_start import ReadOther


FULL_ERROR: Final = "HYDRA_FULL_ERROR"
"""Environment variable: with 1, Hydra raises errors as they are. Our command line sets it, to print them itself."""


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

    read_other: "ClassVar[ReadOther | None]" = None
    """Reads the studies of a warm start, which is above this room."""

    def __init__(self, **options: Any) -> None:
        """Keep the options; `sweep` checks them."""
        # Sampler and pruner are read later, from the whole config: they may refer to the experiment's values.
        self._own = {name: value for name, value in options.items() if name not in {"sampler", "pruner"}}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's context, the task and the sweep's config."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        """Run the study to its end; return the `JobReturn`s of its jobs, in lists of `n_jobs`.

        Raises `SweeperError`, in another application `CompactHydraException`, which Hydra prints without a traceback.
        """
        try:
            return self._sweep(arguments)
        except SweeperError as error:
            if os.environ.get(FULL_ERROR) == "1":
                raise
            raise CompactHydraException(str(error)) from error

    def _sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        options = _checked(self._own)
        with loading():
            from sweeper.study.sweep import Sweep  # noqa: PLC0415 - Optuna, which a single run's --help does not need

        assert self.config is not None
        assert self.hydra_context is not None
        sweep = Sweep(
            context=self.hydra_context,
            task=self.task_function,
            config=self.config,
            options=options,
            read_other=StudySweeper.read_other,
        )
        StudySweeper.last_sweep = sweep
        try:
            return sweep.run(arguments, StudySweeper.on_open)
        except (ValueError, OmegaConfBaseException) as error:
            # Errors in the overrides were reported earlier, so this is a bug; Hydra would blame the overrides.
            raise RuntimeError("the study failed by a bug in sweeper") from error


def _checked(given: Mapping[str, Any]) -> StudyOptions:
    """Return the options. Raises `StudyError` for an unknown one, a wrong type or a value out of bounds."""
    try:
        options = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(StudyOptions), dict(given)))
    except ConfigKeyError as error:
        names, name = [*StudyOptions.__dataclass_fields__, "sampler", "pruner"], str(error.full_key)
        raise StudyError(
            f"hydra.sweeper has no option {name!r}{nearest(name, names)}: it has {', '.join(names)}"
        ) from error
    except OmegaConfBaseException as error:
        name = str(error.full_key)
        rule = type_rule(StudyOptions, name)
        reason = f": {str(error).splitlines()[0]}" if rule is None else f" must be {rule}, but got {given.get(name)}"
        raise StudyError(f"hydra.sweeper.{name}{reason}") from error
    assert isinstance(options, StudyOptions)
    for name, value in given.items():
        # OmegaConf takes 2 for true.
        if isinstance(getattr(options, name), bool) and str(value).lower() not in {"true", "false"}:
            raise StudyError(f"hydra.sweeper.{name} must be {type_rule(StudyOptions, name)}, but got {value}")
    return options

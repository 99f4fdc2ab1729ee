"""The Hydra sweeper plugin that runs ``-m`` as a study. It imports little: Hydra imports it for every command."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from sweeper.config.explaining import nearest, type_rule
from sweeper.disk import disk_error
from sweeper.errors import StudyError, SweeperError
from sweeper.search.options import StudyOptions
from sweeper.startup import loading

if TYPE_CHECKING:
    from sweeper.study.sweep import Sweep
    from sweeper.study.warm_start import OtherStudy


FULL_ERROR: Final = "HYDRA_FULL_ERROR"
"""Environment variable: with 1, Hydra raises errors as they are. Our command line sets it, to print them itself."""


class StudySweeper(Sweeper):
    """Runs a sweep as an Optuna study; config/plugin/hydra/sweeper/study.yaml lists its options."""

    last_sweep: ClassVar["Sweep | None"] = None
    """The last sweep of this process. Hydra creates and drops the sweeper object, so callers find the sweep here."""

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
        except Exception as error:
            expected = error if isinstance(error, SweeperError) else disk_error(error)
            if expected is None:
                raise
            if os.environ.get(FULL_ERROR) == "1":
                raise expected from error
            raise CompactHydraException(str(expected)) from error
        except KeyboardInterrupt as interrupt:
            if os.environ.get(FULL_ERROR) != "1":
                _end_quietly(interrupt)
            raise

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
            read_other=_read_other,
        )
        StudySweeper.last_sweep = sweep
        page_import = threading.Thread(target=_load_page)
        with _page_written(sweep, page_import):
            try:
                return sweep.run(arguments, page_import.start)
            except (ValueError, OmegaConfBaseException) as error:
                # Errors in the overrides were reported earlier, so this is a bug; Hydra would blame the overrides.
                raise RuntimeError("the study failed by a bug in sweeper") from error


@contextmanager
def _page_written(sweep: "Sweep", page_import: threading.Thread) -> Iterator[None]:
    """After the block write the study's page, also after an interruption or a failure.

    Importing plotly takes a second or two: the thread does it while the first trials train, unless they do so in this
    process and import torch: scipy, imported here, fails if it finds torch half imported.
    """
    try:
        yield
    except Exception:
        with suppress(Exception):  # a full disk, say: the first error says more
            _write_page(sweep, page_import)
        raise
    except BaseException:
        _write_page(sweep, page_import)
        raise
    _write_page(sweep, page_import)


def _write_page(sweep: "Sweep", page_import: threading.Thread) -> None:
    if sweep.opened is None:
        return
    if page_import.is_alive():
        page_import.join()
    from sweeper.report.study_page import write_study_page  # noqa: PLC0415 - plotly
    from sweeper.terminal.console import display_path, make_console  # noqa: PLC0415

    page = write_study_page(
        sweep.opened.study, folder=sweep.opened.folder.path, url=sweep.opened.url, lost=sweep.opened.lost()
    )
    make_console().print(f"report: {display_path(page)}", soft_wrap=True)


def _end_quietly(interrupt: KeyboardInterrupt) -> None:
    """Let an interrupt that nobody handles end the process without a traceback: the study has said how it ended.

    It stays a KeyboardInterrupt, which an application may catch and which tells a shell's loop to stop too.
    """
    hook = sys.excepthook

    def print_others(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if error is not interrupt:
            hook(kind, error, traceback)

    sys.excepthook = print_others


def _read_other(name: str) -> "OtherStudy":
    from sweeper.reading.others import read_other  # noqa: PLC0415 - optuna

    return read_other(name)


def _load_page() -> None:
    from sweeper.report import study_page  # noqa: PLC0415 - plotly

    study_page.load()


def _checked(given: Mapping[str, Any]) -> StudyOptions:
    """Return the options. Raises `StudyError` for an unknown one, a wrong type or a value out of bounds."""
    if given.get("params") is not None and not isinstance(given["params"], Mapping):
        raise StudyError(
            f"hydra.sweeper.params must have a sweep for each key, but got {given['params']}: write it as in "
            "'hydra.sweeper.params={model.dropout: \"interval(0,0.3)\"}'"
        )
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
        reason = (
            f": {str(error).splitlines()[0]}"
            if rule is None
            else f" must be {rule}, but got {'null' if given.get(name) is None else given[name]}"
        )
        raise StudyError(f"hydra.sweeper.{name}{reason}") from error
    assert isinstance(options, StudyOptions)
    for name, value in given.items():
        # OmegaConf takes 2 for true.
        if isinstance(getattr(options, name), bool) and str(value).lower() not in {"true", "false"}:
            raise StudyError(f"hydra.sweeper.{name} must be {type_rule(StudyOptions, name)}, but got {value}")
    return options

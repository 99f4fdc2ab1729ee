"""The executor interface: jobs are submitted, their results are returned in order of completion."""

import contextlib
import functools
import io
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue

from sweeper.disk import disk_error, is_full
from sweeper.errors import TrainingDivergedError
from sweeper.study.trial_files import read_texts

MAX_LINE: Final = 500
"""Length, in characters, to which the text of an error or of a return value is cut: it may hold a whole data set."""


@dataclass(frozen=True, kw_only=True)
class PrunedAt:
    """The return value of a pruned job. It does not raise instead, since Hydra would print a traceback."""

    value: float | None
    """The value that it reported last; None if it reported none."""
    reason: str | None = None
    """Why the job pruned itself, one line; None if its pruner did, or if it does not say."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A trial to run."""

    number: int
    """The trial's number, which is also the job's number in Hydra."""
    overrides: list[str]
    """All overrides of the trial, in command-line order."""
    is_retry: bool = False
    """Whether this point failed before."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """The result of a job: a value, a pruning or an error."""

    number: int
    """The job's number."""
    value: float | tuple[float, ...] | None = None
    """The objective value, or several; of a pruned job the last reported one; None for a failed job."""
    pruned: bool = False
    reason: str | None = None
    """Why a job pruned itself, one line; None for any other job."""
    error: str | None = None
    """The reason for a failure, one line; None for any other job."""
    retryable: bool = True
    """Whether a failed job may succeed at another try. A training that diverged would diverge again."""
    has_died: bool = False
    """Whether a failed job's process ended before the job did: it was killed, or it crashed."""
    is_disk_full: bool = False
    """Whether a failed job had no disk space, as all others will: the search ends, and the trial has not failed."""
    missing: str | None = None
    """The config key without a value, ``???``, that a failed job read: the other jobs would fail too."""
    returned: JobReturn | None = None
    """Hydra's record of the job; None if its process died."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The texts of its small files by name, for other hosts. Its folder may be on the job's host alone."""


class Executor(Protocol):
    """Runs jobs. Only the coordinator calls it, from one thread: submit up to `capacity` jobs, wait, repeat."""

    @property
    def capacity(self) -> int:
        """Maximum number of jobs that are submitted and not yet returned by `wait`."""

    def submit(self, job: Job) -> None:
        """Start a job, or queue it for the next `wait`. Raises nothing for a failure of the job: `wait` returns it."""

    def wait(self, seconds: float) -> list[JobResult]:
        """Wait for a job to finish; return all results since the last call, or an empty list after `seconds`.

        A job whose process dies is a failed job and affects no other job; so is one that has run for the limit of the
        executor's `TrialClock`, whose process is killed. An executor that runs jobs in this process, or cannot be
        interrupted, may take longer than `seconds`. Raises `StudyError` if no job can be run at all.
        """

    def cancel(self) -> None:
        """Kill every running job and drop the queued ones. The executor must not be used afterwards."""


def run_hydra_job(
    context: HydraContext, task: TaskFunction, config: DictConfig, *, is_interruptible: bool = False
) -> JobResult:
    """Run one job of a sweep in this process. If it is interruptible, a KeyboardInterrupt leaves it, as Ctrl-C does."""
    number = int(config.hydra.job.num)
    try:
        returned = run_job(
            hydra_context=context,
            task_function=functools.partial(call_task, task, is_interruptible=is_interruptible),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except Exception as error:  # noqa: BLE001 - Hydra's own, which creates the job's folder and writes its config
        return failed(number, error)
    return job_result(number, returned)


def call_task(task: TaskFunction, config: DictConfig, *, is_interruptible: bool = True) -> object:
    """Call a job's task; return `PrunedAt` if it raises `optuna.TrialPruned`.

    Raises `RuntimeError` in place of SystemExit and whatever else is no `Exception`: these end the process of other jobs,
    and Ray waits for ever for an actor that raised one.
    """
    try:
        return task(config)
    except SystemExit as error:
        is_message = not isinstance(error.code, int | None)  # as in sys.exit("no such file")
        raise RuntimeError(f"the job exited{': ' if is_message else ' with status '}{error.code or 0}") from error
    except Exception as error:
        if "optuna" in sys.modules and isinstance(error, sys.modules["optuna"].TrialPruned):
            value = next(iter(error.args), None)
            if isinstance(value, float):
                return PrunedAt(value=value)
            return PrunedAt(value=None, reason=_line(error, str) or None)
        raise
    except BaseException as error:
        if is_interruptible and isinstance(error, KeyboardInterrupt):
            raise
        raise RuntimeError(f"the job raised {one_line(error)}") from error


def job_result(number: int, returned: JobReturn) -> JobResult:
    """Return the result in Hydra's record of a job. Its folder must be on this host."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # Hydra prints the error, which the result contains
            value = returned.return_value
    except Exception as error:  # noqa: BLE001 - whatever a job raises is that job's failure
        return failed(number, error, returned)
    result, settings = finished(number, value, returned), returned.hydra_cfg
    return result if settings is None else replace(result, texts=read_texts(Path(settings.hydra.runtime.output_dir)))


def finished(number: int, value: object, returned: JobReturn | None = None) -> JobResult:
    """Return the result of a job that returned `value`: a number, or several in a list, a tuple, an array or a tensor.

    NaN, and what is no number, is a failure, which another try would repeat.
    """
    if isinstance(value, PrunedAt):
        return JobResult(number=number, value=value.value, pruned=True, reason=value.reason, returned=returned)
    plain = _plain(value)
    numbers = tuple(map(_number, plain)) if isinstance(plain, list | tuple | ListConfig) else (_number(plain),)
    if not numbers or any(map(math.isnan, numbers)):
        error = f"a job must return a number, but got {_line(value, repr)}"
        return JobResult(number=number, error=error, retryable=False, returned=returned)
    return JobResult(number=number, value=numbers[0] if len(numbers) == 1 else numbers, returned=returned)


def _plain(value: object) -> object:
    """Return an array, or a tensor of any device, as lists of numbers, and any other object as it is."""
    try:
        return value.tolist()  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - most objects lack it, and an object's own may raise anything
        return value


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # raises for anything but a number
    except Exception:  # noqa: BLE001 - an object's own conversion may raise anything
        return math.nan


def failed(number: int, error: BaseException, returned: JobReturn | None = None) -> JobResult:
    """Return the result of a job that raised `error`."""
    full = disk_error(error) if is_full(error) else None
    line = one_line(full or error)
    is_missing = isinstance(error, MissingMandatoryValue | InterpolationToMissingValueError)
    missing = re.search(r"missing mandatory value: ([^\s']+)", line, re.IGNORECASE) if is_missing else None
    return JobResult(
        number=number,
        error=line if missing is None else f"{missing[1]} has no value, ???",
        retryable=missing is None and not isinstance(error, TrainingDivergedError),
        missing=None if missing is None else missing[1],
        is_disk_full=full is not None,
        returned=returned,
    )


def one_line(error: BaseException) -> str:
    """Return an error as one line: the text of sweeper's own errors, the type and text of others."""
    text = _line(error, str)
    if text and type(error).__module__.startswith("sweeper"):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _line(value: object, to_text: Callable[[object], str]) -> str:
    """Return an object's text as one line of at most `MAX_LINE` characters; its type if its own method fails."""
    try:
        line = " ".join(to_text(value).split())
    except Exception:  # noqa: BLE001 - an object's own method may raise anything
        return f"an object of {type(value).__name__}, whose text cannot be read"
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"

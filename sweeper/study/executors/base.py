"""What an executor is: jobs go in, results come out, whichever finishes first."""

import contextlib
import functools
import io
import math
from dataclasses import dataclass
from typing import Protocol

from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.errors import TrainingDivergedError


@dataclass(frozen=True, kw_only=True)
class PrunedAt:
    """What a pruned job returns in place of its value; an exception would log a traceback."""

    epoch: int
    """The last epoch it ran."""
    value: float
    """Validation accuracy of that epoch."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial to run."""

    number: int
    """The trial's, which is the job's number in Hydra too."""
    overrides: list[str]
    """As a person would type them."""
    is_retry: bool = False
    """Whether this point failed before."""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """How a job ended."""

    number: int
    """The job's."""
    value: float | None = None
    """The job's value, or the last one before it was pruned; None for a failed job."""
    pruned: bool = False
    error: str | None = None
    """Why it failed, one line; None for any other job."""
    retryable: bool = True
    """Whether a failed job may succeed at a second try; one that diverged repeats itself to the bit."""
    returned: JobReturn | None = None
    """Hydra's own record of the job; None where its process died."""


class Executor(Protocol):
    """Runs jobs. The coordinator is its only caller, from one thread: `submit` up to capacity, `wait`, again."""

    @property
    def capacity(self) -> int:
        """How many jobs may be submitted and not yet finished."""

    def submit(self, job: Job) -> None:
        """Start a job, or queue it for the next `wait`. Never raises for what the job itself does."""

    def wait(self, seconds: float) -> list[JobResult]:
        """Return the jobs that have finished since the last call, waiting for one; empty after that many seconds.

        A job whose process dies is a failed job, which costs no other. An executor that runs jobs in the calling process,
        or cannot be interrupted, may take longer than `seconds`. Raises `StudyError` if jobs cannot be run at all.
        """

    def cancel(self) -> None:
        """End every job that runs, at once, and forget those queued. The executor is not used afterwards."""


def run_hydra_job(context: HydraContext, task: TaskFunction, config: DictConfig) -> JobResult:
    """Run one job of a sweep in this process."""
    returned = run_job(
        hydra_context=context,
        task_function=functools.partial(call_task, task),
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    return job_result(int(config.hydra.job.num), returned)


def call_task(task: TaskFunction, config: DictConfig) -> object:
    """Call a job's task. Raises `RuntimeError` if it exits, which would end the process that runs the other jobs too."""
    try:
        return task(config)
    except SystemExit as error:
        raise RuntimeError(f"the job exited with status {error.code}") from error


def job_result(number: int, returned: JobReturn) -> JobResult:
    """Read Hydra's record of a job."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # Hydra prints there what the result says
            value = returned.return_value
    except Exception as error:  # noqa: BLE001 - whatever a job raises is that job's failure
        return failed(number, error, returned)
    return finished(number, value, returned)


def finished(number: int, value: object, returned: JobReturn | None = None) -> JobResult:
    """Return the result of a job that returned this; anything but a number is a failure."""
    if isinstance(value, PrunedAt):
        return JobResult(number=number, value=value.value, pruned=True, returned=returned)
    try:
        as_float = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        as_float = math.nan
    if math.isnan(as_float):
        return JobResult(number=number, error=f"a job must return a number, but got {value!r}", returned=returned)
    return JobResult(number=number, value=as_float, returned=returned)


def failed(number: int, error: BaseException, returned: JobReturn | None = None) -> JobResult:
    """Return the result of a job that raised this."""
    retryable = not isinstance(error, TrainingDivergedError)
    return JobResult(number=number, error=one_line(error), retryable=retryable, returned=returned)


def one_line(error: BaseException) -> str:
    """Return an error as one line: ours as it is, others with their type."""
    text = " ".join(str(error).split())
    return text if type(error).__module__.startswith("sweeper") and text else f"{type(error).__name__}: {text}"

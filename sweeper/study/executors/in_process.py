"""Runs jobs in this process, one at a time, without the cost of starting a worker and sending it jobs."""

from collections.abc import Callable
from typing import Final

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.study.executors.base import Job, JobResult, run_hydra_job


class InProcess:
    """An executor whose `wait` runs the job. A job that kills the process ends the study, which can be resumed."""

    capacity: Final[int] = 1

    def __init__(self, context: HydraContext, task: TaskFunction, compose: Callable[[Job], DictConfig]) -> None:
        """Run jobs of `task`; `compose` returns a job's config."""
        self._context, self._task, self._compose = context, task, compose
        self._queued: list[DictConfig] = []

    def submit(self, job: Job) -> None:
        """Queue a job for the next `wait`."""
        self._queued.append(self._compose(job))

    def wait(self, seconds: float) -> list[JobResult]:  # noqa: ARG002 - it takes as long as the job
        """Run the queued job."""
        queued, self._queued = self._queued, []
        return [run_hydra_job(self._context, self._task, config, is_interruptible=True) for config in queued]

    def cancel(self) -> None:
        """Drop the queued job."""
        self._queued = []

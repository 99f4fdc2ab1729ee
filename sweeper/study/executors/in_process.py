"""Runs jobs in this process, one at a time: no second process to start, nothing to send."""

from collections.abc import Callable
from typing import Final

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.study.executors.base import Job, JobResult, run_hydra_job


class InProcess:
    """An executor whose `wait` runs the job. A job that kills its process ends the study, which the next one resumes."""

    capacity: Final[int] = 1

    def __init__(self, context: HydraContext, task: TaskFunction, compose: Callable[[Job], DictConfig]) -> None:
        """Run jobs of that task; `compose` makes a job's config."""
        self._context, self._task, self._compose = context, task, compose
        self._queued: list[Job] = []

    def submit(self, job: Job) -> None:
        """Queue a job for the next `wait`."""
        self._queued.append(job)

    def wait(self, seconds: float) -> list[JobResult]:  # noqa: ARG002 - it takes as long as the job
        """Run what is queued."""
        queued, self._queued = self._queued, []
        return [run_hydra_job(self._context, self._task, self._compose(job)) for job in queued]

    def cancel(self) -> None:
        """Forget what is queued."""
        self._queued = []

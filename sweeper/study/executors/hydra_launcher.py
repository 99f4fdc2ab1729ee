"""Runs jobs in batches through a Hydra launcher, which returns when all jobs of a batch are done."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.errors import StudyError
from sweeper.study.executors.base import Job, JobResult, job_result
from sweeper.study.executors.recorded_task import RecordedTask

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

POLL_SECONDS: Final = 0.2
START_SECONDS: Final = 10.0
"""After a launcher raised, the time that a job of its batch has to start before it counts as died."""


class HydraLauncher:
    """An executor whose `wait` launches one batch. If a job's process dies, the other jobs keep their results."""

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, *, capacity: int) -> None:
        """Run jobs of `task` with the launcher of `config`, the sweep's config."""
        self.capacity = capacity
        self._name = str(config.hydra.runtime.choices.get("hydra/launcher"))
        self._task = RecordedTask(task, Path(config.hydra.sweep.dir).absolute())
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=self._task, config=config
        )
        self._queued: list[Job] = []
        self._launched: list[Job] = []
        self._has_started_jobs = False

    def submit(self, job: Job) -> None:
        """Queue a job for the next batch."""
        self._queued.append(job)

    def wait(self, seconds: float) -> list[JobResult]:  # noqa: ARG002 - a launcher cannot be interrupted
        """Launch the next batch and wait for all of it."""
        batch = self._launched = self._next_batch()
        if not batch:
            return []
        try:
            returned = self._launcher.launch([job.overrides for job in batch], initial_job_idx=batch[0].number)
            self._has_started_jobs = True
            results = [job_result(job.number, one) for job, one in zip(batch, returned, strict=True)]
        except Exception as error:  # noqa: BLE001 - each launcher raises its own
            first_line = next(iter(str(error).splitlines()), "")  # some errors append pages of explanation
            results = self._recover(batch, f"{type(error).__name__}: {first_line}".rstrip(": "))
        self._forget_launched()
        return results

    def cancel(self) -> None:
        """Drop the queued jobs, and end those of a batch that was interrupted: few launchers end them themselves."""
        self._queued = []
        numbers = [job.number for job in self._launched]
        if numbers:
            self._task.cancel()
            deadline = time.monotonic() + START_SECONDS
            while any(map(self._task.is_running, numbers)) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        self._forget_launched()

    def _forget_launched(self) -> None:
        self._task.forget(job.number for job in self._launched)
        self._launched = []

    def _next_batch(self) -> list[Job]:
        """Take jobs with consecutive numbers, as a launcher numbers them. A retry is alone: it may kill its batch."""
        size = 1
        while (
            size < len(self._queued)
            and not self._queued[size - 1].is_retry
            and not self._queued[size].is_retry
            and self._queued[size].number == self._queued[0].number + size
        ):
            size += 1
        batch, self._queued = self._queued[:size], self._queued[size:]
        return batch

    def _recover(self, batch: list[Job], reason: str) -> list[JobResult]:
        """Return the results of a batch whose launcher raised, as most launchers do when one job dies.

        Wait for jobs that still run. Raises `StudyError` if the launcher has never started a job: it is not usable.
        """
        deadline = time.monotonic() + START_SECONDS
        pending = {job.number for job in batch}
        results: dict[int, JobResult] = {}
        suspects: set[int] = set()
        while pending:
            for number in sorted(pending):
                started, running = self._task.has_started(number), self._task.is_running(number)
                # Read last: a job that ends between the two calls has written its result.
                result = self._task.read_result(number)
                self._has_started_jobs = self._has_started_jobs or started
                is_gone = not running and (started or time.monotonic() > deadline)
                if result is None and is_gone and number in suspects:
                    result = JobResult(number=number, error=f"its process died ({reason})", has_died=True)
                if result is not None:
                    results[number] = result
                    pending.discard(number)
                elif is_gone:  # or it has created its lock file and takes the lock at this moment
                    suspects.add(number)
            if pending:
                time.sleep(POLL_SECONDS)
        if not self._has_started_jobs:
            raise StudyError(f"hydra/launcher={self._name} must start its jobs, but started none ({reason})")
        return [results[job.number] for job in batch]

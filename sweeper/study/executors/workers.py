"""Runs jobs in worker processes on this machine, each of which keeps its imports and its data between jobs."""

import multiprocessing
import os
import pickle
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Final

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.study.executors.base import Job, JobResult
from sweeper.study.executors.process import start_ignoring_sigint
from sweeper.study.executors.worker import work

EXIT_SECONDS: Final = 1.0
"""How long a worker that has closed its pipe may take to exit."""


class Workers:
    """An executor of `capacity` worker processes. A worker that dies costs its job alone, and the next job a new worker."""

    def __init__(
        self, context: HydraContext, task: TaskFunction, compose: Callable[[Job], DictConfig], *, capacity: int
    ) -> None:
        """Run jobs of that task; `compose` makes a job's config. A worker starts when a job first needs it."""
        self.capacity = capacity
        self._compose = compose
        self._shared = _message((context, task, Singleton.get_state()))
        self._workers: list[_Worker] = []

    def submit(self, job: Job) -> None:
        """Send a job to an idle worker, started if there is none."""
        config = _message(self._compose(job))
        self._workers = [worker for worker in self._workers if worker.job is not None or worker.is_alive]
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            assert len(self._workers) < self.capacity
            worker = _Worker()
            self._workers.append(worker)
            worker.send(self._shared)
        worker.job = job
        worker.send(config)

    def wait(self, seconds: float) -> list[JobResult]:
        """Return the results of workers that have finished or died, waiting for the first."""
        busy = [worker for worker in self._workers if worker.job is not None]
        ready = set(wait_for_any([handle for worker in busy for handle in worker.handles], timeout=seconds))
        return [worker.receive() for worker in busy if not ready.isdisjoint(worker.handles)]

    def cancel(self) -> None:
        """Kill every worker, in the middle of its job too."""
        for worker in self._workers:
            worker.kill()
        self._workers = []


class _Worker:
    """One worker process, and the job it has."""

    def __init__(self) -> None:
        # Spawned, since a fork would inherit locks that another thread holds; a daemon, so that no exit waits for it.
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=work, args=(theirs, os.getpid()), daemon=True)
        start_ignoring_sigint(self._process)
        theirs.close()
        self.job: Job | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it can take a job."""
        return not self._connection.closed and self._process.is_alive()

    @property
    def handles(self) -> tuple[Connection, int]:
        """What becomes ready when it has finished its job or died: a process it started may keep the pipe open."""
        return self._connection, self._process.sentinel

    def send(self, message: bytes) -> None:
        """Send a message. A worker that has died says so at the next `receive`."""
        try:
            self._connection.send_bytes(message)
        except OSError:
            self._process.join()

    def receive(self) -> JobResult:
        """Return the result of its job, once a handle is ready."""
        assert self.job is not None
        job, self.job = self.job, None
        try:
            if self._connection.poll():  # else the process ended without a word
                result: JobResult = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own worker's
                return result
        except (EOFError, OSError):
            self._process.join(EXIT_SECONDS)  # the pipe closes a moment before the process ends, with its own exit code
        self.kill()
        return JobResult(number=job.number, error=f"its worker died (exit code {self._process.exitcode})")

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _message(thing: object) -> bytes:
    """Return what goes through the pipe: functions of a user's script too, which pickle alone refuses."""
    message: bytes = cloudpickle.dumps(thing)
    return message

"""Runs jobs in worker processes on this machine. A worker keeps its imports and its dataset between jobs."""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, Final

import cloudpickle
from hydra.core.singleton import Singleton

from sweeper.study.executors.base import Job, JobResult
from sweeper.study.executors.process import kill_descendants, start_ignoring_sigint
from sweeper.study.executors.worker import NOTICE, unpack_result, work

EXIT_SECONDS: Final = 1.0
"""The time that a worker has to exit after it closed its pipe."""


class Workers:
    """An executor of `capacity` worker processes. If a worker dies, only its job fails; another replaces it."""

    def __init__(
        self,
        run: Callable[[Any], JobResult],
        compose: Callable[[Job], Any],
        *,
        capacity: int,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Call `run` in a worker with what `compose` returns for a job. Workers start when jobs need them.

        `on_wait` receives one line when a job waits for the storage.
        """
        self.capacity = capacity
        self._on_wait = on_wait
        self._said: set[str] = set()
        """The lines of workers since the last result: many may wait for the same."""
        self._compose = compose
        self._shared = pack_shared(run)
        self._workers: list[_Worker] = []

    def submit(self, job: Job) -> None:
        """Send a job to an idle worker; start one if there is none."""
        config = pack(self._compose(job))
        for dead in [worker for worker in self._workers if worker.job is None and not worker.is_alive]:
            dead.kill()  # closes its pipe
            self._workers.remove(dead)
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            assert len(self._workers) < self.capacity
            worker = _Worker()
            self._workers.append(worker)
            worker.send(self._shared)
        worker.job = job
        worker.send(config)

    def wait(self, seconds: float) -> list[JobResult]:
        """Wait up to `seconds` until a worker finishes its job, dies or waits; return the results of all that ended."""
        busy = [worker for worker in self._workers if worker.job is not None]
        ready = set(wait_for_any([handle for worker in busy for handle in worker.handles], timeout=seconds))
        received = [worker.receive() for worker in busy if not ready.isdisjoint(worker.handles)]
        results = [each for each in received if isinstance(each, JobResult)]
        if results:
            self._said = set()
        for line in [each for each in received if isinstance(each, str)]:
            if line not in self._said:
                self._on_wait(f"a worker: {line}")
            self._said.add(line)
        return results

    def cancel(self) -> None:
        """Kill every worker, including those in the middle of a job."""
        for worker in self._workers:
            worker.kill()
        self._workers = []


class _Worker:
    """One worker process and its current job."""

    def __init__(self) -> None:
        # Spawned: a fork would inherit locks that another thread holds. No daemon: a job may start processes of its own,
        # such as those of torch's DataLoader.
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=work, args=(theirs, os.getpid()))
        start_ignoring_sigint(self._process)
        theirs.close()
        self.job: Job | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the process can take a job."""
        return not self._connection.closed and self._process.is_alive()

    @property
    def handles(self) -> tuple[Connection, int]:
        """The handles to wait for. The pipe alone may miss a death: a process that the job started may keep it open."""
        return self._connection, self._process.sentinel

    def send(self, message: bytes) -> None:
        """Send a message. If the worker has died, the next `receive` reports it."""
        try:
            self._connection.send_bytes(message)
        except OSError:
            self._process.join()

    def receive(self) -> JobResult | str:
        """Return the job's result, or a line that it says before; call it once a handle is ready."""
        assert self.job is not None
        job = self.job
        try:
            if self._connection.poll():  # otherwise the process ended without a result
                message = self._connection.recv_bytes()
                if message.startswith(NOTICE):
                    return message.removeprefix(NOTICE).decode()
                self.job = None
                return unpack_result(message)
        except (EOFError, OSError):
            self._process.join(EXIT_SECONDS)  # the pipe closes just before the process ends with its exit code
        self.job = None
        self.kill()
        return JobResult(number=job.number, error=f"its worker died (exit code {self._process.exitcode})")

    def kill(self) -> None:
        """Kill the process, with those that its job started, and close the pipe."""
        if self._process.is_alive():
            assert self._process.pid is not None
            kill_descendants(self._process.pid)
        self._process.kill()
        self._process.join()
        self._connection.close()


def pack_shared(run: Callable[[Any], JobResult]) -> bytes:
    """Return what a worker receives first, pickled: the function that runs a job, and Hydra's singletons."""
    return pack((run, Singleton.get_state()))


def pack(thing: object) -> bytes:
    """Return the pickled object. cloudpickle also pickles functions of a user's script, which pickle refuses."""
    message: bytes = cloudpickle.dumps(thing)
    return message

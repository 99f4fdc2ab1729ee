"""Runs jobs in worker processes on this machine. A worker keeps its imports and its dataset between jobs."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for_any
from typing import Any, Final

import cloudpickle
from hydra.core.singleton import Singleton

from sweeper.study.executors.base import Job, JobResult
from sweeper.study.executors.clock import TrialClock
from sweeper.study.executors.process import describe_exit, kill_descendants, start_ignoring_sigint
from sweeper.study.executors.worker import NOTICE, PART, READY, RESULT, unpack_result, work

EXIT_SECONDS: Final = 1.0
"""The time that a worker has to exit after it closed its pipe."""
KILL_SECONDS: Final = 10.0
"""The time that a killed worker has to end: one that waits for a disk that does not answer ends when it does."""


class Workers:
    """An executor of `capacity` worker processes. If a worker dies, only its job fails; another replaces it."""

    def __init__(
        self,
        run: Callable[[Any], JobResult],
        compose: Callable[[Job], Any],
        *,
        capacity: int,
        clock: TrialClock | None = None,
        modules: Sequence[str] = (),
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Call `run` in a worker with what `compose` returns for a job. Workers start when jobs need them.

        `clock` says when a job has run too long, by default never. `modules` are imported when a worker starts. `on_wait` receives one line
        when a job waits for the storage.
        """
        self.capacity = capacity
        self._clock = clock or TrialClock()
        self._clock.kill = self._kill
        self._on_wait = on_wait
        self._said: set[str] = set()
        """The lines of workers since the last result: many may wait for the same."""
        self._compose = compose
        self._shared = pack_shared(run, modules)
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
        self._clock.submit(job.number)
        if worker.is_ready:
            self._clock.begin(job.number)
        worker.send(config)

    def wait(self, seconds: float) -> list[JobResult]:
        """Wait up to `seconds` until a worker finishes its job, dies or is killed; return the results of all that ended."""
        deadline = time.monotonic() + seconds
        busy = {worker.job.number: worker for worker in self._workers if worker.job is not None}
        results: list[JobResult] = []
        while not results:
            left = max(0.0, deadline - time.monotonic())
            handles = [handle for worker in busy.values() for handle in worker.handles]
            ready = set(wait_for_any(handles, timeout=min(left, self._clock.left(busy))))
            for number, worker in busy.items():
                result = None if ready.isdisjoint(worker.handles) else self._receive(worker, number)
                if result is None and self._clock.is_over(number):
                    result = self._end(worker, number)
                if result is not None:
                    results.append(self._clock.judged(result))
                    self._clock.stop(number)
            if not ready and not left:
                break
        if results:
            self._said = set()
        return results

    def _end(self, worker: "_Worker", number: int) -> JobResult:
        """Kill a worker whose job has run too long; return the result, which may have come this moment."""
        result = self._receive(worker, number)
        if result is None:
            worker.end()
            result = self._clock.timed_out(number)
        return result

    def _receive(self, worker: "_Worker", number: int) -> JobResult | None:
        """Return the result of a worker's job; None if it goes on. Say what it says."""
        was_ready = worker.is_ready
        lines, result = worker.receive()
        if worker.is_ready and not was_ready:
            self._clock.begin(number)
        for line in lines:
            if line not in self._said:
                self._on_wait(f"a worker: {line}")
            self._said.add(line)
        return result

    def _kill(self, number: int) -> None:
        """Kill the worker of a job; `wait` finds it dead."""
        for worker in self._workers:
            if worker.job is not None and worker.job.number == number:
                worker.kill_process()

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
        self.is_ready = False
        """Whether it has started."""
        self._parts: list[bytes] = []

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

    def receive(self) -> tuple[list[str], JobResult | None]:
        """Return the lines that a busy worker says, and its job's result if it has come or the worker has died.

        It does not wait.
        """
        assert self.job is not None
        number, lines = self.job.number, list[str]()
        try:
            while self._connection.poll():
                message = self._connection.recv_bytes()
                if message == READY:
                    self.is_ready = True
                elif message.startswith(NOTICE):
                    lines.append(message.removeprefix(NOTICE).decode())
                elif message.startswith(PART):
                    self._parts.append(message.removeprefix(PART))
                else:
                    parts, self._parts, self.job = [*self._parts, message.removeprefix(RESULT)], [], None
                    return lines, unpack_result(b"".join(parts))
        except (EOFError, OSError):
            self._process.join(EXIT_SECONDS)  # the pipe closes just before the process ends with its exit code
        else:
            if self._process.is_alive() or self._connection.poll():
                return lines, None
        self.end()
        how = describe_exit(self._process.exitcode)
        return lines, JobResult(number=number, error=f"its worker died ({how})", has_died=True)

    def end(self) -> None:
        """Kill the worker, and forget its job."""
        self.job = None
        self.kill()

    def kill(self) -> None:
        """Kill the process, with those that its job started, and close the pipe."""
        self.kill_process()
        self._process.join(KILL_SECONDS)
        self._connection.close()

    def kill_process(self) -> None:
        """Kill the process, with those that its job started, and do not wait for its end."""
        if self._process.is_alive():
            assert self._process.pid is not None
            kill_descendants(self._process.pid)
        self._process.kill()


def pack_shared(run: Callable[[Any], JobResult], modules: Sequence[str] = ()) -> bytes:
    """Return what a worker receives first, pickled: the function that runs a job, Hydra's singletons, and what to import."""
    return pack((run, Singleton.get_state(), tuple(modules)))


def pack(thing: object) -> bytes:
    """Return the pickled object. cloudpickle also pickles functions of a user's script, which pickle refuses."""
    message: bytes = cloudpickle.dumps(thing)
    return message

"""Runs jobs on a Ray cluster, each as soon as there is room. A worker keeps its imports and its dataset between jobs."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from omegaconf import DictConfig

from sweeper.errors import StudyError
from sweeper.study.executors.base import Job, JobResult, one_line
from sweeper.study.executors.clock import TrialClock
from sweeper.study.executors.ray_engine import RayEngine
from sweeper.study.executors.ray_worker import RayWorker, describe_surroundings
from sweeper.study.executors.worker import unpack_result
from sweeper.study.executors.workers import pack, pack_shared
from sweeper.study.owner import is_alive

NOTICE_SECONDS: Final = 30.0
"""The time after which waiting for room is mentioned: a worker takes seconds to start."""
PATIENCE_SECONDS: Final = 600.0
"""The time that a cluster has to get a node that can hold a trial: some add nodes when they are asked for."""
ANSWER_SECONDS: Final = 5.0
"""The time that an idle worker has to answer, and a killed one to end."""
IDLE_SECONDS: Final = 5.0
"""The time for which a worker without a job keeps its room in the cluster: about as long as another takes to start."""
START_TRIES: Final = 3
"""Number of workers in a row whose failed start ends the search. Workers fail to start on a node that leaves."""


class RayCluster:
    """An executor whose workers are Ray actors. A worker or node that dies costs its job alone.

    A job is sent to a worker that has started, never to one that waits for room: another may be free sooner.
    """

    def __init__(
        self,
        engine: RayEngine,
        run: Callable[[Any], JobResult],
        compose: Callable[[Job], Any],
        config: DictConfig,
        *,
        jobs: int | None,
        clock: TrialClock,
        modules: Sequence[str] = (),
        on_wait: Callable[[str], None],
    ) -> None:
        """Call `run` in a worker of `engine` with what `compose` returns for a job.

        Run `jobs` at a time, or as many as there is room for.

        `config` is the sweep's. `clock` says when a job has run too long. `modules` are imported when a worker starts.
        `on_wait` receives one line when jobs have to wait for room.
        """
        self._clock = clock
        self._clock.kill = self._kill
        self._compose, self._jobs, self._on_wait = compose, jobs, on_wait
        self._arguments = {**describe_surroundings(config), "shared": pack_shared(run, modules)}
        self._queued: deque[tuple[Job, bytes]] = deque()
        self._workers: list[RayWorker] = []
        self._failed_starts = 0
        self._waiting_since = 0.0
        self._said = ""
        self._engine, self._ray, self._connection = engine, engine.ray, engine.connection

    @property
    def capacity(self) -> int:
        """The number of jobs asked for, or else as many as the cluster's nodes can hold now; at least one waits for room."""
        return self._jobs or max(1, self._engine.room())

    def submit(self, job: Job) -> None:
        """Send a job to an idle worker, or queue it and start a worker, which may have to wait for room."""
        self._waiting_since = self._waiting_since if self._queued else time.monotonic()
        self._queued.append((job, pack(self._compose(job))))
        self._dispatch()

    def wait(self, seconds: float) -> list[JobResult]:
        """Wait up to `seconds` until a job ends; return the results of all that did.

        Raises `StudyError` if no worker can start, no node has had room for a trial for `PATIENCE_SECONDS`, or the
        cluster does not answer.
        """
        deadline = time.monotonic() + seconds
        results: list[JobResult] = []
        while not results:
            awaited = {worker.awaited: worker for worker in self._workers if worker.awaited is not None}
            if not awaited:
                return []
            numbers = [worker.job.number for worker in awaited.values() if worker.job is not None]
            left = max(0.0, min(deadline - time.monotonic(), self._clock.left(numbers)))
            ready, _ = self._ray.wait(list(awaited), num_returns=1, timeout=left)
            if not ready:
                self._connection.nodes()  # raises if the head is gone
                break
            ready, _ = self._ray.wait(list(awaited), num_returns=len(awaited), timeout=0)
            for reference in ready:
                if awaited[reference].job is None:
                    self._welcome(awaited[reference])
                else:
                    results.append(self._receive(awaited[reference]))
            self._dispatch()
        self._clock.kill_overdue()
        self._heed_room()
        self._release_idle()
        return results

    def cancel(self) -> None:
        """Kill every worker, and stop a cluster that was started here."""
        self._queued.clear()
        if self._connection.is_lost:
            self._workers = []
        owners = [worker.identity.owner for worker in self._workers if worker.identity is not None]
        for worker in list(self._workers):
            self._drop(worker)
        deadline = time.monotonic() + ANSWER_SECONDS
        while any(map(is_alive, owners)) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._engine.close()

    def _dispatch(self) -> None:
        """Send queued jobs to idle workers; start a worker for each that is left, and drop those that nobody needs."""
        for worker in [worker for worker in self._workers if worker.is_idle]:
            if not self._queued:
                break
            if self._answers(worker):
                job, config = self._queued.popleft()
                worker.run(job, config)
                self._clock.begin(job.number)
            else:
                self._drop(worker)
        starting = [worker for worker in self._workers if worker.identity is None]
        for worker in starting[len(self._queued) :]:
            self._drop(worker)
        for _ in range(len(self._queued) - len(starting)):
            self._workers.append(RayWorker(self._engine.worker_class.remote(**self._arguments)))

    def _answers(self, worker: RayWorker) -> bool:
        """Whether an idle worker can take a job. Its node may have left meanwhile."""
        try:
            worker.identity = self._ray.get(worker.actor.identify.remote(), timeout=ANSWER_SECONDS)
        except self._ray.exceptions.RayError:
            return False
        return True

    def _drop(self, worker: RayWorker) -> None:
        self._ray.kill(worker.actor)
        self._workers.remove(worker)

    def _welcome(self, worker: RayWorker) -> None:
        """Note that a worker has started, or drop it. Raises `StudyError` if several in a row have not, and none runs."""
        try:
            worker.identity = self._ray.get(worker.awaited)
        except self._ray.exceptions.RayError as error:
            self._drop(worker)
            self._failed_starts += 1
            if self._failed_starts >= START_TRIES:
                raise StudyError(
                    f"hydra/launcher=ray must start its workers, but {START_TRIES} in a row ended first ({_why(error)}): "
                    "every node needs sweeper, the application's modules, and the cluster's token"
                ) from error
        else:
            worker.rest()
            self._failed_starts = 0

    def _receive(self, worker: RayWorker) -> JobResult:
        """Return the result of a worker's job, which has ended."""
        assert worker.job is not None
        number = worker.job.number
        try:
            result = unpack_result(self._ray.get(worker.awaited))
        except self._ray.exceptions.RayError as error:
            has_died = not isinstance(error, self._ray.exceptions.RayTaskError)
            died = JobResult(number=number, error=self._reason(worker, error), has_died=has_died)
            result = self._clock.judged(died)
            self._drop(worker)
        self._clock.stop(number)
        worker.rest()
        return result

    def _kill(self, number: int) -> None:
        """Kill the worker of a job; `wait` finds it dead. Ray kills a stopped process within seconds."""
        for worker in self._workers:
            if worker.job is not None and worker.job.number == number:
                self._ray.kill(worker.actor)

    def _reason(self, worker: RayWorker, error: Exception) -> str:
        """Return why a worker did not return the result of its job."""
        assert worker.identity is not None
        cause = getattr(error, "cause", None)
        if isinstance(error, self._ray.exceptions.RayTaskError) and isinstance(cause, BaseException):
            return f"its worker failed ({one_line(cause)})"
        name = f"node {worker.identity.node[:8]} on {worker.identity.owner['host']}"
        if self._connection.has_left(worker.identity.node):
            return f"its worker died ({name} left the cluster)"
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return f"its worker died ({name} ran out of memory)"
        return f"its worker died (killed, or crashed, on {name})"

    def _release_idle(self) -> None:
        """Drop the workers without a job, whose room other searches on the cluster may wait for."""
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.is_idle]:
            if now - worker.idle_since > IDLE_SECONDS:
                self._drop(worker)

    def _heed_room(self) -> None:
        """Say once that jobs wait for room. Raises `StudyError` if they have waited too long for a node that is large enough."""
        seconds = time.monotonic() - self._waiting_since
        if not self._queued or seconds < NOTICE_SECONDS:
            return
        has_room = self._engine.room() > 0
        if not has_room and seconds > PATIENCE_SECONDS:
            raise StudyError(
                f"hydra.launcher.ray.remote must fit a node of the Ray cluster, but {self._engine.lack()}: ask for less, or add a node"
            )
        line = "trials wait for room in the Ray cluster" + ("" if has_room else f": {self._engine.lack()}")
        if line != self._said:
            self._on_wait(line)
            self._said = line


def _why(error: Exception) -> str:
    """Return why an actor died, without Ray's introduction and, if it raised an error, without the traceback."""
    lines = str(error).splitlines()
    if getattr(error, "actor_init_failed", False):
        lines = lines[-1:]
    return " ".join(line.strip() for line in lines if not line.startswith(("The actor died unexpectedly", "\t")))

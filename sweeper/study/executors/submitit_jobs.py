"""Runs each trial as a job of submitit, in Slurm or on this machine, and returns it as soon as it has ended."""

import contextlib
import io
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig

from sweeper.errors import StudyError
from sweeper.study.executors.base import Job, JobResult
from sweeper.study.executors.clock import TrialClock
from sweeper.study.executors.job_queue import CHECK_SECONDS, GONE, OVER, JobQueue, JobState, LocalQueue, SlurmQueue
from sweeper.study.executors.process import sigint_blocked
from sweeper.study.executors.submitter import attempt_file, make_submitter, outside_of_jobs, read_attempt, settings_of
from sweeper.study.executors.worker import unpack_result
from sweeper.study.executors.workers import pack, pack_shared

ARRAY_PARALLELISM: Final = 256
"""The launcher's default for the number of jobs that run at once."""
JOBS: Final = 16
"""The number of trials at once, unless it is given: a sampler learns from finished trials alone."""
RESUBMIT_SECONDS: Final = 10.0
"""Time between two tries to submit a job that Slurm does not take."""
PATIENCE_SECONDS: Final = 600.0
"""The time for which Slurm may take no job while none of the search is left in its queue."""
NOTICE_SECONDS: Final = 20.0
"""The time after which a first job that still waits in Slurm's queue is mentioned."""
REASONS: Final = {
    "CANCELLED": "was cancelled",
    "TIMEOUT": "reached its time limit of {limit}",
    "DEADLINE": "missed its deadline",
    "PREEMPTED": "was preempted",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "lost its node",
    "OUT_OF_MEMORY": "ran out of memory: raise hydra.launcher.mem_gb",
    GONE: "left the queue without a result",
}
"""What is said of a job that ended without a result, by its state. In another state, its process died."""
LIMITS: Final = ("TIMEOUT", "DEADLINE", "OUT_OF_MEMORY")
"""The states of a job that took more than it was given: its failure. In another state, something killed it."""


@dataclass(eq=False)
class _Submitted:
    """A trial that the engine has accepted."""

    job: Job
    handle: Any
    """submitit's record of the job."""
    since: float
    restarts: int = 0
    has_started: bool = False
    attempt: str | None = None
    """Which start of the job has begun the trial, as the job itself says."""
    is_overdue: bool = False
    """Whether the job has run too long, and was cancelled."""
    ended: str | None = None
    """The state in which the job was first seen to have ended without a result."""


class SubmititJobs:
    """An executor of `capacity` jobs. A job that its engine ends is a failed one; one that it starts again is the same."""

    def __init__(
        self,
        run: Callable[[Any], JobResult],
        compose: Callable[[Job], Any],
        config: DictConfig,
        *,
        cluster: str,
        jobs: int | None,
        clock: TrialClock,
        modules: Sequence[str] = (),
        on_wait: Callable[[str], None],
    ) -> None:
        """Call `run` in a job with what `compose` returns for it. `cluster` is submitit's name of the engine.

        `config` is the sweep's; its launcher says what a job needs. `clock` says when a job has run too long. `modules` are
        imported when a job starts. `on_wait` receives one line when jobs wait for the engine, or are started again by it.
        Raises `StudyError` if such a job cannot be submitted.
        """
        self._is_slurm = cluster == "slurm"
        self._compose, self._shared, self._on_wait = compose, pack_shared(run, modules), on_wait
        self._clock, self._is_timed = clock, clock.limit is not None
        self._clock.kill = self._kill
        settings = settings_of(config)
        self.capacity = jobs or self._default_capacity(settings)
        self._time_limit = f"{settings['timeout_min']} min: raise hydra.launcher.timeout_min"
        self._submitter = make_submitter(cluster, settings, folder=config.hydra.launcher.submitit_folder)
        records = Path(config.hydra.sweep.dir).absolute() / ".jobs"
        self._queue: JobQueue = SlurmQueue(records) if self._is_slurm else LocalQueue()
        self._waiting: list[Job] = []
        self._submitted: dict[str, _Submitted] = {}
        self._ending: dict[str, Any] = {}
        """submitit's records of jobs that have returned a result, while their processes end."""
        self._refused_at: float | None = None
        self._next_try = -math.inf
        self._has_submitted = self._has_noticed = False

    def submit(self, job: Job) -> None:
        """Submit a job. One that is refused is submitted again by `wait`."""
        if not self._has_submitted and (count := self._queue.cancel_abandoned()):
            self._on_wait(f"{count} Slurm job{'' if count == 1 else 's'} of an earlier process cancelled")
        self._waiting.append(job)
        if self._refused_at is None:
            self._submit_waiting()

    def wait(self, seconds: float) -> list[JobResult]:
        """Wait up to `seconds` for results; return those of all jobs that have ended."""
        deadline = time.monotonic() + seconds
        while True:
            if self._waiting and time.monotonic() >= self._next_try:
                self._submit_waiting()
            results = self._collect()
            if results or time.monotonic() >= deadline:
                return results
            time.sleep(min(CHECK_SECONDS, seconds))

    def cancel(self) -> None:
        """Cancel every job; return when they have ended, or Slurm takes too long over it."""
        self._waiting = []
        command = self._queue.cancel({job: one.handle for job, one in self._submitted.items()} | self._ending)
        if command is not None:
            self._on_wait(f"Slurm did not answer, so its jobs may go on: {command}")
        self._submitted, self._ending = {}, {}

    def _default_capacity(self, settings: Mapping[str, Any]) -> int:
        if not self._is_slurm:
            return len(os.sched_getaffinity(0))
        parallelism = int(settings["array_parallelism"])
        return JOBS if parallelism == ARRAY_PARALLELISM else parallelism

    def _submit_waiting(self) -> None:
        """Submit what waits. Raises `StudyError` if Slurm takes no job."""
        from sweeper.study.executors.submitit_job import SubmittedTrial  # noqa: PLC0415 - submitit

        while self._waiting:
            job = self._waiting[0]
            trial = SubmittedTrial(self._shared, pack(self._compose(job)), self._time_limit, is_timed=self._is_timed)
            try:
                with sigint_blocked(), outside_of_jobs(), contextlib.redirect_stderr(io.StringIO()):
                    handle = self._submitter.submit(trial)
                    self._queue.record(handle.job_id)
            except (OSError, RuntimeError) as error:  # submitit's own errors are RuntimeErrors
                self._on_refused(_refusal(error))
                return
            self._submitted[handle.job_id] = _Submitted(job=job, handle=handle, since=time.monotonic())
            self._waiting.pop(0)
            self._has_submitted, self._refused_at = True, None

    def _on_refused(self, reason: str) -> None:
        if not self._has_submitted:
            raise StudyError(f"Slurm must take the trials' jobs, but refused the first: {reason}")
        now = time.monotonic()
        if self._refused_at is None or self._submitted:
            if self._refused_at is None:
                self._on_wait(f"Slurm takes no more jobs for now, they wait: {reason}")
            self._refused_at = now
        elif now - self._refused_at > PATIENCE_SECONDS:
            raise StudyError(f"Slurm must take the trials' jobs, but has refused them for too long: {reason}")
        self._next_try = now + RESUBMIT_SECONDS

    def _collect(self) -> list[JobResult]:
        """Return the results of the jobs that have ended, and look after the others."""
        results = [self._take(job, result) for job in list(self._submitted) if (result := self._read(job)) is not None]
        self._ending = {job: handle for job, handle in self._ending.items() if handle.state == "RUNNING"}
        if self._is_timed:
            self._end_overdue()
        if self._submitted:
            states = self._queue.states({job: one.handle for job, one in self._submitted.items()})
            for job, state in (states or {}).items():
                result = self._look_after(job, state)
                if result is not None:
                    results.append(self._take(job, result))
        return results

    def _end_overdue(self) -> None:
        """Cancel the jobs that have run too long. Their failures follow when they are gone, unless results come first."""
        for one in self._submitted.values():
            attempt = read_attempt(one.handle.paths)
            if attempt is not None and attempt != one.attempt:
                one.attempt = attempt
                self._clock.begin(one.job.number)
        self._clock.kill_overdue()

    def _kill(self, number: int) -> None:
        for job, one in self._submitted.items():
            if one.job.number == number:
                one.is_overdue = True
                self._queue.end(job)

    def _take(self, job: str, result: JobResult) -> JobResult:
        one = self._submitted.pop(job)
        handle = one.handle
        self._queue.forget(job)
        self._clock.stop(one.job.number)
        if one.is_overdue and result.error is not None:
            result = self._clock.timed_out(one.job.number)
        if not self._is_slurm:
            self._ending[job] = handle
        for file in (handle.paths.submitted_pickle, handle.paths.result_pickle, attempt_file(handle.paths)):
            file.unlink(missing_ok=True)  # the logs stay
        return result

    def _read(self, job: str) -> JobResult | None:
        """Return a job's result, or its failure outside of the trial; None if it has written neither."""
        one = self._submitted[job]
        try:
            outcome, content = pickle.loads(one.handle.paths.result_pickle.read_bytes())  # noqa: S301 - our own job's
        except (OSError, EOFError, pickle.UnpicklingError):  # none yet, or not all of it on a shared disk
            return None
        if outcome == "success":
            return unpack_result(content)
        return JobResult(number=one.job.number, error=str(content).strip().rpartition("\n")[2])

    def _look_after(self, job: str, state: JobState) -> JobResult | None:
        """Take note of a job's state; return its failure if it has ended without a result."""
        one = self._submitted[job]
        if state.restarts > one.restarts:
            self._on_wait(f"trial {one.job.number} runs again: Slurm started its job {job} again")
            one.restarts = state.restarts
        if state.name not in OVER and state.name != GONE:
            one.ended = None
            if state.name == "PENDING":
                self._clock.stop(one.job.number)  # a job that is started again waits first
            else:
                one.has_started = True
                self._clock.submit(one.job.number)
            if one.is_overdue:
                self._queue.end(job)  # Slurm may not have answered the last time
            self._has_noticed = self._has_noticed or one.has_started
            if not self._has_noticed and time.monotonic() - one.since > NOTICE_SECONDS:
                self._has_noticed = True
                self._on_wait(f"trial {one.job.number} waits in Slurm's queue as job {job} ({state.reason})")
            return None
        if one.ended is None:  # the result may be on its way, through a shared disk, or the job on its way to a restart
            one.ended = state.name
            with contextlib.suppress(OSError):
                folder = one.handle.paths.folder
                folder.chmod(folder.stat().st_mode)  # makes NFS look again
            return None
        return self._read(job) or JobResult(
            number=one.job.number, error=self._reason(one, state), has_died=state.name not in LIMITS
        )

    def _reason(self, one: _Submitted, state: JobState) -> str:
        if self._is_slurm and state.name in REASONS:
            return f"its Slurm job {one.handle.job_id} {REASONS[state.name].format(limit=self._time_limit)}"
        what = f"Slurm job {one.handle.job_id}, {state.name}" if self._is_slurm else f"process {one.handle.job_id}"
        return f"its process died ({what}{_last_line(one.handle.paths.stderr)})"


def _refusal(error: Exception) -> str:
    """Return the last line of sbatch's error that says what is wrong."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith('Try "')]
    return lines[-1].removeprefix("sbatch: ").removeprefix("error: ") if lines else type(error).__name__


def _last_line(log: Path) -> str:
    """Return the last line of a job's log, after a colon; an empty string without any."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {lines[-1].strip()}" if lines else ""

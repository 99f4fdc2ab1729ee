"""The study's loop, in one thread: submit feasible proposals to the executor, wait for results, tell them to Optuna."""

import math
import time
from typing import TYPE_CHECKING, Final

import optuna

from sweeper.search.definition import Search
from sweeper.search.feasibility import UNCHECKED
from sweeper.search.options import StudyOptions
from sweeper.search.space import as_overrides
from sweeper.study.coordination import BEATS_PER_GRACE, Heartbeat
from sweeper.study.executors.base import Executor, Job, JobResult
from sweeper.study.interrupts import Interrupts
from sweeper.study.liveness import Watch
from sweeper.study.opening import OpenedStudy
from sweeper.study.progress import StudyProgress
from sweeper.study.server import is_connection_lost
from sweeper.study.stopping import Stopping
from sweeper.study.summary import REJECTIONS_IN_A_ROW
from sweeper.study.trial_record import save_record
from sweeper.study.trials import checked

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

WAIT_SECONDS: Final = 1.0
EVERY_POINT: Final = "every point of the space was tried"


class Coordinator:
    """Runs an opened study until all trials are done or a rule stops it."""

    def __init__(
        self,
        *,
        opened: OpenedStudy,
        search: Search,
        options: StudyOptions,
        executor: Executor,
        progress: StudyProgress,
        interrupts: Interrupts,
        heartbeat: Heartbeat,
    ) -> None:
        """Run the study's trials on `executor`, which beat on `heartbeat`.

        `progress` shows each event, `interrupts` may end the loop.
        """
        self._opened, self._search, self._options = opened, search, options
        self._executor, self._progress, self._interrupts = executor, progress, interrupts
        self._heartbeat = heartbeat
        self._trials = opened.trials
        self._running: dict[int, float] = {}
        """By number, the trials that the executor has: when they were submitted, on `time.perf_counter`."""
        self._untold: list[JobResult] = []
        """Results that the storage does not have yet."""
        self._rejected_in_a_row = 0
        self._stopping = Stopping(self._trials, target=search.target, timeout=options.timeout)
        self._watch = Watch(opened.coordination, grace_seconds=options.grace_seconds)
        self._recovered_at = -math.inf
        self._has_lost_connection = False
        self.missing: str | None = None
        """The config key without a value that ended the search."""
        self.returned: dict[int, JobReturn] = {}
        """Hydra's `JobReturn` of each job, by trial number."""

    @property
    def why_stopped(self) -> str:
        """The reason why no more trials are started; empty before a stop, and if all trials are done."""
        return self._stopping.why

    def run(self) -> None:
        """Submit, wait and tell until no trial is left, here or elsewhere, or a rule stops it; then cancel the executor."""
        try:
            while not self._stopping.ends_now:
                self._interrupts.check()
                try:
                    if self._is_over():
                        return
                except Exception as error:
                    if not is_connection_lost(error):
                        raise
                    self._has_lost_connection = True
                if not self._running:
                    with self._interrupts.allowed():
                        time.sleep(WAIT_SECONDS)
                    continue
                with self._interrupts.allowed():
                    results = self._executor.wait(WAIT_SECONDS)
                for result in results:
                    if result.error is not None:
                        # Ctrl-C in a job of this process may end in an error of a library: then no trial has failed.
                        self._interrupts.check()
                self._untold += sorted(results, key=lambda each: each.error is not None)
        finally:
            self._executor.cancel()

    def _is_over(self) -> bool:
        """Tell what is untold, fill the executor, and return whether no trial is left, here or in another process."""
        while self._untold and not self._stopping.ends_now:
            self._tell(self._untold[0])
            self._untold.pop(0)
        self._stopping.heed_target()
        if self._stopping.ends_now:
            return True
        self._recover()
        self._fill()
        if self._running:
            return False
        if self.why_stopped:
            return True
        others = self._trials.others_running()
        if others:
            self._stopping.heed_timeout()
        self._progress.on_waiting_for_others(others)
        return not others or bool(self.why_stopped)

    def requeue_running(self, reason: str) -> int:
        """Queue the points of this process's running trials again; return their number."""
        with self._opened.lock():
            # From the storage: an error between asking for a trial and submitting it leaves one that is not known here.
            numbers = self._trials.own_running()
            return sum(self._trials.requeue(number, self._opened.folder, reason) for number in numbers)

    def _recover(self) -> None:
        """Queue the points of trials again whose process is gone, from time to time; after a lost connection at once.

        A connection that is lost between asking for a trial and submitting it leaves one that no process runs.
        """
        interval = self._options.grace_seconds / BEATS_PER_GRACE
        if not self._has_lost_connection and time.monotonic() - self._recovered_at < interval:
            return
        with self._opened.lock():
            gone = self._watch.abandoned(self._opened.study)
            gone += [number for number in self._trials.own_running() if number not in self._running]
            self._progress.on_recovered(self._trials.recover(gone, self._opened.folder))
        self._recovered_at = time.monotonic()
        self._has_lost_connection = False

    def _fill(self) -> None:
        while len(self._running) < self._executor.capacity and not self.why_stopped:
            job = self._next_job()
            if job is None:
                return
            self._running[job.number] = time.perf_counter()
            self._executor.submit(job)

    def _next_job(self) -> Job | None:
        """Ask for proposals until one has to be trained; None if no more are needed."""
        while not self.why_stopped:
            self._interrupts.check()
            with self._opened.lock():
                if self._is_enough() or self._is_exhausted():
                    return None
                self._stopping.heed_timeout()
                if self.why_stopped:
                    return None
                trial = self._trials.ask()
                if self._is_settled(trial):
                    continue
                self._heartbeat.add(trial.number)
                overrides = as_overrides(self._search.space, trial.params)
                return Job(number=trial.number, overrides=overrides, is_retry=self._trials.is_retry(trial))
        return None

    def _is_enough(self) -> bool:
        """Whether no more trials are needed: no point of a grid is waiting, or a search has started its total."""
        summary = self._trials.summary()
        return not summary.waiting if self._search.is_grid else summary.counted + summary.running >= self._search.total

    def _is_exhausted(self) -> bool:
        """Whether a sampler that tries every point has none left to propose. The study ends once none is running."""
        summary = self._trials.summary()
        if not self._opened.tries_every_point or summary.waiting or not self._trials.are_all_tried():
            return False
        if not self._running and not self._trials.others_running():  # a running one may fail, and be queued again
            self._stopping.stop(EVERY_POINT)
        return True

    def _is_settled(self, trial: optuna.Trial) -> bool:
        """Tell an infeasible proposal, or one that repeats a completed trial; return False if it must be trained."""
        feasibility = self._search.check.check(trial.params) if self._search.check else UNCHECKED
        feasibility = self._trials.restrict(feasibility)
        if feasibility.reason is not None:
            self._trials.reject(trial, feasibility)
            self._progress.on_rejected(trial.number, feasibility.reason)
            self._rejected_in_a_row += 1
            # Every point of a grid is tried, however many of them are infeasible; so does a sampler of every point.
            is_whole = self._search.is_grid or self._opened.tries_every_point
            if self._rejected_in_a_row >= REJECTIONS_IN_A_ROW and not is_whole:
                self._stopping.stop(f"{REJECTIONS_IN_A_ROW} proposals in a row were rejected")
            return True
        self._rejected_in_a_row = 0
        repeated = self._trials.accept(trial, feasibility)
        if repeated is not None:
            self._progress.on_repeated(trial.number, repeated)
        return repeated is not None

    def _tell(self, result: JobResult) -> None:
        seconds = time.perf_counter() - self._running[result.number]
        if result.returned is not None:
            self.returned[result.number] = result.returned
        result = checked(result, self._trials.goal)
        if result.error is None:
            # First: on a host that sees the trial completed, its files are there too.
            unsaved = save_record(self._opened.storage, self._opened.name, result.number, result.texts)
            if unsaved is not None:
                self._progress.on_unsaved(result.number, unsaved)
        with self._opened.lock():
            failed = self._trials.tell(result)
            summary = self._trials.summary()
        if failed is None:
            self._progress.on_given_up(result.number)
        else:
            self._progress.on_finished(result, seconds, is_retried=result.error is not None and not failed)
        # Last: if the connection to the storage is lost before this, even at the lock's end, the result is told again.
        self._running.pop(result.number)
        self._heartbeat.remove(result.number)
        missing = None if summary.complete else result.missing
        if failed and (missing is not None or self._search.has_too_many(summary.failed)):
            self.missing = missing
            self._stopping.stop("", now=True)  # the caller says why

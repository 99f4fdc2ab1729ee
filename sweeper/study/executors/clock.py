"""How long each job has run, and when it has run too long: what every executor asks of `hydra.sweeper.trial_timeout`."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from sweeper.study.executors.base import JobResult

START_SECONDS: Final = 300.0
"""The time that a job has to begin where its process starts, or was stopped before it told: its limit begins then."""
STEP_SECONDS: Final = 5.0
"""The most that counts between two looks at the clock: a search that was suspended, as by Ctrl-Z, has not run meanwhile."""


class TrialClock:
    """Measures the running jobs of one executor, which looks at it several times a minute. Jobs are known by their numbers.

    The live table reads it from another thread.
    """

    def __init__(self, limit: float | None = None) -> None:
        """Let each job run for `limit` seconds, from when it begins; None for as long as it takes."""
        self.limit = limit
        self.kill: Callable[[int], None] = lambda _: None
        """Kills a job's process and returns at once; the executor that runs the jobs sets it."""
        self._killed: set[int] = set()
        self._looked, self._seconds, self._lock = time.monotonic(), 0.0, threading.Lock()
        self._submitted: dict[int, float] = {}
        self._began: dict[int, float] = {}

    def submit(self, number: int) -> None:
        """Note that a job has a process, which may have to start first; a second call changes nothing."""
        self._submitted.setdefault(number, self._now())

    def begin(self, number: int) -> None:
        """Note that a job begins, or does so anew."""
        self._began[number] = self._now()

    def stop(self, number: int) -> None:
        """Note that a job has no process any more: it has ended, or waits until its engine starts it again."""
        self._submitted.pop(number, None)
        self._began.pop(number, None)
        self._killed.discard(number)

    def seconds(self, number: int) -> float | None:
        """Return how long a job has run, in seconds; None if it has not begun here."""
        began = self._began.get(number)
        return None if began is None else self._now() - began

    def left(self, numbers: Iterable[int]) -> float:
        """Return the seconds until the first of these jobs is to be killed; infinity if none is."""
        now = self._now()
        left = (self._ends(number) - now for number in numbers if number not in self._killed)
        return max(0.0, min(left, default=math.inf))

    def is_over(self, number: int) -> bool:
        """Whether a job has run for its limit."""
        return self._ends(number) <= self._now()

    def kill_overdue(self) -> None:
        """Kill each job that has run for its limit, once: it may be what this process waits for, as with a lock of its storage."""
        for number in {*self._submitted, *self._began} - self._killed:
            if self.is_over(number):
                self._killed.add(number)
                self.kill(number)

    def judged(self, result: JobResult) -> JobResult:
        """Return a job's result, or if that is a failure of a job that was killed at its limit, just this."""
        is_killed = result.error is not None and result.number in self._killed
        return self.timed_out(result.number) if is_killed else result

    def timed_out(self, number: int) -> JobResult:
        """Return the failure of a job that was ended at its limit."""
        assert self.limit is not None
        return JobResult(number=number, error=f"it ran longer than {self.limit:g} s (hydra.sweeper.trial_timeout)")

    def _ends(self, number: int) -> float:
        if self.limit is None:
            return math.inf
        began = self._began.get(number)
        if began is None:
            began = self._submitted.get(number, math.inf) + START_SECONDS
        return began + self.limit

    def _now(self) -> float:
        """Return the seconds that this search has run, by a clock that is never set back."""
        with self._lock:
            now = time.monotonic()
            self._seconds += min(now - self._looked, STEP_SECONDS)
            self._looked = now
            return self._seconds

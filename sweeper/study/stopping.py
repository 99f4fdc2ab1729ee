"""Decides when a search starts no more trials: its target is reached, its time is over, or it can go no further."""

import time

from sweeper.study.trials import TrialStore
from sweeper.terminal.formats import percent


class Stopping:
    """Why a search stops, and whether its running trials end too. The first reason stays."""

    def __init__(self, trials: TrialStore, *, target: float | None, timeout: float | None) -> None:
        """Stop at the first trial that reaches `target` from now on, and after `timeout` seconds; None for neither."""
        self._trials, self._target, self._timeout = trials, target, timeout
        above = trials.completed_above(target) if target is not None else []
        self._above_at_start = {trial.number for trial in above}
        self._started = time.monotonic()
        self.why = ""
        """The reason, for the search's last lines; empty before a stop."""
        self.ends_now = False
        """Whether the running trials end too, and the caller queues their points again."""

    def stop(self, why: str, *, now: bool = False) -> None:
        """Start no more trials. With `now` the running ones end too."""
        self.why = self.why or why
        self.ends_now = self.ends_now or now

    def heed_target(self) -> None:
        """Stop if a trial has reached the target since this process began, here or in another process."""
        if self._target is None:
            return
        for trial in self._trials.completed_above(self._target):
            if trial.number not in self._above_at_start:
                self.stop(f"trial {trial.number} reached the target of {percent(self._target)}", now=True)

    def heed_timeout(self) -> None:
        """Stop if this process has searched for its time. Call it where trials are left, here or in another process."""
        if self._timeout is not None and time.monotonic() - self._started >= self._timeout:
            self.stop(f"no trial was started after {self._timeout:g} s (hydra.sweeper.timeout)")

"""How the limits of a search's time, and what is left of it, read in a terminal."""

from dataclasses import dataclass, field

from sweeper.study.executors.clock import TrialClock
from sweeper.terminal.formats import clock, time_left


@dataclass(frozen=True, kw_only=True)
class TimeLimits:
    """The limits of the time of a search and of its trials."""

    timeout: float | None = None
    """The time, in seconds, in which this process starts trials; None for no limit."""
    trials: TrialClock = field(default_factory=TrialClock)
    """How long the trials have run."""

    def sentence(self) -> str:
        """Return the limits in words; an empty string without any."""
        search = [] if self.timeout is None else [f"no trial starts after {self.timeout:g} s"]
        trial = [] if self.trials.limit is None else [f"a trial is ended after {self.trials.limit:g} s"]
        return ", ".join(search + trial)

    def status(self, elapsed: float, *, finished: int, left: int) -> str:
        """Return the time that this process has searched, its limit, and an estimate of the time left once one is finished.

        `elapsed` is in seconds; `finished` trials took it, and `left` are not finished.
        """
        shown = clock(elapsed, self.timeout)
        if not finished:
            return shown
        seconds = elapsed / finished * left
        if self.timeout is not None:  # the trials that run then are finished
            seconds = min(seconds, max(0.0, self.timeout - elapsed) + elapsed / finished)
        return f"{shown}, {time_left(seconds)}"

    def of_trial(self, number: int) -> str:
        """Return how long a trial of this process has run, and may run; an empty string if that has no limit."""
        seconds = self.trials.seconds(number)
        return "" if self.trials.limit is None or seconds is None else clock(seconds, self.trials.limit)

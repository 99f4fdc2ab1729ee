"""The summary of a study's trials: the number in each state, and the best one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.every_point import Point, point
from sweeper.study.attributes import FINGERPRINT, REJECTED, REQUEUED
from sweeper.study.goal import Goal, as_goal

REJECTIONS_IN_A_ROW: Final = 100
"""Number of consecutive rejections that ends a study: too little of the space is within the budget."""
FINISHED: Final = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """Number of trials in each state of `state_of`, except ``retried``, and the best trial."""

    complete: int
    pruned: int
    rejected: int
    failed: int
    """Failed for good; trials whose points were queued again do not count."""
    running: int
    waiting: int
    best: FrozenTrial | None
    """The best completed trial, see `Goal.order`."""

    @property
    def counted(self) -> int:
        """Number of trials that count toward `n_trials`: rejected proposals and retried failures do not."""
        return self.complete + self.pruned + self.failed


def summarize_trials(trials: list[FrozenTrial], goal: Goal | StudyDirection) -> StudySummary:
    """Count the trials and find the best."""
    return RunningSummary(goal).summarize(trials)


def state_of(trial: FrozenTrial) -> str:
    """Return Optuna's state in lower case, except ``rejected`` for a rejected and ``retried`` for a retried trial."""
    match trial.state:
        case TrialState.PRUNED:
            return "rejected" if REJECTED in trial.user_attrs else "pruned"
        case TrialState.FAIL:
            return "retried" if trial.user_attrs.get(REQUEUED) else "failed"
        case state:
            return state.name.lower()


def tried_points(trials: Iterable[FrozenTrial]) -> set[Point]:
    """Return the points of the trials that have begun: a queued one is still to be tried, as is a retried one's."""
    return {point(trial.params) for trial in trials if state_of(trial) not in {"waiting", "retried"}}


def better(best: FrozenTrial | None, trial: FrozenTrial, goal: Goal) -> FrozenTrial | None:
    """Return the better of the best trial so far and another one; one that is not completed is ignored."""
    if trial.state is not TrialState.COMPLETE:
        return best
    return trial if best is None or goal.order(trial) < goal.order(best) else best


class RunningSummary:
    """Summarizes incrementally: each finished trial is counted once, not again for each proposal."""

    def __init__(self, goal: Goal | StudyDirection) -> None:
        """Start without trials; `goal` decides which trial is best."""
        self._goal = as_goal(goal)
        self._counted = 0
        self._states: Counter[str] = Counter()
        self._best: FrozenTrial | None = None
        self._by_fingerprint: dict[str, FrozenTrial] = {}

    def summarize(self, trials: list[FrozenTrial]) -> StudySummary:
        """Return the summary of `trials`, which are all trials of the study in order of their numbers."""
        tail = self._unfinished_tail(trials)
        states, best = self._states.copy(), self._best
        for trial in tail:
            states[state_of(trial)] += 1
            best = better(best, trial, self._goal)
        return _summary(states, best)

    def completed_with(self, fingerprint: str, trials: list[FrozenTrial]) -> FrozenTrial | None:
        """Return the first completed trial with this config fingerprint; None if there is none."""
        tail = self._unfinished_tail(trials)
        if fingerprint in self._by_fingerprint:
            return self._by_fingerprint[fingerprint]
        same = (
            trial
            for trial in tail
            if trial.state is TrialState.COMPLETE and trial.user_attrs.get(FINGERPRINT) == fingerprint
        )
        return next(same, None)

    def _unfinished_tail(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Count the new finished trials at the front; return all trials from the first unfinished one on."""
        while self._counted < len(trials) and trials[self._counted].state in FINISHED:
            trial = trials[self._counted]
            self._states[state_of(trial)] += 1
            self._best = better(self._best, trial, self._goal)
            if trial.state is TrialState.COMPLETE and FINGERPRINT in trial.user_attrs:
                self._by_fingerprint.setdefault(trial.user_attrs[FINGERPRINT], trial)
            self._counted += 1
        return trials[self._counted :]


def _summary(states: Counter[str], best: FrozenTrial | None) -> StudySummary:
    return StudySummary(
        complete=states["complete"],
        pruned=states["pruned"],
        rejected=states["rejected"],
        failed=states["failed"],
        running=states["running"],
        waiting=states["waiting"],
        best=best,
    )

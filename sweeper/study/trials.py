"""A study's trials: the only module that asks Optuna for proposals, tells it results, and queues points again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import DiskError
from sweeper.search.conditions import is_active
from sweeper.search.every_point import are_all_tried
from sweeper.search.feasibility import Feasibility
from sweeper.search.space import Params, Space
from sweeper.study.attributes import (
    DEATHS,
    DUPLICATE,
    FAILED,
    FINGERPRINT,
    MACS,
    OWNER,
    PARAMETERS,
    PRUNED,
    RECEPTIVE_FIELD,
    REJECTED,
    REQUEUE_OF,
    REQUEUED,
    RETRY,
    RULE,
)
from sweeper.study.executors.base import JobResult
from sweeper.study.folder import StudyFolder
from sweeper.study.goal import Goal
from sweeper.study.optuna_private import queued_params, set_user_attr
from sweeper.study.owner import identify_process, owner_of
from sweeper.study.retries import failure_of, same_try
from sweeper.study.summary import RunningSummary, StudySummary, state_of, tried_points
from sweeper.untrusted import parse_json, read_text

NOT_SMALLER: Final = "not smaller than the answer"
"""The rule that rejects a proposal of a search for the smallest network."""


class TrialStore:
    """The trials of a study. The caller must hold the study's lock in every call that asks or tells."""

    def __init__(self, study: optuna.Study, space: Space, *, max_retry: int) -> None:
        """Access the study's trials; `max_retry` is the number of times a failed point is queued again."""
        self.study = study
        self._space = space
        self._max_retry = max_retry
        self.goal = Goal.of(study)
        """What the study is after."""
        self._summary = RunningSummary(self.goal)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def summary(self) -> StudySummary:
        """Count the trials and find the best."""
        return self._summary.summarize(self.trials())

    def completed_above(self, value: float) -> list[FrozenTrial]:
        """Return the completed trials with at least this value."""
        return [t for t in self.trials() if t.state is TrialState.COMPLETE and t.values[0] >= value]

    def rejections(self) -> Counter[str]:
        """Count the rejected proposals by the rule that rejected them."""
        return Counter(trial.user_attrs[RULE] for trial in self.trials() if RULE in trial.user_attrs)

    def fewest_parameters(self) -> int | None:
        """Return the smallest parameter count of all proposals that can be built; None if no network can be built."""
        counts = [trial.user_attrs[PARAMETERS] for trial in self.trials() if PARAMETERS in trial.user_attrs]
        return min(counts, default=None)

    def enqueue_missing(self, points: tuple[Params, ...]) -> None:
        """Queue every point that no trial has: a retried trial does not count, its point is queued again."""
        # A kill between failing a trial and queueing its point again leaves a retried trial alone: it is made good here.
        known = {_key(_params(trial)) for trial in self.trials() if state_of(trial) != "retried"}
        for point in points:
            if _key(point) not in known:
                self.study.enqueue_trial(point)

    def recover(self, abandoned: Sequence[int], folder: StudyFolder) -> list[int]:
        """Requeue trials whose process is gone; return the numbers of those that were queued again."""
        self.finish_requeues()
        return [number for number in abandoned if self.requeue(number, folder, "its process is gone")]

    def own_running(self) -> list[int]:
        """Return the numbers of the running trials that this process asked for."""
        me = identify_process()
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial.number for trial in running if trial.user_attrs.get(OWNER) == me]

    def others_running(self) -> int:
        """Return the number of running trials of other processes that end or are given up: all but an earlier version's."""
        me = identify_process()
        owners = map(owner_of, self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        return sum(owner is None or ("process" in owner and owner != me) for owner in owners)

    def ask(self) -> optuna.Trial:
        """Ask for the next proposal and record this process as its owner."""
        trial = self.study.ask()
        for key, distribution in self._space.distributions.items():
            if is_active(key, trial.params):
                _suggest(trial, key, distribution)
        trial.set_user_attr(OWNER, identify_process())
        return trial

    def reject(self, trial: optuna.Trial, feasibility: Feasibility) -> None:
        """Tell a rejected proposal with its constraints, as pruned: a sampler may propose a failed point again."""
        self._annotate(trial, feasibility)
        trial.set_user_attr(REJECTED, feasibility.reason)
        trial.set_user_attr(RULE, feasibility.rule)
        self.study.tell(trial, state=TrialState.PRUNED)

    def restrict(self, feasibility: Feasibility) -> Feasibility:
        """Return the feasibility in a search for the smallest network: it must be smaller than the answer so far."""
        design, best = feasibility.design, self.summary().best if self.goal.smallest else None
        if design is None or feasibility.reason is not None or best is None or not self.goal.is_reached(best):
            return feasibility
        cost, least = getattr(design.summary, self.goal.cost or PARAMETERS), self.goal.cost_of(best)
        assert least is not None
        constraints = {**feasibility.constraints, "smaller": (cost + 1) / least - 1}
        if cost < least:
            return replace(feasibility, constraints=constraints)
        reason = f"{cost:,} {self.goal.unit} are not fewer than the {least:,} of trial {best.number}, at the target"
        return replace(feasibility, constraints=constraints, reason=reason, rule=NOT_SMALLER, fingerprint=None)

    def accept(self, trial: optuna.Trial, feasibility: Feasibility) -> FrozenTrial | None:
        """Annotate a feasible proposal. If a completed trial has the same config, tell its value and return it."""
        self._annotate(trial, feasibility)
        if feasibility.fingerprint is None:
            return None
        other = self._summary.completed_with(feasibility.fingerprint, self.trials())
        if other is not None:
            trial.set_user_attr(DUPLICATE, other.number)
            self.study.tell(trial, other.values)
            return other
        trial.set_user_attr(FINGERPRINT, feasibility.fingerprint)
        return None

    def are_all_tried(self) -> bool:
        """Whether every point of the space has a trial, running ones included."""
        return are_all_tried(self._space.distributions, tried_points(self.trials()))

    def is_retry(self, trial: optuna.Trial) -> bool:
        """Whether this trial's point failed before, or its process died there."""
        return any(trial.user_attrs.get(key) for key in (RETRY, DEATHS))

    def tell(self, result: JobResult) -> bool | None:
        """Tell a job's result; return whether the trial failed for good, without a retry.

        Returns None if it comes too late: another process has taken this one for dead and queued the trial's point again. A
        result that was told just before the connection to the storage was lost is not told again.
        """
        trial = self.trials()[result.number]
        if (state := state_of(trial)) != "running":
            is_late = state == "retried" and trial.user_attrs.get(FAILED) != result.error
            return None if is_late else state == "failed"
        try:
            if result.error is not None:
                return self._fail(trial, result)
            if result.pruned:
                if result.reason is not None:
                    set_user_attr(self.study, result.number, PRUNED, result.reason)
                self.study.tell(result.number, state=TrialState.PRUNED)
            else:
                assert result.value is not None
                self.study.tell(result.number, self._values(result.number, result.value))
        except (UpdateFinishedTrialError, ValueError):
            # This process was suspended while it held the lock, which was given to another one.
            if self.trials()[result.number].state is TrialState.RUNNING:
                raise
            return None
        return False

    def requeue(self, number: int, folder: StudyFolder, reason: str) -> bool:
        """Tell an interrupted trial as failed and queue its point again; return True.

        If the trial's folder has a result, its job had finished: tell it as completed instead, and return False.
        """
        value = _finished_value(folder.trial(number).result)
        trial = self.trials()[number]
        try:
            if value is not None:
                self.study.tell(number, self._values(number, value))
                return False
            set_user_attr(self.study, number, FAILED, reason)
            set_user_attr(self.study, number, REQUEUED, True)  # noqa: FBT003 - the attribute's value
            self.study.tell(number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):
            if self.trials()[number].state is TrialState.RUNNING:
                raise
            return False  # ended by another process, which got the lock of this one while it was suspended
        self._queue_again(trial, same_try(trial))
        return True

    def _queue_again(self, trial: FrozenTrial, counts: dict[str, Any]) -> None:
        self.study.enqueue_trial(_params(trial), user_attrs={**counts, REQUEUE_OF: trial.number})

    def finish_requeues(self) -> None:
        """Queue the points of trials whose process died, or lost its storage, between failing them and queueing them."""
        trials = self.trials()
        queued = {trial.user_attrs.get(REQUEUE_OF) for trial in trials}
        for trial in trials:
            # A trial of an earlier version has no process in its owner, and its point's trial does not name it.
            is_new = "process" in (owner_of(trial) or {})
            if is_new and state_of(trial) == "retried" and trial.number not in queued:
                self._queue_again(trial, same_try(trial))

    def _values(self, number: int, value: float | tuple[float, ...]) -> list[float]:
        """Return a trial's objective values: a job measures the accuracy, the cost was known before it."""
        if isinstance(value, tuple):
            return list(value)
        if self.goal.cost is None:
            return [value]
        cost = self.goal.cost_of(self.trials()[number])
        assert cost is not None
        return [value, float(cost)]

    def _annotate(self, trial: optuna.Trial, feasibility: Feasibility) -> None:
        for name, excess in feasibility.constraints.items():
            trial.set_constraint(name, excess)
        if feasibility.design is not None:
            summary = feasibility.design.summary
            trial.set_user_attr(PARAMETERS, summary.parameters)
            trial.set_user_attr(MACS, summary.macs)
            trial.set_user_attr(RECEPTIVE_FIELD, summary.layers[-2].receptive_field)

    def _fail(self, trial: FrozenTrial, result: JobResult) -> bool:
        failure = failure_of(trial, result, max_retry=self._max_retry)
        set_user_attr(self.study, trial.number, FAILED, failure.reason)
        if failure.next_try is not None:
            set_user_attr(self.study, trial.number, REQUEUED, True)  # noqa: FBT003 - the attribute's value
        self.study.tell(trial.number, state=TrialState.FAIL)
        if failure.next_try is not None:
            self._queue_again(trial, failure.next_try)
        return failure.next_try is None


def checked(result: JobResult, goal: Goal) -> JobResult:
    """Return a job's result; if it returned another number of values than the study has, it is a failure.

    Raises `DiskError` if the job had no disk space: no other one has, and the trial has not failed.
    """
    if result.is_disk_full:
        raise DiskError(result.error)
    count = len(goal.directions) if goal.cost is None else 1
    values = result.value if isinstance(result.value, tuple) else (result.value,)
    if result.error is not None or result.pruned or len(values) == count:
        return result
    error = (
        f"a job must return {count} number{'' if count == 1 else 's'}, but returned {len(values)}: hydra.sweeper.direction "
        "lists a direction for each"
    )
    return replace(result, value=None, error=error, retryable=False)


def _suggest(trial: optuna.Trial, key: str, distribution: BaseDistribution) -> None:
    match distribution:
        case FloatDistribution():
            trial.suggest_float(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        case IntDistribution():
            trial.suggest_int(key, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
        case CategoricalDistribution():
            trial.suggest_categorical(key, distribution.choices)


def _finished_value(result: Path) -> float | None:
    try:
        return float(parse_json(read_text(result))["value"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters of a trial, or those it was queued with if it has not been asked for to the end."""
    return {**queued_params(trial), **trial.params}


def _key(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))

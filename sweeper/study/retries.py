"""Decides whether the point of a failed trial is tried again. Who killed its process is blamed first, the point only later."""

from dataclasses import dataclass
from typing import Any, Final

from optuna.trial import FrozenTrial

from sweeper.study.attributes import DEATHS, RETRY, whole
from sweeper.study.executors.base import JobResult

MAX_DEATHS: Final = 3
"""The number of processes in a row that die at one point until the point is blamed: it crashes, or takes all memory.

A process that is killed by hand, by the kernel for another one's memory, or with its node, hardly ever dies at the same point
so often.
"""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What follows from a failed trial."""

    reason: str
    """Why it failed, one line."""
    next_try: dict[str, Any] | None
    """The user attributes of the trial that tries its point again; None if it has failed for good."""


def failure_of(trial: FrozenTrial, result: JobResult, *, max_retry: int) -> Failure:
    """Return what follows from a failed job.

    A job that raised an error is tried again up to `max_retry` times. One whose process died is tried again until
    `MAX_DEATHS` processes in a row, or one more than `max_retry`, have died at its point.
    """
    assert result.error is not None
    failures, deaths = (whole(trial.user_attrs.get(key)) or 0 for key in (RETRY, DEATHS))
    if not result.has_died:
        is_last = not result.retryable or failures >= max_retry
        return Failure(reason=result.error, next_try=None if is_last else {RETRY: failures + 1})
    if deaths + 1 < max(MAX_DEATHS, max_retry + 1):
        return Failure(reason=result.error, next_try={**same_try(trial), DEATHS: deaths + 1})
    before = f"as the {deaths} before it did at this point"
    return Failure(reason=f"{result.error}, {before}: it crashes, or takes more memory than there is", next_try=None)


def same_try(trial: FrozenTrial) -> dict[str, Any]:
    """Return the counts of a trial that was interrupted, for the one that tries its point again: nothing is its fault."""
    return {
        RETRY: trial.user_attrs.get(RETRY),
        **{key: trial.user_attrs[key] for key in (DEATHS,) if key in trial.user_attrs},
    }

"""What a study's trials say: who owns them, what counts, what is left to do. The one place that asks and tells."""

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.feasibility import Feasibility
from sweeper.search.space import Params, Space
from sweeper.study.executors.workers import Outcome
from sweeper.study.folder import StudyFolder

# Keys of trials' user attributes, which the dashboard shows.
REJECTED: Final = "rejected"
RULE: Final = "rejected_by"
FAILED: Final = "failed"
RETRY: Final = "retry_of"
REQUEUED: Final = "requeued"
OWNER: Final = "owner"
FINGERPRINT: Final = "config_sha256"
DUPLICATE: Final = "duplicate_of"
PARAMETERS: Final = "parameters"
MACS: Final = "macs"
RECEPTIVE_FIELD: Final = "receptive_field"  # before the head, which joins all there is
FINISHED: Final = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How a study stands."""

    complete: int
    pruned: int
    rejected: int
    failed: int
    """For good: those that were tried again do not count."""
    running: int
    waiting: int
    best: FrozenTrial | None

    @property
    def counted(self) -> int:
        """Trials that count toward `n_trials`: neither rejected proposals nor failures that were tried again."""
        return self.complete + self.pruned + self.failed


class Ledger:
    """A study's trials. Not for two processes at once: the sweeper holds a lock around every call that asks or tells."""

    def __init__(self, study: optuna.Study, space: Space, *, max_retry: int) -> None:
        """Keep that study's trials, of that space."""
        self.study = study
        self._space = space
        self._max_retry = max_retry
        # What the finished trials at the front say, counted once: a study of thousands is not read again for each.
        self._lock = threading.Lock()  # the board's thread counts too
        self._counted = 0
        self._counts: Counter[str] = Counter()
        self._best: FrozenTrial | None = None
        self._by_fingerprint: dict[str, FrozenTrial] = {}

    def trials(self) -> list[FrozenTrial]:
        """All trials, in order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def tally(self) -> Tally:
        """Count."""
        with self._lock:
            later = self._count_finished()
            states = self._counts + Counter(state_of(trial) for trial in later)
            best = self._better(self._best, *later)
        return Tally(
            complete=states["complete"],
            pruned=states["pruned"],
            rejected=states["rejected"],
            failed=states["failed"],
            running=states["running"],
            waiting=states["waiting"],
            best=best,
        )

    def reasons(self) -> Counter[str]:
        """Rejected proposals by the rule that rejected them."""
        return Counter(trial.user_attrs[RULE] for trial in self.trials() if RULE in trial.user_attrs)

    def smallest(self) -> int | None:
        """The smallest parameter count among all proposals that can be built."""
        counts = [trial.user_attrs[PARAMETERS] for trial in self.trials() if PARAMETERS in trial.user_attrs]
        return min(counts, default=None)

    def enqueue_missing(self, points: tuple[Params, ...]) -> None:
        """Queue every point that no trial has or had: failed for good counts as had."""
        known = {_key(trial.params or _fixed(trial)) for trial in self.trials()}
        for point in points:
            if _key(point) not in known:
                self.study.enqueue_trial(point)

    def recover(self, folder: StudyFolder) -> list[int]:
        """Settle the running trials whose process on this machine is gone; return the numbers of those queued again."""
        stale = [trial for trial in self.trials() if trial.state is TrialState.RUNNING and not owner_lives(trial)]
        return [trial.number for trial in stale if self.requeue(trial.number, folder, "its process is gone")]

    def own(self) -> list[int]:
        """Return the numbers of the running trials that this process asked for."""
        me = _me()
        return [t.number for t in self.trials() if t.state is TrialState.RUNNING and t.user_attrs.get(OWNER) == me]

    def ask(self) -> optuna.Trial:
        """Take the next proposal; it is ours from now on."""
        trial = self.study.ask(self._space.distributions)
        trial.set_user_attr(OWNER, _me())
        return trial

    def reject(self, trial: optuna.Trial, feasibility: Feasibility) -> None:
        """Tell Optuna by how much a proposal breaks its limits. Pruned, not failed: a failed point is proposed again."""
        self._note(trial, feasibility)
        trial.set_user_attr(REJECTED, feasibility.reason)
        trial.set_user_attr(RULE, feasibility.rule)
        self.study.tell(trial, state=TrialState.PRUNED)

    def accept(self, trial: optuna.Trial, feasibility: Feasibility) -> FrozenTrial | None:
        """Note a proposal that may be trained. Return the finished trial that it repeats, told already, if any."""
        self._note(trial, feasibility)
        other = self._finished_with(feasibility.fingerprint)
        if other is not None:
            trial.set_user_attr(DUPLICATE, other.number)
            self.study.tell(trial, other.value)
            return other
        trial.set_user_attr(FINGERPRINT, feasibility.fingerprint)
        return None

    def settle(self, trial: optuna.Trial, outcome: Outcome) -> bool:
        """Tell how a trial ended; return whether it failed for good."""
        if outcome.error is not None:
            return self._fail(trial, outcome.error, certain=outcome.certain)
        if outcome.pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, outcome.value)
        return False

    def requeue(self, number: int, folder: StudyFolder, reason: str) -> bool:
        """Fail a running trial through no fault of its own, and queue its point again; return whether that was done.

        One that has left a result was finished and only not told yet: it is complete.
        """
        trial = self.trials()[number]
        storage, identity = self.study._storage, trial._trial_id  # noqa: SLF001 - tell() refuses another process's trial
        value = _finished_value(folder.trial(number).result)
        if value is not None:
            storage.set_trial_state_values(identity, TrialState.COMPLETE, [value])
            return False
        storage.set_trial_user_attr(identity, FAILED, reason)
        storage.set_trial_user_attr(identity, REQUEUED, value=True)
        storage.set_trial_state_values(identity, TrialState.FAIL)
        self.study.enqueue_trial(trial.params, user_attrs={RETRY: trial.user_attrs.get(RETRY)})
        return True

    def _note(self, trial: optuna.Trial, feasibility: Feasibility) -> None:
        for name, margin in feasibility.constraints.items():
            trial.set_constraint(name, margin)
        if feasibility.design is not None:
            trial.set_user_attr(PARAMETERS, feasibility.design.summary.parameters)
            trial.set_user_attr(MACS, feasibility.design.summary.macs)
            trial.set_user_attr(RECEPTIVE_FIELD, feasibility.design.summary.layers[-2].receptive_field)

    def _fail(self, trial: optuna.Trial, reason: str, *, certain: bool) -> bool:
        frozen = self.trials()[trial.number]
        retries = frozen.user_attrs.get(RETRY) or 0
        for_good = certain or retries >= self._max_retry
        trial.set_user_attr(FAILED, reason)
        if not for_good:
            trial.set_user_attr(REQUEUED, value=True)
        self.study.tell(trial, state=TrialState.FAIL)
        if for_good:
            return True
        self.study.enqueue_trial(frozen.params, user_attrs={RETRY: retries + 1})
        return False

    def _count_finished(self) -> list[FrozenTrial]:
        """Count the finished trials at the front that were not counted yet; return those behind them."""
        trials = self.trials()
        while self._counted < len(trials) and trials[self._counted].state in FINISHED:
            trial = trials[self._counted]
            self._counts[state_of(trial)] += 1
            self._best = self._better(self._best, trial)
            if trial.state is TrialState.COMPLETE and FINGERPRINT in trial.user_attrs:
                self._by_fingerprint.setdefault(trial.user_attrs[FINGERPRINT], trial)
            self._counted += 1
        return trials[self._counted :]

    def _finished_with(self, fingerprint: str | None) -> FrozenTrial | None:
        """Return the finished trial of that config, if there is one."""
        if fingerprint is None:
            return None
        with self._lock:
            later = self._count_finished()
            same = (t for t in later if t.state is TrialState.COMPLETE and t.user_attrs.get(FINGERPRINT) == fingerprint)
            return self._by_fingerprint.get(fingerprint) or next(same, None)

    def _better(self, *trials: FrozenTrial | None) -> FrozenTrial | None:
        """Return the best of the complete ones, the earliest of equals."""
        complete = [trial for trial in trials if trial is not None and trial.state is TrialState.COMPLETE]
        maximize = self.study.direction is optuna.study.StudyDirection.MAXIMIZE
        return (max if maximize else min)(complete, key=lambda trial: trial.value or 0.0, default=None)


def _finished_value(result: Path) -> float | None:
    try:
        return float(json.loads(result.read_text())["value"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def state_of(trial: FrozenTrial) -> str:
    """Return what a trial counts as: a rejected proposal is no pruned trial, one tried again no failed one."""
    match trial.state:
        case TrialState.PRUNED:
            return "rejected" if REJECTED in trial.user_attrs else "pruned"
        case TrialState.FAIL:
            return "retried" if trial.user_attrs.get(REQUEUED) else "failed"
        case state:
            return state.name.lower()


def _fixed(trial: FrozenTrial) -> Mapping[str, Any]:
    """What a queued trial will have for parameters once it is taken."""
    fixed: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return fixed


def _key(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def _me() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks: tells it from a later one with the same id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def owner_lives(trial: FrozenTrial) -> bool:
    """Whether the process that took a running trial may still be at it; of another machine's nothing is known."""
    owner = trial.user_attrs.get(OWNER)
    if owner is None:
        return False  # killed between asking and signing
    if owner["host"] != socket.gethostname():
        return True  # not ours to feasibility_check
    return owner["started"] is not None and _started(owner["pid"]) == owner["started"]

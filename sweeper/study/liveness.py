"""Which running trials have lost their process: it is gone, or was silent for too long by the storage's clock."""

import time
from collections.abc import Mapping, Sequence
from typing import Final

import optuna
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.coordination import BEATS_PER_GRACE, Coordination
from sweeper.study.owner import Owner, identify_process, is_alive, owner_of

GRACE_SECONDS: Final = 60.0
"""The default of `hydra.sweeper.grace_seconds`, for a study that does not say."""


def lost_trials(trials: Sequence[FrozenTrial], ages: Mapping[int, float], *, grace_seconds: float) -> frozenset[int]:
    """Return the running trials without a live process, for someone who only looks.

    `ages` has for each running trial with a beat the seconds since then. A process that never beat counts as alive, unless
    it is known to be gone.
    """
    return frozenset(
        trial.number
        for trial in trials
        if trial.state is TrialState.RUNNING and _is_lost(owner_of(trial), ages.get(trial.number, 0.0), grace_seconds)
    )


def _is_lost(owner: Owner | None, age: float, grace_seconds: float) -> bool:
    return owner is None or is_alive(owner) is False or age > grace_seconds


class Watch:
    """Finds the running trials of dead processes."""

    def __init__(self, coordination: Coordination, *, grace_seconds: float) -> None:
        """Take a process for dead that has not beaten for `grace_seconds`."""
        self._coordination, self._grace = coordination, grace_seconds
        self._silent: dict[int, tuple[float, float]] = {}
        """By trial: when this process first saw it silent for so long, and its last beat, on `time.monotonic`."""

    def abandoned(self, study: optuna.Study) -> list[int]:
        """Return the running trials whose process is gone, or was silent for the grace time. Call it under the lock.

        A silent trial is watched for half the grace time more: after an outage of the server every process is silent, and
        beats again soon. A process of this machine may be silent because it was stopped: then it counts as dead too. A trial
        without an owner, or whose owner never beat, was being asked for when its process died: asking is done under the
        lock. A trial of an earlier version, which had no beats, is only known to be abandoned on its own machine.
        """
        running = _running(study)
        ages = self._coordination.seconds_since_beats(study) if running else {}
        self._silent = {number: self._first_seen(number, age) for number, age in ages.items() if age > self._grace}
        return [trial.number for trial in running if self._is_abandoned(trial, has_beat=trial.number in ages)]

    def _first_seen(self, number: int, age: float) -> tuple[float, float]:
        """Return when a silent trial was first seen so, and its last beat; it may have beaten and fallen silent again."""
        now = time.monotonic()
        since, beat = self._silent.get(number, (now, now - age))
        has_beaten = now - age - beat > self._grace / (2 * BEATS_PER_GRACE)
        return (now, now - age) if has_beaten else (since, beat)

    def _is_abandoned(self, trial: FrozenTrial, *, has_beat: bool) -> bool:
        owner = owner_of(trial)
        if owner is None:
            return True
        if owner.get("process") == identify_process()["process"]:
            return False
        alive = is_alive(owner)
        if alive is False:
            return True
        if "process" not in owner:
            return False
        if not has_beat:
            return alive is None
        watched = time.monotonic() - self._silent[trial.number][0] if trial.number in self._silent else 0
        return watched >= self._grace / 2


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

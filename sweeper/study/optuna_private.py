"""The only module that uses private parts of Optuna."""

import heapq
import warnings
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

import optuna
from optuna.samplers import CmaEsSampler
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

__all__ = [
    "VERSION",
    "CmaEsState",
    "FrozenStudy",
    "SearchStudy",
    "beat",
    "cached",
    "queued_params",
    "report",
    "running_trial",
    "seconds_since_beats",
    "set_user_attr",
    "should_prune",
    "study_id",
    "with_identity",
]

BLOCK: Final = 1000
BEST: Final = 100
VERSION: Final = "5.0.0"
"""The version of Optuna that these functions were checked against."""


def cached(database: RDBStorage) -> BaseStorage:
    """Return the database behind a cache that fetches finished trials once.

    `optuna.load_study` adds this cache but returns a study; a reader of several studies needs the storage itself.
    `get_storage` is documented as internal.
    """
    return get_storage(database)


def study_id(study: FrozenStudy) -> int:
    """Return a study's id in its storage.

    `BaseStorage.get_all_studies` is public, but it returns objects of a private class without a public id. The public
    `get_study_id_from_name` would cost a query per study.
    """
    return study._study_id  # noqa: SLF001


def with_identity(study: FrozenStudy, *, name: str, study_id: int) -> FrozenStudy:
    """Return the study under another name and id, for a storage that merges several storages.

    A custom storage must return this private class from the public `get_all_studies`.
    """
    return FrozenStudy(
        study_name=name,
        direction=None,
        directions=study.directions,
        user_attrs=study.user_attrs,
        system_attrs=study.system_attrs,
        study_id=study_id,
    )


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return the `optuna.Trial` with this number, which another process asked for, to report epochs to it.

    `Study.tell` accepts a number, but `optuna.Trial` needs the trial's id, which no public function returns.
    """
    return optuna.Trial(study, _trial_id(study, number))


class SearchStudy(optuna.Study):
    """A study whose trials are asked for and told, with one or two objectives.

    `Study.optimize` ends when a sampler has tried every point; asked and told, `Study.stop` raises instead, and the caller
    counts the points. With several objectives `Study.direction` raises, which TPE reads all the same, to rank pruned trials
    by what they reported.
    """

    is_thinned = False
    """Whether the sampler sees a part of a long history: the best `BEST` trials, and the last one or two blocks of `BLOCK`.

    TPE models the 25 best and all others, one by one: of 10,000 trials it would take most of a second for each proposal.
    """
    seeds: Sequence[FrozenTrial] = ()
    """Trials that the sampler alone sees, before its own."""
    _best_of: tuple[int, list[FrozenTrial]] = (0, [])
    """A number of blocks, and the best trials in them."""

    def stop(self) -> None:
        """Do nothing: points that the sampler takes for tried may run in a process that dies."""

    def get_trials(
        self,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return all trials."""
        return super()._get_trials(deepcopy, states, use_cache=False)

    def _get_trials(
        self,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: FBT001, FBT002 - likewise
    ) -> list[FrozenTrial]:
        """Return the trials that a sampler sees: all samplers of Optuna ask in this way."""
        trials = super()._get_trials(deepcopy, states, use_cache)
        if states is not None and TrialState.COMPLETE not in states:
            return trials
        return [*self.seeds, *(self._thinned(trials) if self.is_thinned else trials)]

    def _thinned(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        blocks = len(trials) // BLOCK - 1
        if blocks < 1:
            return trials
        if blocks != self._best_of[0]:
            sign = -1 if self.direction is StudyDirection.MAXIMIZE else 1
            completed = (trial for trial in trials[: blocks * BLOCK] if trial.state is TrialState.COMPLETE)
            best = heapq.nsmallest(BEST, completed, key=lambda trial: sign * trial.values[0])
            self._best_of = blocks, sorted(best, key=lambda trial: trial.number)
        return [*self._best_of[1], *trials[blocks * BLOCK :]]

    @property
    def direction(self) -> StudyDirection:
        """The direction of the first objective, which trials report while they run."""
        return self.directions[0]


def report(trial: optuna.Trial, value: float, step: int) -> None:
    """Save a trial's value after a step. With several objectives `Trial.report` raises; the storage does not mind.

    A job that was started again repeats its first steps, which Optuna ignores with a warning.
    """
    if len(trial.study.directions) == 1:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The reported value is ignored")
            trial.report(value, step)
    else:
        trial.storage.set_trial_intermediate_value(trial._trial_id, step, value)  # noqa: SLF001


def should_prune(trial: optuna.Trial) -> bool:
    """Whether the study's pruner ends the trial. With several objectives `Trial.should_prune` raises."""
    if len(trial.study.directions) == 1:
        return trial.should_prune()
    return trial.study.pruner.prune(trial.study, trial.storage.get_trial(trial._trial_id))  # noqa: SLF001


def set_user_attr(study: optuna.Study, number: int, key: str, value: object) -> None:
    """Set a user attribute of the trial with this number.

    The public way needs an `optuna.Trial`, and creating another one would announce a new trial to the sampler.
    """
    study._storage.set_trial_user_attr(_trial_id(study, number), key, value)  # noqa: SLF001


class CmaEsState(CmaEsSampler):
    """Optuna's CMA-ES, which unpickles its state out of the trials' system attributes, with a method that loads it."""

    def load_state(self, trial: FrozenTrial, state: str) -> object:
        """Return the optimizer from a trial's state, a pickle in hexadecimal digits."""
        raise NotImplementedError

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            parts = {
                key: str(value) for key, value in trial.system_attrs.items() if key.startswith(self._attr_key_optimizer)
            }
            if parts:
                return self.load_state(trial, self._concat_optimizer_attrs(parts))
        return None


def beat(database: RDBStorage, study: optuna.Study, number: int) -> None:
    """Record a heartbeat of a trial. The public `RDBStorage.record_heartbeat` needs the trial's id."""
    database.record_heartbeat(_trial_id(study, number))


def seconds_since_beats(database: RDBStorage, study: optuna.Study) -> dict[int, float]:
    """Return for each running trial that has a heartbeat the seconds since then, by the server's clock.

    Optuna's own `fail_stale_trials` also fails the trials, and neither counts them nor queues them again as sweeper does.
    """
    query = """
        SELECT t.number, EXTRACT(EPOCH FROM (CURRENT_TIMESTAMP AT TIME ZONE 'UTC' - h.heartbeat))
        FROM trial_heartbeats h JOIN trials t ON t.trial_id = h.trial_id
        WHERE t.study_id = :study AND t.state = 'RUNNING'
    """
    with database.engine.connect() as connection:
        rows = connection.execute(text(query), {"study": study._study_id}).all()  # noqa: SLF001
    return {number: float(seconds) for number, seconds in rows}


def queued_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return the parameters with which a trial was queued; empty if it was not queued.

    `Study.enqueue_trial` stores them in a system attribute whose key is not documented.
    """
    params: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return params


def _trial_id(study: optuna.Study, number: int) -> int:
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)  # noqa: SLF001

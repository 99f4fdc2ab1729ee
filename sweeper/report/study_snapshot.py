"""A copy of a study's name, direction and trials at one moment, so that one page is consistent during a search."""

from dataclasses import dataclass
from typing import Self

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.goal import Goal
from sweeper.study.warm_start import WARM_START, describe_warm_start


@dataclass(frozen=True, kw_only=True)
class StudySnapshot:
    """A study's name, direction and trials at one moment."""

    name: str
    goal: Goal
    trials: list[FrozenTrial]
    """In order of their numbers. Shared with the storage's cache: do not modify."""
    lost: frozenset[int] = frozenset()
    """The running trials whose process is gone."""
    warm_start: str = ""
    """A sentence with the studies that the search started from; empty if it started cold."""

    @classmethod
    def of(cls, study: optuna.Study, *, lost: frozenset[int] = frozenset()) -> Self:
        """Read a study, with all its trials in one query."""
        return cls(
            name=study.study_name,
            goal=Goal.of(study),
            trials=study.get_trials(deepcopy=False),
            lost=lost,
            warm_start=describe_warm_start(study.user_attrs.get(WARM_START, {})),
        )

    @property
    def direction(self) -> StudyDirection:
        """The direction of the values, of several objectives that of the first."""
        return self.goal.direction

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better."""
        return self.goal.maximize

    @property
    def completed(self) -> list[FrozenTrial]:
        """The trials with Optuna's state COMPLETE: not rejected, pruned or failed."""
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]

"""A copy of a study's name, direction and trials at one moment, so that one page is consistent during a search."""

from dataclasses import dataclass
from typing import Self

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.summary import order


@dataclass(frozen=True, kw_only=True)
class StudySnapshot:
    """A study's name, direction and trials at one moment."""

    name: str
    direction: StudyDirection
    trials: list[FrozenTrial]
    """In order of their numbers. Shared with the storage's cache: do not modify."""

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """Read a study, with all its trials in one query."""
        return cls(name=study.study_name, direction=study.direction, trials=study.get_trials(deepcopy=False))

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better."""
        return self.direction is StudyDirection.MAXIMIZE

    @property
    def completed(self) -> list[FrozenTrial]:
        """The trials with Optuna's state COMPLETE: not rejected, pruned or failed."""
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]

    @property
    def best(self) -> FrozenTrial | None:
        """The completed trial with the best value, of equals the one with fewer parameters; None if none is completed."""
        return min(self.completed, key=lambda trial: order(trial, self.direction), default=None)

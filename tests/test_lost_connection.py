"""A coordinator whose connection to the storage is lost just as it lets go of the study's lock."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from sweeper.bench import study_cost
from sweeper.search.definition import Search
from sweeper.search.options import StudyOptions
from sweeper.search.space import Space
from sweeper.study.coordination import Coordination
from sweeper.study.opening import open_study


@dataclass
class Losing:
    """A study's coordination that loses the connection at the end of every fifth lock."""

    real: Coordination
    released: int = 0

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock; then raise what a driver raises."""
        with self.real.lock():
            yield
        self.released += 1
        if self.released % 5 == 3:
            raise OperationalError(None, None, ConnectionError("lost"))

    def beat(self, numbers: Collection[int]) -> None:
        """Beat."""
        self.real.beat(numbers)

    def seconds_since_beats(self, study: optuna.Study) -> dict[int, float]:
        """The real ones."""
        return self.real.seconds_since_beats(study)


def test_a_connection_lost_at_the_locks_end_costs_no_result(tmp_path: Path) -> None:
    """Whether the coordinator was asking, telling or recovering: the search goes on to its total, nothing is RUNNING."""
    options = StudyOptions(
        direction="maximize",
        storage=None,
        study_name="lost",
        n_trials=30,
        n_jobs=2,
        max_failure_rate=0.5,
        params=None,
    )
    space = Space(distributions=study_cost.SPACE, template=tuple(study_cost.SPACE), grid=None)
    application = {"name": "sleep", "config": {}}
    search = Search(space=space, check=None, base=None, options=options, application=application)
    opened = open_study(search, options, study_cost._config(tmp_path))
    losing = Losing(opened.coordination)
    opened = replace(opened, coordination=losing)
    study_cost._rate(opened, search, study_cost.Sleeping(capacity=2, seconds=0.01), 0)
    assert losing.released > 50
    trials = opened.trials.trials()
    assert opened.trials.summary().counted == 30
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert all(trial.user_attrs["requeued"] for trial in trials if trial.state is TrialState.FAIL)

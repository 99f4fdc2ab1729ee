"""Who is blamed for a trial that failed: its point, or what killed its process."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from sweeper.search.space import Space
from sweeper.study.attributes import FAILED
from sweeper.study.executors.base import JobResult
from sweeper.study.folder import StudyFolder
from sweeper.study.trials import TrialStore

DIED = "its worker died (exit code -9, SIGKILL)"


@pytest.fixture
def store() -> TrialStore:
    """A study's trials, whose failures are tried again once."""
    distributions = {"x": FloatDistribution(0, 1)}
    space = Space(distributions=distributions, template=("x",), grid=None)  # type: ignore[arg-type]
    return TrialStore(optuna.create_study(), space, max_retry=1)


def _die(store: TrialStore) -> bool | None:
    return store.tell(JobResult(number=store.ask().number, error=DIED, has_died=True))


def _raise(store: TrialStore) -> bool | None:
    return store.tell(JobResult(number=store.ask().number, error="ValueError: no"))


def test_the_third_death_in_a_row_is_the_points_fault(store: TrialStore) -> None:
    """Two are not: they do not count toward max_failure_rate. The third fails for good, and says how it died, and how often."""
    assert [_die(store) for _ in range(3)] == [False, False, True]
    summary = store.summary()
    assert (summary.failed, summary.waiting, summary.counted) == (1, 0, 1)
    trials = store.trials()
    assert len({trial.params["x"] for trial in trials}) == 1
    assert trials[-1].user_attrs[FAILED] == (
        f"{DIED}, as the 2 before it did at this point: it crashes, or takes more memory than there is"
    )


def test_many_deaths_at_different_points_fail_nothing(store: TrialStore) -> None:
    """Each point dies twice and is then done: seven points, fourteen deaths, and no failed trial."""
    for _ in range(7):
        assert [_die(store), _die(store)] == [False, False]
        assert store.tell(JobResult(number=store.ask().number, value=0.5)) is False
    summary = store.summary()
    assert (summary.failed, summary.complete) == (0, 7)


def test_deaths_and_errors_are_counted_apart(store: TrialStore) -> None:
    """An error in between is an error of the point, of which max_retry allows one, and ends the row of deaths."""
    assert [_die(store), _die(store), _raise(store), _die(store), _die(store)] == [False] * 5
    assert _raise(store) is True


def test_a_search_that_is_killed_blames_no_point(store: TrialStore, tmp_path: Path) -> None:
    """However often: the counts of the point stay as they were."""
    folder = StudyFolder(tmp_path)
    assert _die(store) is False
    for _ in range(5):
        assert store.requeue(store.ask().number, folder, "its process is gone")
    assert [_die(store), _die(store)] == [False, True]


def test_max_retry_may_allow_more_deaths() -> None:
    """With max_retry=4, the fifth death in a row is the last."""
    space = Space(distributions={"x": FloatDistribution(0, 1)}, template=("x",), grid=None)
    store = TrialStore(optuna.create_study(), space, max_retry=4)
    assert [_die(store) for _ in range(5)] == [False] * 4 + [True]
    assert [trial.state for trial in store.trials()] == [TrialState.FAIL] * 5

"""The private parts of Optuna, exercised one by one: the first tests to fail when a new version moves them."""

from importlib.metadata import version
from typing import Literal

import optuna
import pytest
from optuna.storages import InMemoryStorage, RDBStorage

from sweeper.study import optuna_private as private

HELD_TO = f"sweeper.study.optuna_private was compared with Optuna {private.VERSION}, and this is {version('optuna')}"


@pytest.fixture
def study() -> optuna.Study:
    """A study in memory with one running and one queued trial."""
    study = optuna.create_study(storage=InMemoryStorage())
    study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    study.enqueue_trial({"x": 0.25})
    return study


def test_a_running_trial_is_found_by_its_number(study: optuna.Study) -> None:
    """What is reported to it and set on it is in the storage."""
    private.running_trial(study, 0).report(0.5, step=1)
    private.set_user_attr(study, 0, "failed", "why")
    assert study.trials[0].intermediate_values == {1: 0.5}, HELD_TO
    assert study.trials[0].user_attrs == {"failed": "why"}, HELD_TO


def test_a_queued_trial_has_parameters(study: optuna.Study) -> None:
    """Those it was queued with, before anybody asks for it."""
    assert private.queued_params(study.trials[1]) == {"x": 0.25}, HELD_TO
    assert private.queued_params(study.trials[0]) == {}, HELD_TO


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_sampler_sees_the_best_and_the_latest_of_a_long_history(
    monkeypatch: pytest.MonkeyPatch, direction: Literal["minimize", "maximize"]
) -> None:
    """Of 35 trials in blocks of 10 it sees the best 3 of the first two blocks, and all later ones; others see all."""
    monkeypatch.setattr(private, "BLOCK", 10)
    monkeypatch.setattr(private, "BEST", 3)
    storage = InMemoryStorage()
    optuna.create_study(study_name="long", storage=storage, direction=direction)
    study = private.SearchStudy("long", storage)
    values = [(number * 7) % 35 for number in range(35)]
    study.add_trials([optuna.trial.create_trial(value=value) for value in values])
    sign = 1 if direction == "minimize" else -1
    best = sorted(sorted(range(20), key=lambda number: sign * values[number])[:3])
    study.is_thinned = True
    assert [trial.number for trial in study._get_trials()] == [*best, *range(20, 35)], HELD_TO
    assert [trial.number for trial in study.get_trials()] == list(range(35)), HELD_TO
    study.is_thinned = False
    assert len(study._get_trials()) == 35, HELD_TO


def test_a_study_of_a_storage_has_an_id_and_another_identity() -> None:
    """Its id is the storage's; under another name and id it keeps what it is."""
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="a", direction="maximize")
    (frozen,) = storage.get_all_studies()
    assert private.study_id(frozen) == storage.get_study_id_from_name("a"), HELD_TO
    renamed = private.with_identity(frozen, name="b", study_id=7)
    assert (renamed.study_name, private.study_id(renamed), renamed.directions) == ("b", 7, frozen.directions), HELD_TO


def test_a_cached_database_reads_what_the_database_holds() -> None:
    """A study written to the database is found through the cache."""
    database = RDBStorage("sqlite:///:memory:")
    optuna.create_study(storage=database, study_name="a")
    assert [study.study_name for study in private.cached(database).get_all_studies()] == ["a"], HELD_TO
    database.engine.dispose()

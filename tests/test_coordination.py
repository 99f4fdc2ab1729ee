"""The contract of what keeps the processes of a study apart, for a study in files and one on a PostgreSQL server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sweeper.study.attributes import OWNER
from sweeper.study.coordination import Coordination, Heartbeat, advisory_lock, make_coordination
from sweeper.study.folder import StudyFolder
from sweeper.study.liveness import Watch, lost_trials
from sweeper.study.owner import identify_process
from sweeper.study.server import PostgresqlStorage, is_connection_lost
from sweeper.study.storage import journal_url, open_storage

PATIENT, IMPATIENT = 3600, 0.3
"""Grace times that no test exceeds, and that the next one does, seconds."""
Make = Callable[[], tuple[Coordination, optuna.Study]]


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes the coordination of one study as another process would: nothing is shared but the storage."""
    urls = {"journal": journal_url(tmp_path / "study" / "journal.log"), "sqlite": f"sqlite:///{tmp_path}/study.db"}
    kind = request.param
    url = request.getfixturevalue("postgresql") if kind == "postgresql" else urls[kind]
    name = f"{tmp_path.parent.name}-{tmp_path.name}"
    storages = []

    def made() -> tuple[Coordination, optuna.Study]:
        storage = open_storage(url)
        storages.append(storage)
        study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
        return make_coordination(study, storage, url, StudyFolder(tmp_path / "study")), study

    yield made
    for storage in storages:
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.engine.dispose()


def _running(study: optuna.Study, **owner: object) -> int:
    trial = study.ask()
    trial.set_user_attr(OWNER, {**identify_process(), **owner})
    return trial.number


ELSEWHERE = {"machine": "another", "process": "of another machine"}
"""An owner that can only be known by its beats."""


def test_one_process_at_a_time_holds_the_lock(make: Make) -> None:
    """A second holder waits until the first is done."""
    (first, _), (second, _) = make(), make()
    order: list[str] = []

    def hold() -> None:
        with second.lock():
            order.append("second")

    with first.lock():
        thread = threading.Thread(target=hold)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(timeout=30)
    assert order == ["first", "second"]


def test_a_trial_lives_while_its_process_beats(make: Make) -> None:
    """A process of another machine is taken for dead after the grace time without a beat, not before."""
    (here, study), (there, _) = make(), make()
    number = _running(study, **ELSEWHERE)
    patient, impatient = (Watch(here, grace_seconds=seconds) for seconds in (PATIENT, IMPATIENT))
    for _ in range(2):
        _beat_as(there, number, ELSEWHERE["process"])
        time.sleep(2 * IMPATIENT)
        assert impatient.abandoned(study) == []  # seen silent for the first time, as after an outage
        time.sleep(IMPATIENT)
        assert impatient.abandoned(study) == [number]
        assert patient.abandoned(study) == []
    _beat_as(there, number, ELSEWHERE["process"])
    study.tell(number, state=TrialState.FAIL)
    assert impatient.abandoned(study) == []


def test_a_heartbeat_beats_by_itself(make: Make) -> None:
    """Without the main thread's doing, beats follow one another."""
    here, study = make()
    number = _running(study)
    with Heartbeat(here, grace_seconds=IMPATIENT) as heartbeat:
        heartbeat.add(number)
        first = time.monotonic()
        time.sleep(3 * IMPATIENT)
        assert here.seconds_since_beats(study)[number] < time.monotonic() - first


def test_a_trial_that_was_never_signed_is_abandoned(make: Make) -> None:
    """Asking and signing are done under the lock, so whoever holds it and sees a trial unsigned may take it."""
    here, study = make()
    unsigned = study.ask().number
    silent = _running(study, **ELSEWHERE)
    assert Watch(here, grace_seconds=PATIENT).abandoned(study) == [unsigned, silent]


def test_equal_host_names_and_process_ids_steal_nothing(make: Make) -> None:
    """Containers may share both: their trials live by their beats."""
    here, study = make()
    number = _running(study, **ELSEWHERE)
    other, _ = make()
    _beat_as(other, number, ELSEWHERE["process"])
    assert Watch(here, grace_seconds=PATIENT).abandoned(study) == []


def test_a_dead_process_of_this_machine_needs_no_grace(make: Make) -> None:
    """Its process id is gone, or belongs to a later process; the own trials of the asking process are not its concern."""
    here, study = make()
    dead = _running(study, process="dead", started="at another time")
    _running(study)
    assert Watch(here, grace_seconds=PATIENT).abandoned(study) == [dead]


def test_an_earlier_versions_trial_elsewhere_is_left_alone(make: Make) -> None:
    """It never beat, and its process may be alive."""
    here, study = make()
    study.ask().set_user_attr(OWNER, {"host": "another", "pid": 1, "started": "0"})
    assert Watch(here, grace_seconds=1).abandoned(study) == []


def test_a_stopped_process_of_this_machine_is_given_up(make: Make) -> None:
    """Its process id is alive, but it does not beat; one that beats, or never did, is left alone."""
    (here, study), (there, _) = make(), make()
    number = _running(study, process="stopped")
    silent = _running(study, process="never beat")
    _beat_as(there, number, "stopped")
    impatient = Watch(here, grace_seconds=IMPATIENT)
    assert impatient.abandoned(study) == []
    time.sleep(2 * IMPATIENT)
    assert impatient.abandoned(study) == []  # a machine that was suspended: all processes may beat again at once
    time.sleep(IMPATIENT)
    assert impatient.abandoned(study) == [number]
    _beat_as(there, number, "stopped")
    assert silent not in impatient.abandoned(study)


def test_readers_tell_running_trials_by_their_beats(make: Make) -> None:
    """Wherever they run: without a beat for the grace time a trial has lost its process."""
    here, study = make()
    beating, silent = _running(study, **ELSEWHERE), _running(study, machine="third", process="of a third")
    _beat_as(here, silent, "of a third")
    time.sleep(2 * IMPATIENT)
    _beat_as(here, beating, ELSEWHERE["process"])
    ages = here.seconds_since_beats(study)
    assert lost_trials(study.trials, ages, grace_seconds=IMPATIENT) == {silent}
    assert lost_trials(study.trials, ages, grace_seconds=PATIENT) == set()


@pytest.mark.parametrize("owner", ["alice", ["alice"], 7, {"process": "../up"}, {"host": 1, "pid": "x", "started": []}])
def test_a_strangers_owner_is_no_process(make: Make, owner: object) -> None:
    """Another program may use the attribute: its trials are left alone, and nothing fails."""
    here, study = make()
    study.ask().set_user_attr(OWNER, owner)
    assert Watch(here, grace_seconds=IMPATIENT).abandoned(study) == []
    assert lost_trials(study.trials, here.seconds_since_beats(study), grace_seconds=IMPATIENT) == set()


def test_a_holder_that_was_suspended_learns_that_it_lost_the_lock(postgresql: str) -> None:
    """The server ends its connection; at the end of the block the holder sees an error, as of a lost connection."""
    storage = open_storage(postgresql)
    assert isinstance(storage, PostgresqlStorage)

    def hold() -> None:
        with advisory_lock(storage, "suspended"), storage.engine.connect() as another:
            query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
            (holder,) = another.execute(text(query)).scalars()
            another.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": holder})

    with pytest.raises(DBAPIError) as caught:
        hold()
    assert is_connection_lost(caught.value)
    with advisory_lock(storage, "suspended"):
        pass
    storage.engine.dispose()


def _beat_as(coordination: Coordination, number: int, process: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeper.study.coordination.identify_process", lambda: {"process": process})
        coordination.beat((number,))

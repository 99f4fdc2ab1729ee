"""The contract of what keeps the processes of a study apart, for a study in files and one on a PostgreSQL server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sweeper.study.attributes import OWNER
from sweeper.study.coordination import Coordination, Heartbeat, make_coordination
from sweeper.study.folder import StudyFolder
from sweeper.study.liveness import Watch
from sweeper.study.owner import identify_process
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


def _beat_as(coordination: Coordination, number: int, process: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeper.study.coordination.identify_process", lambda: {"process": process})
        coordination.beat((number,))

"""Studies read beside those who write them: every storage, no lock, no write, no password."""

import fcntl
import json
import sqlite3
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from sweeper.dashboard.notes import study_note
from sweeper.errors import StudyError
from sweeper.reading.locations import find_locations
from sweeper.reading.read_only_storage import ReadOnlyStorage
from sweeper.study.storage import journal_url, open_storage

from .postgresql import PASSWORD
from .studies import (
    close,
    make_database,
    make_journal,
    storage_of,
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are looked for below the working directory."""
    monkeypatch.chdir(tmp_path)


def _trials(shelf: ReadOnlyStorage, name: str) -> list[FrozenTrial]:
    return shelf.get_all_trials(shelf.get_study_id_from_name(name), deepcopy=False)


def test_studies_of_all_folders_are_one_storage_with_ids_of_their_own() -> None:
    """Two journals whose studies share a name and ids are told apart, by name and by every id."""
    make_journal("one", study="same")
    make_journal("two", values=(0.1,), study="same")
    shelf = storage_of([])
    assert [study.study_name for study in shelf.get_all_studies()] == ["same", "same (in two)"]
    one, two = _trials(shelf, "same"), _trials(shelf, "same (in two)")
    assert [trial.value for trial in one] == [0.5, 0.9]
    assert [trial.value for trial in two] == [0.1]
    ids = [trial._trial_id for trial in (*one, *two)]
    assert len(set(ids)) == 3
    assert [shelf.get_trial(trial_id).value for trial_id in ids] == [0.5, 0.9, 0.1]
    with pytest.raises(KeyError):
        shelf.get_trial(ids[-1] + 7)


def test_a_new_study_and_a_new_trial_appear() -> None:
    """What is written after the dashboard began is there at the next look, and a study begun anew is read anew."""
    folder = make_journal("one")
    shelf = storage_of([])
    assert len(shelf.get_all_studies()) == 1
    make_journal("two", values=())
    assert [study.study_name for study in shelf.get_all_studies()] == ["one", "two"]
    assert len(_trials(shelf, "one")) == 2
    study = optuna.load_study(study_name="one", storage=open_storage(journal_url(folder / "journal.log")))
    study.ask()
    assert [trial.state for trial in _trials(shelf, "one")] == [*[TrialState.COMPLETE] * 2, TrialState.RUNNING]
    (folder / "journal.log").unlink()
    make_journal("one", values=(0.3,))
    assert {study.study_name for study in shelf.get_all_studies()} == {"one", "two"}
    assert [trial.value for trial in _trials(shelf, "one")] == [0.3]


def test_reading_writes_nothing_and_waits_for_no_lock() -> None:
    """While another process holds the journal's lock and has written half a line, all whole lines are read."""
    folder = make_journal("one")
    journal = folder / "journal.log"
    whole = journal.read_bytes()
    line = json.dumps({"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"key": "value"}}).encode() + b"\n"
    journal.write_bytes(whole + line[:20])
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    shelf = storage_of([])
    with (folder / "journal.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (study,) = shelf.get_all_studies()
        assert study.user_attrs == {}
        assert len(_trials(shelf, "one")) == 2
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before
        with journal.open("ab") as file:
            file.write(line[20:])
        (study,) = shelf.get_all_studies()
        assert study.user_attrs == {"key": "value"}


def test_every_write_is_refused() -> None:
    """Optuna's own calls cannot change a study through the dashboard's storage."""
    make_journal("one")
    shelf = storage_of([])
    (study,) = shelf.get_all_studies()
    loaded = optuna.load_study(study_name="one", storage=shelf)
    for write in (
        lambda: loaded.set_user_attr("key", 1),
        loaded.ask,
        lambda: loaded.enqueue_trial({"optimizer.lr": 0.5}),
        lambda: optuna.delete_study(study_name="one", storage=shelf),
        lambda: shelf.set_study_system_attr(study._study_id, "dashboard:note_ver", 1),
    ):
        with pytest.raises(StudyError, match="only shows studies"):
            write()


@pytest.mark.parametrize("damage", [b"damaged\n", b'{"op_code": 4}\n', b"7\n"])
def test_a_damaged_journal_hides_no_other_study(damage: bytes) -> None:
    """A damaged study is named with its line, and the others are shown; when it is mended, it is there."""
    folder = make_journal("bad")
    make_journal("good")
    journal = folder / "journal.log"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
    warned: list[str] = []
    shelf = storage_of(warned)
    assert [study.study_name for study in shelf.get_all_studies()] == ["good"]
    (text,) = warned
    assert text.startswith(f"{journal.absolute()} must hold one JSON record a line, but line 3 is damaged")
    journal.write_bytes(whole)
    assert {study.study_name for study in shelf.get_all_studies()} == {"bad", "good"}
    assert len(_trials(shelf, "bad")) == 2


def test_a_database_is_found_by_its_study_and_read_beside_a_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder names sqlite by a variable: it is read while another transaction is open, which then commits."""
    monkeypatch.setenv("STUDY_URL", "sqlite:///my.db")
    _folder, study = make_database()
    other = optuna.create_study(study_name="another", storage="sqlite:///my.db")
    writer = sqlite3.connect("my.db", isolation_level=None, timeout=0)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE studies SET study_name = 'renamed' WHERE study_name = 'another'")
    shelf = storage_of([])
    assert [study.study_name for study in shelf.get_all_studies()] == ["lite"]
    assert [trial.value for trial in _trials(shelf, "lite")] == [0.7]
    writer.execute("COMMIT")
    writer.close()
    everything = storage_of([], storage="${oc.env:STUDY_URL}")
    assert [study.study_name for study in everything.get_all_studies()] == ["lite", "renamed"]
    assert everything.entry(0).folder == Path("outputs/studies/lite").absolute()
    with pytest.raises(Exception, match="readonly"):
        everything._readers["sqlite:///my.db"].read(lambda storage: storage.delete_study(1))
    for opened in (shelf, everything):
        opened.close()
    for created in (study, other):
        close(created)


def test_a_storage_that_cannot_be_looked_up_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, the one study is refused naming it; among others it is passed over with that line."""
    monkeypatch.delenv("STUDY_URL", raising=False)
    _folder, study = make_database()
    close(study)
    with pytest.raises(StudyError, match=r"STUDY_URL.*or give --storage URL"):
        find_locations("lite", None, lambda _: None)
    make_journal("other")
    warned: list[str] = []
    assert [study.study_name for study in storage_of(warned).get_all_studies()] == ["other"]
    assert len(warned) == 1
    named = storage_of([], study="lite", storage="sqlite:///my.db")
    assert [study.study_name for study in named.get_all_studies()] == ["lite"]
    named.close()


def test_a_study_without_a_given_name_is_named_by_its_trials() -> None:
    """A folder anywhere, its study's name given nowhere: a trial's own settings have it; the path is the search's."""
    folder = Path("anywhere")
    (folder / "0" / ".hydra").mkdir(parents=True)
    (folder / "multirun.yaml").write_text(
        "hydra: {sweeper: {storage: 'sqlite:///my.db', study_name: null}, runtime: {cwd: /there}}"
    )
    (folder / "0" / ".hydra" / "hydra.yaml").write_text("hydra: {sweeper: {study_name: card-1234}}")
    (location,) = find_locations("anywhere", None, lambda _: None)
    assert (location.url, location.study, location.folder) == ("sqlite:////there/my.db", "card-1234", folder)


def test_a_missing_database_is_not_made() -> None:
    """A database that is not there is said so, and not created by looking."""
    warned: list[str] = []
    assert storage_of(warned, storage="sqlite:///none.db").get_all_studies() == []
    assert "none.db must be a database that is there" in warned[0]
    assert not Path("none.db").exists()


def test_a_password_is_in_no_message_and_no_note() -> None:
    """Neither a storage that cannot be reached nor a storage written out in the command shows its password."""
    warned: list[str] = []
    storage_of(warned, storage=f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/db").get_all_studies()
    assert len(warned) == 1
    assert PASSWORD not in warned[0]
    folder = make_journal("one")
    typed = ["hydra.mode=MULTIRUN", f"hydra.sweeper.storage=postgresql://me:{PASSWORD}@host/db"]
    overrides = {"task": ["search=card"], "hydra": typed}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    note = study_note("one", folder)
    assert PASSWORD not in note
    assert "`python -m sweeper -m search=card hydra.sweeper.storage=URL`" in note

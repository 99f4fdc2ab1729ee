"""Reading studies while others write them: any storage, no lock, no write, no password shown, no torch imported."""

import fcntl
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from sweeper.dashboard.notes import study_note
from sweeper.dashboard.read_only_storage import ReadOnlyStorage
from sweeper.errors import StudyError
from sweeper.reading.locations import find_locations
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.study.journal import encode
from sweeper.study.storage import journal_url, open_storage

from .postgresql import PASSWORD
from .processes import environment
from .studies import SAVED, close, make_database, make_journal, storage_of


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


def _trials(storage: ReadOnlyStorage, name: str) -> list[FrozenTrial]:
    return storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)


def test_studies_of_all_folders_are_one_storage_with_unique_names_and_ids() -> None:
    """Two studies of the same name and id in two journals are shown under two names and two ids."""
    make_journal("one", study="same")
    make_journal("two", values=(0.1,), study="same")
    storage = storage_of([])
    assert [study.study_name for study in storage.get_all_studies()] == ["same", "same (in two)"]
    assert [trial.value for trial in _trials(storage, "same")] == [0.5, 0.9]
    assert [trial.value for trial in _trials(storage, "same (in two)")] == [0.1]
    ids = [storage.get_study_id_from_name(name) for name in ("same", "same (in two)")]
    assert [storage.get_study_name_from_id(study_id) for study_id in ids] == ["same", "same (in two)"]
    with pytest.raises(KeyError):
        storage.get_all_trials(max(ids) + 1)


def test_a_new_study_and_a_new_trial_appear() -> None:
    """What is written later is shown by the next read; a journal that was replaced is read from its start."""
    folder = make_journal("one")
    storage = storage_of([])
    assert len(storage.get_all_studies()) == 1
    make_journal("two", values=())
    assert [study.study_name for study in storage.get_all_studies()] == ["one", "two"]
    assert len(_trials(storage, "one")) == 2
    study = optuna.load_study(study_name="one", storage=open_storage(journal_url(folder / "journal.log")))
    study.ask()
    assert [trial.state for trial in _trials(storage, "one")] == [*[TrialState.COMPLETE] * 2, TrialState.RUNNING]
    (folder / "journal.log").unlink()
    make_journal("one", values=(0.3,))
    assert {study.study_name for study in storage.get_all_studies()} == {"one", "two"}
    assert [trial.value for trial in _trials(storage, "one")] == [0.3]


def test_reading_writes_nothing_and_waits_for_no_lock() -> None:
    """While another process holds the journal's lock and has written half a line, all complete lines are read."""
    folder = make_journal("one")
    journal = folder / "journal.log"
    complete = journal.read_bytes()
    change = {"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"key": "value"}}
    line = encode(change, complete.count(b"\n") + 1)
    journal.write_bytes(complete + line[:20])
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    storage = storage_of([])
    with (folder / "journal.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (study,) = storage.get_all_studies()
        assert study.user_attrs == {}
        assert len(_trials(storage, "one")) == 2
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before
        with journal.open("ab") as file:
            file.write(line[20:])
        (study,) = storage.get_all_studies()
        assert study.user_attrs == {"key": "value"}


def test_every_write_is_refused() -> None:
    """Optuna's own calls cannot change a study, neither through the dashboard's storage nor through a reader."""
    folder = make_journal("one")
    before = (folder / "journal.log").read_bytes()
    storage = storage_of([])
    (study_id,) = (storage.get_study_id_from_name(study.study_name) for study in storage.get_all_studies())
    loaded = optuna.load_study(study_name="one", storage=storage)
    reader = StorageReader(journal_url(folder / "journal.log"))
    for write in (
        lambda: loaded.set_user_attr("key", 1),
        loaded.ask,
        lambda: loaded.enqueue_trial({"optimizer.lr": 0.5}),
        lambda: optuna.delete_study(study_name="one", storage=storage),
        lambda: storage.set_study_system_attr(study_id, "dashboard:note_ver", 1),
        lambda: reader.read(lambda opened: optuna.load_study(study_name="one", storage=opened).ask()),
    ):
        with pytest.raises(StudyError, match="a study is opened read-only here: nothing is written to it"):
            write()
    assert (folder / "journal.log").read_bytes() == before


@pytest.mark.parametrize("damage", [b"damaged\n", b'{"op_code": 4}\n', b"7\n"])
def test_a_damaged_journal_hides_no_other_study(damage: bytes) -> None:
    """A damaged journal is reported with its line, and the other studies are shown; once repaired, it is shown too."""
    folder = make_journal("bad")
    make_journal("good")
    journal = folder / "journal.log"
    intact = journal.read_bytes()
    lines = intact.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
    warned: list[str] = []
    storage = storage_of(warned)
    assert [study.study_name for study in storage.get_all_studies()] == ["good"]
    (text,) = warned
    assert text.startswith(f"{journal.absolute()} must hold one JSON record a line, but line 3 is damaged")
    journal.write_bytes(intact)
    assert {study.study_name for study in storage.get_all_studies()} == {"bad", "good"}
    assert len(_trials(storage, "bad")) == 2


def test_a_database_is_found_by_its_study_and_read_beside_a_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder names sqlite. It is read while another transaction is open, which then commits."""
    monkeypatch.setenv("STUDY_URL", "sqlite:///my.db")
    _folder, study = make_database()
    other = optuna.create_study(study_name="another", storage="sqlite:///my.db")
    writer = sqlite3.connect("my.db", isolation_level=None, timeout=0)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE studies SET study_name = 'renamed' WHERE study_name = 'another'")
    of_study = storage_of([])
    assert [study.study_name for study in of_study.get_all_studies()] == ["lite"]
    assert [trial.value for trial in _trials(of_study, "lite")] == [0.7]
    writer.execute("COMMIT")
    writer.close()
    everything = storage_of([], storage="${oc.env:STUDY_URL}")
    assert [study.study_name for study in everything.get_all_studies()] == ["lite", "renamed"]
    assert everything.entry(0).folder == Path("outputs/studies/lite").absolute()
    for opened in (of_study, everything):
        opened.close()
    for created in (study, other):
        close(created)


def test_a_database_is_opened_read_only() -> None:
    """The database itself refuses a reader's writes, and an ordinary connection still finds the study."""
    _folder, study = make_database()
    with StorageReader("sqlite:///my.db") as reader, pytest.raises(StudyError, match="readonly"):
        reader.read(lambda storage: optuna.delete_study(study_name="lite", storage=storage))
    assert optuna.get_all_study_names("sqlite:///my.db") == ["lite"]
    close(study)


def test_a_study_that_a_database_lost_is_one_line() -> None:
    """A study deleted by another connection is missed at the next read, which names those that the storage holds."""
    _folder, study = make_database()
    other = optuna.create_study(study_name="other", storage="sqlite:///my.db")
    (location,) = find_locations("lite", "sqlite:///my.db", lambda _: None)
    with StorageReader(location.url) as reader:
        assert reader.read(lambda storage: study_name(storage, location)) == "lite"
        optuna.delete_study(study_name="lite", storage="sqlite:///my.db")
        with pytest.raises(StudyError, match="lite is not: the storage holds other: give one of these"):
            reader.read(lambda storage: study_name(storage, location))
    for created in (study, other):
        close(created)


def test_a_variable_that_a_folder_names_is_read_only_if_it_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for alone, the study is refused with the option that confirms it; among others it is skipped with that line."""
    monkeypatch.setenv("STUDY_URL", "sqlite:///my.db")
    variable = "${oc.env:STUDY_URL}"
    _folder, study = make_database(named=variable)
    close(study)
    with pytest.raises(StudyError, match=re.escape(f"if it is yours, give --storage '{variable}'")):
        find_locations("lite", None, lambda _: None)
    make_journal("other")
    warned: list[str] = []
    assert [study.study_name for study in storage_of(warned).get_all_studies()] == ["other"]
    assert len(warned) == 1
    named = storage_of([], study="lite", storage=variable)
    assert [study.study_name for study in named.get_all_studies()] == ["lite"]
    named.close()
    monkeypatch.delenv("STUDY_URL")
    with pytest.raises(StudyError, match=r"STUDY_URL.*or give --storage URL"):
        find_locations("lite", variable, lambda _: None)


def test_a_study_without_a_typed_name_is_named_by_its_trials() -> None:
    """A folder anywhere, with no name typed: a trial's own settings name the study; a relative path is the search's."""
    folder = Path("anywhere")
    (folder / "0" / ".hydra").mkdir(parents=True)
    (folder / "multirun.yaml").write_text(
        "hydra: {sweeper: {storage: 'sqlite:///my.db', study_name: null}, runtime: {cwd: /there}}"
    )
    (folder / "0" / ".hydra" / "hydra.yaml").write_text("hydra: {sweeper: {study_name: card-1234}}")
    (location,) = find_locations("anywhere", None, lambda _: None)
    assert (location.url, location.study, location.folder) == ("sqlite:////there/my.db", "card-1234", folder)


def test_a_missing_database_is_not_created() -> None:
    """A database that does not exist is reported, and reading does not create it."""
    warned: list[str] = []
    assert storage_of(warned, storage="sqlite:///none.db").get_all_studies() == []
    assert "none.db must be an existing database" in warned[0]
    assert not Path("none.db").exists()


def test_a_password_is_in_no_message_and_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a storage that cannot be reached nor one that a study's files name in full shows its password."""
    monkeypatch.setenv("STUDY_URL", f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/db")
    warned: list[str] = []
    storage_of(warned, storage="${oc.env:STUDY_URL}").get_all_studies()
    assert len(warned) == 1
    assert PASSWORD not in warned[0]
    folder = make_journal("one")
    typed = ["hydra.mode=MULTIRUN", f"hydra.sweeper.storage=postgresql://me:{PASSWORD}@host/db"]
    overrides = {"task": ["search=card"], "hydra": typed}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": overrides}}))
    note = study_note("one", folder)
    assert PASSWORD not in note
    assert "`python -m sweeper -m search=card 'hydra.sweeper.storage=${oc.env:STUDY_URL}'`" in note


def test_reports_import_no_torch(tmp_path: Path) -> None:
    """A process that reports a run, several runs and a study never loads torch, which takes seconds."""
    shutil.copytree(SAVED, tmp_path, dirs_exist_ok=True)
    script = """
import sys
from sweeper.cli.main import main
for what in (["run"], ["study/0", "study/1"], ["study"]):
    sys.argv = ["sweeper", "report", *what, "--out", "page.html"]
    assert main() == 0, what
    assert "sweeper.report.build" in sys.modules
    assert "torch" not in sys.modules, what
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

"""The verb `dashboard` as a process: how it starts, refuses and ends, and what it shows during a search."""

import json
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import optuna
import pytest

from sweeper.errors import StudyError
from sweeper.reading.storage_reader import StorageReader
from sweeper.study.storage import journal_url, open_storage

from .dashboards import get_json, serving
from .postgresql import PASSWORD
from .processes import Sweeper, command, environment
from .studies import SAVED, TINY, Call, close, make_journal, modules_imported, wait_for


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies are found below the working directory."""
    monkeypatch.chdir(tmp_path)


def test_nothing_to_show_is_one_line(sweeper_call: Call) -> None:
    """No study, an unknown name, a folder that is no study, a storage that cannot be read: one line, exit 1."""
    for arguments, says in (
        (
            [],
            "outputs/studies must hold a study, but holds none: give another storage with --storage URL, or search with python -m sweeper",
        ),
        (
            ["nowhere"],
            "STUDY must be a study's name or folder, but nowhere is neither: studies in outputs/studies: none",
        ),
        (
            ["."],
            f"a study's folder must hold journal.log, or a multirun.yaml that names its storage, but {Path.cwd()} does not",
        ),
        (["--storage", "sqlite:///none.db"], "none.db must be an existing database"),
        (["--storage", "gibberish"], "gibberish must be a readable storage, but reading it fails"),
    ):
        done = sweeper_call("dashboard", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("sweeper: ")
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


@pytest.mark.parametrize("verb", ["dashboard", "report"])
def test_a_study_that_its_storage_lacks_is_one_line(sweeper_call: Call, verb: str) -> None:
    """Both verbs that read a storage name the studies that it holds, or say that it is empty."""
    close(optuna.create_study(study_name="other", storage="sqlite:///full.db"))
    optuna.storages.RDBStorage("sqlite:///empty.db").engine.dispose()
    for database, held in (
        ("full", "holds other: give one of these"),
        ("empty", "is empty: has the search started?"),
    ):
        done = sweeper_call(verb, "nope", "--storage", f"sqlite:///{database}.db")
        assert done.returncode == 1
        assert done.stderr == f"sweeper: a study must be in its storage, but nope is not: the storage {held}\n"


def test_a_damaged_study_alone_is_one_line(sweeper_call: Call) -> None:
    """If the only study cannot be read, the command says why and exits 1."""
    (make_journal("bad") / "journal.log").write_bytes(b"damaged\n")
    done = sweeper_call("dashboard")
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 1 is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_busy_port_is_one_line(sweeper_call: Call) -> None:
    """A port that another program uses, or that is no port: one line that says what to type, exit 1."""
    make_journal("one")
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = sweeper_call("dashboard", "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"sweeper: port {port} cannot be opened (another program uses it): give another with --port N, "
        "or --port 0 for any free port\n"
    )
    refused = sweeper_call("dashboard", "--port", "65536")
    assert refused.returncode == 1
    assert refused.stderr == (
        "sweeper: argument --port: must be 0 to 65535, but got '65536': see python -m sweeper dashboard --help\n"
    )


def test_it_imports_no_torch(tmp_path: Path) -> None:
    """The process that serves the dashboard never loads torch, neither to start nor to answer."""
    shutil.copytree(SAVED / "study", tmp_path / "saved")
    with (
        Path("imports").open("w") as imports,
        serving("saved", stderr=imports, PYTHONPROFILEIMPORTTIME="1") as (url, _),
    ):
        assert len(get_json(f"{url}/api/studies/0")["trials"]) == 6
        assert get_json(f"{url}/api/studies/0/param_importances")
    imported = modules_imported(Path("imports").read_text())
    assert "optuna_dashboard" in imported
    assert "torch" not in imported


@pytest.mark.parametrize("ending", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_serves_until_it_is_ended(ending: signal.Signals) -> None:
    """With a damaged study among others: the address is printed once it answers, one line names the damaged study, and
    Ctrl-C or SIGTERM ends it with status 0 and no further output, even with a connection open.
    """
    make_journal("one")
    make_journal("two")
    (make_journal("bad") / "journal.log").write_bytes(b"damaged\n")
    with serving() as (address, process):
        summaries = get_json(f"{address}/api/studies")["study_summaries"]
        assert [study["study_name"] for study in summaries] == ["one", "two"]
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=60):
            assert len(get_json(f"{address}/api/studies/1")["trials"]) == 2
            process.send_signal(ending)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert err.startswith("sweeper: ")
    assert "line 1 is damaged" in err
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_search_is_watched_while_it_runs(storage: str, tmp_path: Path) -> None:
    """Trials of a running search appear from one request to the next; the search neither fails nor prints anything."""
    given = [f"hydra.sweeper.storage=sqlite:///{tmp_path}/my.db"] if storage == "sqlite" else []
    arguments = ["-m", "search=dropout_lr", *TINY, "target=1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=1000"]
    search = subprocess.Popen(
        command(*arguments, "hydra.sweeper.study_name=long", *given),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "outputs" / "studies" / "long"
    wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 2)
    with serving() as (address, _):

        def states() -> list[str]:
            return [trial["state"] for trial in get_json(f"{address}/api/studies/0")["trials"]]

        seen = len(states())
        wait_for(lambda: len(states()) > seen + 2)
        assert search.poll() is None
        search.send_signal(signal.SIGINT)
        out, err = search.communicate(timeout=120)
        assert (search.returncode, err) == (130, ""), out
        assert "interrupted" in out
        assert " 0 failed" in out or "failed" not in out
        study = optuna.load_study(
            study_name="long",
            storage=open_storage(given[0].partition("=")[2] if given else journal_url(folder / "journal.log")),
        )
        final = ["Rejected" if "rejected" in t.user_attrs else t.state.name.capitalize() for t in study.trials]
        wait_for(lambda: states() == final)
        if given:
            close(study)


@pytest.mark.slow
@pytest.mark.usefixtures("postgresql")
def test_postgresql_is_shown_without_its_password(postgresql: str, sweeper_process: Sweeper) -> None:
    """A study on a real server is found by the variable that is typed; no answer and no line has the password."""
    storage = "hydra.sweeper.storage=${oc.env:STUDY_URL}"
    named = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.study_name=watched", storage]
    done = sweeper_process("-m", *TINY, "model.dropout=0.05,0.1", *named, STUDY_URL=postgresql)
    assert done.returncode == 0, done.stderr
    with serving("watched", "--storage", "${oc.env:STUDY_URL}", STUDY_URL=postgresql) as (address, process):
        (summary,) = get_json(f"{address}/api/studies")["study_summaries"]
        assert summary["study_name"] == "watched"
        shown = get_json(f"{address}/api/studies/{summary['study_id']}")
        assert [trial["params"][0]["param_external_value"] for trial in shown["trials"]] == ["0.05", "0.1"]
        assert shown["trials"][0]["artifacts"]
        assert "${oc.env:STUDY_URL}" in shown["note"]["body"]
        assert PASSWORD not in json.dumps(shown)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    with StorageReader(postgresql) as reader, pytest.raises(StudyError, match="read-only transaction"):
        reader.read(lambda opened: optuna.delete_study(study_name="watched", storage=opened))
    done = sweeper_process("dashboard", "--port", "0")
    assert done.returncode == 1
    assert "if it is yours, give --storage '${oc.env:STUDY_URL}'" in done.stderr

"""Several hosts on one study, which share a PostgreSQL server and nothing else: each has a folder of its own."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from sweeper.study.coordination import advisory_lock
from sweeper.study.server import PostgresqlStorage
from sweeper.study.storage import open_storage
from sweeper.study.summary import state_of

from .postgresql import PASSWORD, Server
from .processes import command, environment
from .studies import TINY, wait_for

STORAGE = "hydra.sweeper.storage=${oc.env:STUDY_URL}"
SEARCH = [
    *("-m", *TINY, "training.epochs=25", "model.dropout=interval(0.0,0.3)", STORAGE),
    *("hydra.sweeper.n_jobs=1", "hydra.sweeper.grace_seconds=6", "hydra.sweeper.stop_at_target=false"),
]
ISOLATED = [
    "unshare",
    "--uts",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "sh",
    "-c",
    'hostname same; exec "$@"',
    "-",
]
"""Runs a command in a container of its own, whose host name and process ids are those of the others."""
Host = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def host(tmp_path: Path, postgresql: str) -> Iterator[Host]:
    """Starts sweeper on a host of that name."""
    isolated = ISOLATED if os.getuid() == 0 and shutil.which("unshare") else []
    with ExitStack() as ending:

        def start(name: str, *arguments: str) -> subprocess.Popen[str]:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            process = subprocess.Popen(
                [*isolated, *command(*arguments)],
                cwd=folder,
                env=environment(STUDY_URL=postgresql),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            ending.enter_context(process)
            ending.callback(_kill, process)
            return process

        yield start


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a host for good: everything that it runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _trials(url: str, name: str) -> list[FrozenTrial]:
    storage = optuna.storages.RDBStorage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage).trials
    except KeyError:
        return []
    finally:
        storage.engine.dispose()


@pytest.mark.slow
def test_a_killed_host_costs_one_trial(host: Host, postgresql: str, tmp_path: Path) -> None:
    """Of three hosts one dies: n_trials in all, no point twice, and each of the others has the best, with its files."""
    arguments = [*SEARCH, "hydra.sweeper.study_name=hosts", "hydra.sweeper.n_trials=7"]
    hosts = {name: host(name, *arguments) for name in ("a", "b", "c")}
    wait_for(lambda: len([t for t in _trials(postgresql, "hosts") if t.intermediate_values]) >= 3)
    _kill(hosts.pop("b"))
    for process in hosts.values():
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert err == ""
        assert "7 of 7 trials" in out
    trials = _trials(postgresql, "hosts")
    states = [state_of(trial) for trial in trials]
    assert states.count("complete") == 7
    assert states.count("retried") == 1
    assert len(trials) == 8
    points = [tuple(trial.params.items()) for trial in trials if state_of(trial) == "complete"]
    assert len(set(points)) == 7
    best = max((trial for trial in trials if trial.values), key=lambda trial: trial.values[0])
    for name in hosts:
        folder = tmp_path / name / "outputs" / "studies" / "hosts"
        result = json.loads((folder / "best" / "result.json").read_text())
        assert result["value"] == best.values[0]
        assert (folder / "report.html").exists()
        is_own = (folder / str(best.number) / "model.pt").exists()
        assert is_own or f":{tmp_path}" in (folder / "best" / "elsewhere.txt").read_text()
        again = host(name, "reproduce", "outputs/studies/hosts/best")
        out, err = again.communicate(timeout=120)
        assert again.returncode == 0, err
        assert "identical:" in out
    looking = host("never-ran-it", "report", "hosts", "--storage", "${oc.env:STUDY_URL}")
    out, err = looking.communicate(timeout=120)
    assert looking.returncode == 0, err
    assert "Weights and figures are elsewhere: of trial" in out
    again = host("never-ran-it", "reproduce", "outputs/studies/hosts/best")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "identical:" in out
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_restart_of_the_server_is_waited_out(host: Host, server: Server) -> None:
    """One line when it stops answering and one when it answers again; the search ends as if nothing had been."""
    process = host("a", *SEARCH, "hydra.sweeper.study_name=restarted", "hydra.sweeper.n_trials=4")
    wait_for(lambda: any(trial.intermediate_values for trial in _trials(server.url, "restarted")))
    server.stop()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
    finally:
        server.start()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert err == ""
    assert out.count("the storage does not answer") == out.count("the storage answers again") == 1
    states = [state_of(trial) for trial in _trials(server.url, "restarted")]
    assert states.count("complete") == 4
    assert set(states) <= {"complete", "retried"}


@pytest.mark.slow
def test_a_restart_while_a_study_opens_is_waited_out(host: Host, server: Server) -> None:
    """Before the first trial too; the study is created once."""
    storage = open_storage(server.url)
    assert isinstance(storage, PostgresqlStorage)
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with storage.engine.connect() as connection, suppress(DBAPIError), advisory_lock(storage, "opening"):
        process = host(
            "a", *SEARCH, "hydra.sweeper.study_name=opening", "hydra.sweeper.n_trials=1", "training.epochs=1"
        )

        def is_opening() -> bool:
            with connection.begin():
                return bool(connection.execute(waiting).scalar())

        wait_for(is_opening)
        server.stop()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        server.start()
    out, err = process.communicate(timeout=120)
    storage.engine.dispose()
    assert process.returncode == 0, err
    assert err == ""
    assert out.count("the storage does not answer") == out.count("the storage answers again") == 1
    assert [state_of(trial) for trial in _trials(server.url, "opening")] == ["complete"]


@pytest.mark.slow
def test_another_search_under_the_same_name_is_refused_on_every_host(
    host: Host, postgresql: str, tmp_path: Path
) -> None:
    """What is searched is in the storage: a host without the study's folder sees the difference, and adds nothing."""
    named = ["hydra.sweeper.study_name=named", "hydra.sweeper.n_trials=1"]
    first = host("a", *SEARCH, *named)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    narrower = [argument.replace("interval(0.0,0.3)", "interval(0.0,0.2)") for argument in SEARCH]
    other = host("b", *narrower, *named)
    _, err = other.communicate(timeout=120)
    assert other.returncode == 1
    assert "study named holds another search: model.dropout is searched differently" in err
    assert err.count("\n") == 1
    assert len(_trials(postgresql, "named")) == 1
    same = host("b", *SEARCH, *named)
    out, err = same.communicate(timeout=120)
    assert same.returncode == 0, err
    assert "1 of 1 trial" in out
    assert (tmp_path / "b" / "outputs" / "studies" / "named" / "best" / "elsewhere.txt").exists()

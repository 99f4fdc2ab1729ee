"""What real processes meet in a search: kill -9, crashes, no memory, folders that disappear, a clock that jumps."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from sweeper.study.summary import state_of

from .kill_rounds import DEFECTS, WHATS, run_rounds, table
from .processes import environment, started
from .studies import trials_of, wait_for

APPLICATION = """
import os, resource, signal, time
import hydra
import numpy

@hydra.main(config_path=None, config_name=None)
def task(config):
    with open(os.environ["STARTED"], "a") as file:
        file.write(f"{config.x}\\n")
    if config.get("do") == "crash" and config.x == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if config.get("do") == "allocate" and config.x == 2:
        resource.setrlimit(resource.RLIMIT_AS, (2**32, resource.RLIM_INFINITY))
        numpy.ones(2**33)
    time.sleep(config.get("seconds", 0))
    return config.x

task()
"""
App = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """Starts an application of another one's, whose study is in the folder ``study``, with two workers."""
    (tmp_path / "app.py").write_text(APPLICATION)
    with ExitStack() as ending:

        def start(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
            sweep = ["hydra.sweep.dir=study", "hydra.sweeper.study_name=study", "hydra.sweeper.n_jobs=2"]
            words = [*before, sys.executable, "app.py", "-m", "hydra/sweeper=study", *sweep, *arguments]
            return started(ending, words, cwd=tmp_path, env=environment(STARTED=str(tmp_path / "started")))

        yield start


def _ended(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str, str]:
    """The status of a process, and what it said; no traceback is among it."""
    out, err = process.communicate(timeout=seconds)
    assert "Traceback" not in out + err, out + err
    return process.returncode, out, err


def _states(tmp_path: Path) -> list[str]:
    return [state_of(trial) for trial in _trials(tmp_path)]


def _trials(tmp_path: Path) -> list[FrozenTrial]:
    return trials_of(tmp_path / "study")


def _workers(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline") for pid in children}
    return [pid for pid, line in lines.items() if line.exists() and b"spawn_main" in line.read_bytes()]


@pytest.mark.slow
def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    """Of a coordinator, a worker and a database: nothing is lost, done twice or left running, and each is one line.

    ``python -m tests.kill_rounds`` plays as many rounds as one likes.
    """
    said: list[str] = []
    found = run_rounds(6, 7, WHATS, tmp_path, said.append)
    assert not any(counts[defect] for counts in found.values() for defect in DEFECTS), "\n".join([*said, table(found)])


@pytest.mark.slow
def test_a_killer_of_workers_ends_no_search(app: App, tmp_path: Path) -> None:
    """Seven kills in twelve trials, one after another, whichever point is next: all twelve are done, none has failed."""
    process = app("+x=range(0,12)", "+seconds=0.3", "hydra.sweeper.max_failure_rate=0.1")
    dice = random.Random(1)  # noqa: S311 - which worker
    log = tmp_path / "started"
    for kill in range(7):
        wait_for(lambda least=2 * kill + 1: log.exists() and len(log.read_text().splitlines()) >= least)  # type: ignore[misc]
        os.kill(dice.choice(_workers(process)), signal.SIGKILL)
        time.sleep(0.1)
    status, out, err = _ended(process)
    assert status == 0, err
    states = _states(tmp_path)
    assert (states.count("complete"), states.count("failed")) == (12, 0), out
    assert out.count("its point is tried again: its worker died (exit code -9, SIGKILL)") == states.count("retried")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("do", "how"), [("crash", "exit code -11, SIGSEGV"), ("allocate", "Unable to allocate 64.0 GiB")]
)
def test_a_point_that_ends_its_worker_each_time_fails(app: App, tmp_path: Path, do: str, how: str) -> None:
    """By a crash or for want of memory: its line says how, the others are done, and the status is 0."""
    status, out, err = _ended(app("+x=1,2,3", f"+do={do}"))
    assert status == 0, err
    assert sorted(_states(tmp_path)) == ["complete", "complete", "failed", *["retried"] * (2 if do == "crash" else 1)]
    (line,) = (line for line in out.splitlines() if line.startswith("trial ") and " failed: " in line)
    assert how in line
    assert "as the 2 before it did at this point" in line or do == "allocate"


@pytest.mark.slow
def test_a_trials_folder_that_is_deleted_while_it_runs_costs_nothing(app: App, tmp_path: Path) -> None:
    """A job that writes no file there is told as ever; a folder deleted between two commands is not missed either."""
    process = app("+x=range(0,4)", "+seconds=1")
    wait_for((tmp_path / "study" / "0" / ".hydra").exists)
    shutil.rmtree(tmp_path / "study" / "0")
    status, _, err = _ended(process)
    assert status == 0, err
    shutil.rmtree(tmp_path / "study" / "1")
    status, out, err = _ended(app("+x=range(0,4)", "+seconds=1"))
    assert status == 0, err
    assert _states(tmp_path) == ["complete"] * 4
    assert "4 of 4 trials" in out


@pytest.mark.slow
@pytest.mark.parametrize("what", ["study", "study/journal.log"])
def test_a_study_that_is_deleted_while_it_runs_is_one_line(app: App, tmp_path: Path, what: str) -> None:
    """It ends with status 1. Nothing takes its place, and once it is restored, the same command goes on with all of it."""
    process = app("+x=range(0,9)", "+seconds=0.5")
    wait_for((tmp_path / "study" / "2" / ".hydra").exists)
    place, elsewhere = tmp_path / what, tmp_path / "elsewhere"
    place.rename(elsewhere)
    status, out, err = _ended(process)
    assert status == 1, out
    assert err.strip().count("\n") == 0, err
    assert "journal.log was deleted, moved or replaced: restore it, then run the same command again" in err
    assert not (tmp_path / "study" / "journal.log").exists()
    if place.is_dir():
        shutil.rmtree(place)
    elsewhere.rename(place)
    before = {trial.number: trial.value for trial in _trials(tmp_path) if trial.state is TrialState.COMPLETE}
    assert before
    status, out, err = _ended(app("+x=range(0,9)", "+seconds=0.5"))
    assert status == 0, err
    after = _trials(tmp_path)
    assert {number: after[number].value for number in before} == before
    assert _states(tmp_path).count("complete") == 9

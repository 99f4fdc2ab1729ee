"""What real processes meet in a search: kill -9, crashes, no memory, folders that disappear, a clock that jumps."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from sweeper.report.study_table import _whole_seconds
from sweeper.study.summary import state_of

from .processes import CHECKOUT, environment, started
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

        def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
            sweep = ["hydra.sweep.dir=study", "hydra.sweeper.study_name=study", "hydra.sweeper.n_jobs=2"]
            words = [sys.executable, "app.py", "-m", "hydra/sweeper=study", *sweep, *arguments]
            return started(ending, words, cwd=tmp_path, env=environment(STARTED=str(tmp_path / "started"), **variables))

        yield start


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    long ahead = 0;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    FILE *file = clock == CLOCK_REALTIME ? fopen(getenv("CLOCK"), "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &ahead) == 1) now->tv_sec += ahead;
        fclose(file);
    }
    return status;
}
"""
"""Sets the time of day of the processes that load it, and no other clock, by the seconds in a file."""


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
def test_kill_9_at_random_moments() -> None:
    """Of a coordinator, a worker and a database: nothing is lost, done twice or left running, and each is one line.

    ``python -m tests.kill_rounds`` plays as many rounds as one likes.
    """
    rounds = [sys.executable, "-m", "tests.kill_rounds", "--rounds", "6", "--seed", "7"]
    done = subprocess.run(rounds, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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


def test_a_trial_that_ended_before_it_began_has_no_length() -> None:
    """The clock was set back while it ran: a table shows no time, rather than one below zero."""
    now = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - as Optuna has them
    trial = optuna.trial.create_trial(value=0.5)
    trial.datetime_start, trial.datetime_complete = now, now + timedelta(seconds=9)
    assert _whole_seconds(trial) == 9
    trial.datetime_complete = now - timedelta(hours=1)
    assert _whole_seconds(trial) is None


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_a_clock_that_is_set_while_a_search_runs_costs_nothing(app: App, tmp_path: Path, ahead: int) -> None:
    """Back or forward by an hour: no trial counts as lost, none is done twice, and no time is below zero."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    (tmp_path / "clock.c").write_text(CLOCK)
    library, clock = tmp_path / "clock.so", tmp_path / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    clock.write_text("0")
    options = ["+x=range(0,6)", "+seconds=1", "hydra.sweeper.grace_seconds=6"]
    process = app(*options, LD_PRELOAD=str(library), CLOCK=str(clock))
    wait_for((tmp_path / "study" / "2" / ".hydra").exists)
    clock.write_text(str(ahead))
    status, out, err = _ended(process)
    assert status == 0, err
    assert _states(tmp_path) == ["complete"] * 6
    lengths = [trial.duration.total_seconds() for trial in _trials(tmp_path) if trial.duration is not None]
    assert len([seconds for seconds in lengths if 0 < seconds < 600]) < 6  # the clock was set, in the middle
    assert re.search(r"\. 6 of 6 trials, [\d.]+ (s|min)\.", out), out
    page = (tmp_path / "study" / "report.html").read_text()
    assert not re.search(r">[-−]\d[\d.,]* (s|min)<", page)

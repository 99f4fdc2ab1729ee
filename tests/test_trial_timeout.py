"""`hydra.sweeper.trial_timeout`: every executor ends a job that has run too long, whatever the job does about it."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeper.errors import StudyError

from .executor_tasks import make_job, open_executor
from .processes import CHECKOUT, environment
from .slurm import Slurm
from .studies import only_study, trials_of, wait_for
from .test_executors import BATCHES, EVERY, SLOW, _lives, _processes, _run, kind  # noqa: F401 - a fixture

SECONDS = 1.2
LIMIT = [f"+hydra.sweeper.trial_timeout={SECONDS}"]
REASON = f"it ran longer than {SECONDS} s (hydra.sweeper.trial_timeout)"
SEARCH = ["-m", "hydra/sweeper=study", "x=1,2,3", f"hydra.sweeper.trial_timeout={SECONDS}"]


@pytest.mark.parametrize("kind", [each for each in EVERY if each != "in_process"], indirect=True)
def test_a_job_that_runs_too_long_is_ended(kind: str, tmp_path: Path) -> None:  # noqa: F811
    """Stopped, ignoring SIGTERM, or in C code without signals: it failed, its processes are gone, its neighbours are well.

    A launcher in batches cannot do that, and is refused. Without workers, a search with a limit has one: see below.
    """
    if kind in BATCHES:
        with pytest.raises(StudyError, match=r"trial_timeout needs a launcher whose trials can be ended one by one"):
            open_executor(kind, tmp_path, overrides=LIMIT)
        return
    executor = open_executor(kind, tmp_path, overrides=LIMIT)
    actions = ("stop", "block", *(["ignore"] if kind in SLOW else []), "one")
    results = _run(executor, *actions)
    assert results.pop("one").value == 1.0
    assert {(each.error, each.retryable) for each in results.values()} == {(REASON, True)}
    stuck = [int(path.name.split("-")[1]) for path in tmp_path.glob("started-*") if not path.name.endswith("-one")]
    wait_for(lambda: not any(map(_lives, stuck)))
    executor.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["slurm", "ray"], indirect=True)
def test_a_job_that_waits_in_a_queue_does_not_run(kind: str, tmp_path: Path) -> None:  # noqa: F811
    """Jobs of three seconds with a limit of five: the last of them waits for longer, and is well."""
    room = {"slurm": ["hydra.launcher.cpus_per_task=4"], "ray": ["+hydra.launcher.ray.remote.num_cpus=1"]}
    jobs = ["+hydra.sweeper.n_jobs=4", "+hydra.sweeper.trial_timeout=5"]
    executor = open_executor(kind, tmp_path, overrides=[*room[kind], *jobs])
    for number in range(4):
        executor.submit(make_job(number, "sleep"))
    results = executor.wait(10)
    while len(results) < 4:
        results += executor.wait(10)
    assert sorted((result.number, result.value) for result in results) == [(number, 3.0) for number in range(4)]
    executor.cancel()


def test_a_result_that_came_in_time_is_kept(tmp_path: Path) -> None:
    """Even if the coordinator, busy with its storage, sees it after the limit; and there is one result, however large."""
    executor = open_executor("workers", tmp_path, overrides=LIMIT)
    executor.submit(make_job(0, "finish late"))
    wait_for(lambda: executor.wait(0.01) == [] and _processes(tmp_path) != [])
    (tmp_path / "finish").touch()
    executor.submit(make_job(1, "large"))
    time.sleep(SECONDS + 1)
    results = executor.wait(30)
    while len(results) < 2:
        results += executor.wait(30)
    assert executor.wait(0.1) == []
    assert sorted((result.number, result.error) for result in results) == [(0, None), (1, None)]
    executor.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "once", "locked"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_search_tries_a_stuck_trial_again_and_ends(tmp_path: Path, how: str, jobs: int) -> None:
    """Stuck for good, it has failed like any other, and counts as such; stuck once, its second try is complete.

    Stopped while it holds the lock of the journal, it holds up its search no longer than its limit.
    """
    for file in (CHECKOUT / "tests" / "applications").glob("stuck.*"):
        shutil.copy(file, tmp_path)
    words = [*SEARCH, f"how={how}", f"hydra.sweeper.n_jobs={jobs}", "hydra.sweeper.max_failure_rate=0"]
    done = subprocess.run(
        [sys.executable, "stuck.py", *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert f"trial 1 failed, its point is tried again: {REASON}\n" in done.stdout
    trials = trials_of(only_study(tmp_path))
    assert trials[1].user_attrs["failed"] == REASON
    if how == "once":
        assert (done.returncode, done.stderr) == (0, "")
        assert sorted(trial.value for trial in trials if trial.value is not None) == [1.0, 2.0, 3.0]
    else:
        assert done.returncode == 1
        assert re.search(r"trial \d failed: " + re.escape(REASON), done.stdout)
        assert "at most 0 % of 3 trials may fail" in done.stderr


@pytest.mark.slow
def test_a_job_that_slurm_starts_again_has_as_much_time_again(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time in the queue does not count, nor does that of the start before."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    executor = open_executor("slurm", tmp_path, overrides=["+hydra.sweeper.trial_timeout=5"])
    executor.submit(make_job(0, "sleep"))
    wait_for(lambda: executor.wait(0.1) == [] and _processes(tmp_path) != [])
    assert executor.wait(1) == []
    ((job, _, _),) = slurm.queue()
    slurm.command("scontrol", "requeue", job)
    begun, results = time.monotonic(), executor.wait(1)
    while not results:
        results = executor.wait(10)
    assert [(result.value, result.error) for result in results] == [(3.0, None)]
    assert time.monotonic() - begun > 5
    executor.cancel()

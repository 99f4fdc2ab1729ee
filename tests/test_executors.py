"""The contract that every executor keeps: whatever its jobs do, each gets one result, and nothing is left running."""

import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.study.executors.base import Executor, JobResult
from sweeper.study.executors.submitter import check_settings

from .executor_tasks import KINDS, make_job, open_executor
from .processes import CHECKOUT, environment
from .studies import wait_for

ONE_BY_ONE = {"in_process"}
BATCHES = {"joblib"}
STARTS = {"submitit", "slurm"}
"""They start a process for every job."""
SLOW = STARTS | {"ray"}
EVERY = [pytest.param(kind, marks=pytest.mark.slow) if kind in SLOW else kind for kind in KINDS]


@pytest.fixture(params=EVERY)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each executor in turn; those on a cluster share one."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    if request.param == "slurm":
        for name, value in request.getfixturevalue("slurm").environment.items():
            monkeypatch.setenv(name, value)
    return str(request.param)


@pytest.fixture
def executor(kind: str, tmp_path: Path) -> Iterator[Executor]:
    """A new executor, cancelled at the end."""
    made = open_executor(kind, tmp_path)
    yield made
    made.cancel()


def _run(executor: Executor, *actions: str) -> dict[str, JobResult]:
    """Run jobs as the coordinator does, never more at a time than there is room for; their results by what they did."""
    queued, results = list(enumerate(actions)), dict[str, JobResult]()
    running = 0
    while queued or running:
        while queued and running < executor.capacity:
            executor.submit(make_job(*queued.pop(0)))
            running += 1
        for result in executor.wait(10):
            running -= 1
            assert actions[result.number] not in results
            results[actions[result.number]] = result
    return results


def _processes(folder: Path) -> list[int]:
    """The processes in which jobs have started."""
    return [int(path.name.split("-")[1]) for path in folder.glob("started-*")]


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_every_way_a_job_ends_is_its_own_result(executor: Executor) -> None:
    """A number, a pruned job, an exception, divergence, an exit and no number: each as it is, none disturbs another."""
    results = _run(executor, "one", "prune", "raise", "diverge", "exit", "nothing", "infinite", "huge")
    assert (results["one"].value, results["one"].pruned, results["one"].error) == (1.0, False, None)
    assert (results["prune"].value, results["prune"].pruned, results["prune"].error) == (0.5, True, None)
    assert (results["raise"].error, results["raise"].retryable) == ("ValueError: two lines", True)
    assert (results["diverge"].error, results["diverge"].retryable) == ("lower the learning rate", False)
    assert (results["exit"].error, results["exit"].retryable) == ("RuntimeError: the job exited with status 3", True)
    assert results["nothing"].error == "a job must return a number, but got None"
    assert results["infinite"].value == math.inf
    assert (results["huge"].error or "").startswith("a job must return a number, but got 1000")
    assert all(results[do].value is None for do in ("raise", "diverge", "exit", "nothing", "huge"))


def test_a_result_brings_the_texts_of_its_files(executor: Executor, tmp_path: Path) -> None:
    """Whatever runs the job: its coordinator may be on another host, and keeps them for all."""
    texts = _run(executor, "one")["one"].texts
    assert texts["elsewhere.txt"].endswith(f":{tmp_path}/sweep/0\n")


def test_a_worker_says_that_it_waits(tmp_path: Path) -> None:
    """A storage that takes no more connections would otherwise hold up a search without a word; one line is enough."""
    said: list[str] = []
    executor = open_executor("workers", tmp_path, on_wait=said.append)
    assert _run(executor, "wait")["wait"].value == 1.0
    assert said == ["a worker: the storage does not answer"]
    executor.cancel()


def test_what_is_no_exception_is_a_failure_too(executor: Executor, kind: str) -> None:
    """A BaseException ends no worker, and no search waits for it; nor does a KeyboardInterrupt that no Ctrl-C has raised."""
    results = _run(executor, "base", "one")
    assert results["base"].error == "RuntimeError: the job raised NoException: two lines"
    assert results["one"].value == 1.0
    if kind not in ONE_BY_ONE | BATCHES:  # these run jobs where Ctrl-C arrives
        assert _run(executor, "interrupt")["interrupt"].error == "RuntimeError: the job raised KeyboardInterrupt"


def test_a_worker_returns_the_number_of_what_cannot_be_pickled(tmp_path: Path) -> None:
    """An object that becomes a number costs Hydra's record of the job, not the value, if it cannot leave its process.

    Nor if it cannot be read by the coordinator, as on a host without its module.
    """
    executor = open_executor("workers", tmp_path)
    results = _run(executor, "unpicklable", "unreadable", "one")
    assert [results[do].value for do in ("unpicklable", "unreadable", "one")] == [3.0, 5.0, 1.0]
    assert [results[do].returned is None for do in ("unpicklable", "unreadable", "one")] == [True, True, False]
    executor.cancel()


def test_what_a_job_says_is_one_short_line(tmp_path: Path) -> None:
    """A reason for pruning is kept; arrays are several values; long values are cut; an error and a value may have no text."""
    executor = open_executor("workers", tmp_path)
    results = _run(executor, "prune itself", "array", "long", "unspeakable", "unshown")
    assert (results["prune itself"].pruned, results["prune itself"].reason) == (True, "no memory")
    assert results["array"].value == (1.0, 2.0)
    assert len(results["long"].error or "") < 600
    assert not results["long"].retryable
    assert results["unspeakable"].error == "UnspeakableError: an object of UnspeakableError, whose text cannot be read"
    assert (
        results["unshown"].error
        == "a job must return a number, but got an object of Unshown, whose text cannot be read"
    )
    executor.cancel()


def test_a_job_may_start_processes_which_end_with_its_worker(tmp_path: Path) -> None:
    """Torch's DataLoader does so; a process of a daemon may not. No process outlives the executor."""
    executor = open_executor("workers", tmp_path)
    assert _run(executor, "start")["start"].value == 6.0
    children = _children(_processes(tmp_path)[0])
    assert children
    executor.cancel()
    wait_for(lambda: not any(map(_lives, children)))


def test_processes_of_a_job_end_with_a_killed_coordinator(tmp_path: Path) -> None:
    """Its workers see that it is gone, and end what their jobs have started."""
    script = [sys.executable, "-m", "tests.executor_tasks", "workers", str(tmp_path), "start and hang"]
    with subprocess.Popen(script, cwd=CHECKOUT, env=environment()) as coordinator:
        wait_for(lambda: any(map(_children, _processes(tmp_path))))
        children = _children(_processes(tmp_path)[0])
        coordinator.kill()
    wait_for(lambda: not any(map(_lives, children)))


def _children(process: int) -> list[int]:
    """The processes that the main thread of a process has started."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_results_come_as_jobs_finish(executor: Executor, kind: str) -> None:
    """A short job's result does not wait for a long one's, unless jobs are run one by one or in batches."""
    order = list(_run(executor, "nap", "one"))
    if kind in ONE_BY_ONE | BATCHES:
        assert order == ["nap", "one"]
    else:
        executor.submit(make_job(2, "hang"))
        assert executor.wait(0.01) == []
        executor.submit(make_job(3, "one"))
        assert [result.number for result in executor.wait(60)] == [3]


def test_a_job_killed_costs_itself(kind: str, tmp_path: Path) -> None:
    """Kill -9 of a job's process: that job failed, and may be tried again; its neighbour has its value, at once or retried."""
    if kind in ONE_BY_ONE:
        script = [sys.executable, "-m", "tests.executor_tasks", kind, str(tmp_path), "die", "one"]
        assert subprocess.run(script, cwd=CHECKOUT, env=environment(), check=False).returncode == -signal.SIGKILL
        return
    executor = open_executor(kind, tmp_path)
    results = _run(executor, "die", "nap")
    assert re.match(r"its (worker|process) died \(", results["die"].error or "")
    assert results["die"].retryable
    if kind == "joblib":  # it ends all its workers when one of them dies
        executor.submit(make_job(2, "die", is_retry=True))
        executor.submit(make_job(3, "nap", is_retry=True))
        died, napped = *executor.wait(60), *executor.wait(60)
        assert died.error is not None
    else:
        napped = results["nap"]
    assert (napped.value, napped.error) == (2.0, None)
    executor.cancel()


def test_cancelled_jobs_end_at_once(executor: Executor, kind: str, tmp_path: Path) -> None:
    """`cancel` ends jobs in their middle and returns with none of them alive; jobs not yet started never start."""
    executor.submit(make_job(0, "hang"))
    if kind in ONE_BY_ONE | BATCHES:
        executor.cancel()
        assert executor.wait(0.01) == []
        assert _processes(tmp_path) == []
        return
    executor.submit(make_job(1, "hang"))
    # A worker on a cluster gets its job while the coordinator waits, as soon as it has started.
    wait_for(lambda: executor.wait(0) == [] and len(_processes(tmp_path)) == 2)
    executor.cancel()
    assert not any(map(_lives, _processes(tmp_path)))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running(kind: str, tmp_path: Path, ending: signal.Signals) -> None:
    """Ctrl-C, which the whole process group gets, and kill -9 of the coordinator alone: its jobs are gone soon after."""
    actions = ["hang"] if kind in ONE_BY_ONE else ["hang", "hang"]
    script = [sys.executable, "-m", "tests.executor_tasks", kind, str(tmp_path), *actions]
    coordinator = subprocess.Popen(
        script, cwd=CHECKOUT, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(lambda: len(_processes(tmp_path)) == len(actions) or coordinator.poll() is not None)
        assert coordinator.poll() is None
        assert len(_processes(tmp_path)) == len(actions)
        if ending is signal.SIGINT:
            os.killpg(coordinator.pid, ending)
        else:
            coordinator.kill()
        assert coordinator.wait(timeout=30) != 0
        wait_for(lambda: not any(map(_lives, _processes(tmp_path))))
    finally:
        coordinator.kill()
        coordinator.wait()


def test_a_worker_killed_as_it_starts_costs_its_job_alone(tmp_path: Path) -> None:
    """However much it has yet to receive: the coordinator does not wait for it to be read, and the next job gets a worker."""
    executor = open_executor("workers", tmp_path, payload=bytes(2**21))
    os.kill(_started_by(lambda: executor.submit(make_job(0, "one"))), signal.SIGKILL)
    (died,) = executor.wait(10)
    assert (died.error, died.retryable) == ("its worker died (exit code -9, SIGKILL)", True)
    executor.submit(make_job(1, "one", is_retry=True))
    assert [result.value for result in executor.wait(30)] == [1.0]
    executor.cancel()


def _started_by(start: Callable[[], None]) -> int:
    """The process that a call starts."""
    before = {child.pid for child in multiprocessing.active_children()}
    start()
    (child,) = (child for child in multiprocessing.active_children() if child.pid not in before)
    assert child.pid is not None
    return child.pid


@pytest.mark.parametrize(("cluster", "name"), [("local", "timeout_min"), ("slurm", "array_parallelism")])
def test_settings_with_which_no_job_runs_are_refused(cluster: str, name: str) -> None:
    """With them submitit kills each of its own jobs at once, and no trial is submitted to Slurm."""
    with pytest.raises(StudyError, match=f"hydra.launcher.{name} must be at least 1, but got 0"):
        check_settings(cluster, {name: 0})

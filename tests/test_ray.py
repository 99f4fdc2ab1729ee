"""Searches on Ray: a cluster loses a node in the middle, one that a search starts ends with it, what Ray refuses is one line."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sweeper.errors import StudyError
from sweeper.study.attributes import FAILED, REQUEUE_OF
from sweeper.study.executors.ray_resources import RayResources

from .executor_tasks import make_job, open_executor
from .processes import CHECKOUT, Start, command, environment
from .ray_nodes import ONE_CPU
from .studies import TINY, only_study, trials_of, wait_for

RAY = ["hydra/launcher=ray"]
SEARCH = ["-m", "search=dropout_lr", *TINY, *RAY, "hydra/sweeper/pruner=none", "hydra.sweeper.stop_at_target=false"]


@pytest.mark.slow
def test_a_node_that_leaves_costs_one_trial(ray_cluster: Any, start: Start, tmp_path: Path) -> None:
    """Its trial fails, said in one line, and is tried again on a node that stays; n_trials is exact, the exit status 0."""
    search = start(
        *SEARCH,
        "training.epochs=6",
        "hydra.sweeper.n_trials=3",
        f"hydra.launcher.ray.init.address={ray_cluster.address}",
    )
    wait_for(lambda: len(list(tmp_path.glob("outputs/studies/*/*/metrics.jsonl"))) == 2 or search.poll() is not None)
    (node,) = ray_cluster.worker_nodes
    ray_cluster.remove_node(node, allow_graceful=False)
    try:
        out, err = search.communicate(timeout=300)
    finally:
        ray_cluster.add_node(**ONE_CPU)
    assert (search.returncode, err) == (0, "")
    trials = trials_of(only_study(tmp_path))
    (lost,) = (trial for trial in trials if trial.state is not TrialState.COMPLETE)
    assert lost.state is TrialState.FAIL
    assert lost.user_attrs[FAILED].startswith("its worker died (node ")
    assert lost.user_attrs[FAILED].endswith(" left the cluster)")
    assert f"trial {lost.number} failed, its point is tried again: {lost.user_attrs[FAILED]}" in " ".join(out.split())
    assert [trial.number for trial in trials if trial.user_attrs.get(REQUEUE_OF) == lost.number] != []
    assert len(trials) == 3 + 1


@pytest.mark.slow
def test_ctrl_c_ends_a_search_and_its_jobs_on_a_cluster_that_goes_on(
    ray_cluster: Any, start: Start, tmp_path: Path
) -> None:
    """The trials are queued again, their processes are gone, and the cluster has its CPUs back."""
    address = f"hydra.launcher.ray.init.address={ray_cluster.address}"
    search = start(*SEARCH, "training.epochs=500", address)
    wait_for(lambda: len(list(tmp_path.glob("outputs/studies/*/*/metrics.jsonl"))) == 2 or search.poll() is not None)
    search.send_signal(signal.SIGINT)
    out, err = search.communicate(timeout=60)
    assert (search.returncode, err) == (130, "")
    # A node that another test removed may still count: then there is a third trial, which waits for its CPU.
    trials = trials_of(only_study(tmp_path))
    assert [trial for trial in trials if trial.state is TrialState.RUNNING] == []
    again = [trial for trial in trials if REQUEUE_OF in trial.user_attrs]
    assert len(again) >= 2
    assert {trial.state for trial in again} == {TrialState.WAITING}
    assert f"interrupted: {len(again)} trials queued again" in out
    wait_for(lambda: not _workers())


@pytest.mark.slow
def test_a_cluster_that_a_search_starts_ends_with_it(tmp_path: Path) -> None:
    """Without an address Ray is started here, with a CPU for each core; Ctrl-C for all its processes ends them."""
    script = [sys.executable, "-m", "tests.executor_tasks", "ray", str(tmp_path), "one", "hang"]
    search = subprocess.Popen(
        script, cwd=CHECKOUT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    wait_for(lambda: list(tmp_path.glob("started-*-hang")) != [] or search.poll() is not None)
    os.killpg(search.pid, signal.SIGINT)
    out, err = search.communicate(timeout=60)
    assert out == b""
    assert err.splitlines()[-1] == b"KeyboardInterrupt"
    assert not _group(search.pid)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_search_can_be_ended_while_ray_starts(tmp_path: Path, ending: signal.Signals, status: int) -> None:
    """One line says that no trial was started, and what Ray has started so far ends."""
    with subprocess.Popen(
        command(*SEARCH),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as search:
        wait_for(lambda: any("raylet" in title for title in _group(search.pid)) or search.poll() is not None)
        search.send_signal(ending)
        out, err = search.communicate(timeout=120)
    assert (search.returncode, err) == (status, "")
    assert out == "interrupted before the study was open: no trial was started\n"
    assert not (tmp_path / "outputs").exists()
    wait_for(lambda: not _group(search.pid))


@pytest.mark.slow
def test_what_ray_starts_again_by_itself_is_one_job(ray_cluster: Any, tmp_path: Path) -> None:  # noqa: ARG001
    """With max_retries, Ray runs the job of a killed worker again; the study sees one result."""
    executor = open_executor("ray", tmp_path, overrides=["+hydra.launcher.ray.remote.max_retries=1"])
    executor.submit(make_job(0, "die once"))
    (result,) = executor.wait(60)
    assert (result.value, result.error) == (4.0, None)
    executor.cancel()


@pytest.mark.slow
def test_jobs_have_the_coordinators_surroundings(
    ray_cluster: Any,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its working directory, and variables that the config names, although Ray was started without them elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SURROUNDINGS", "7")
    executor = open_executor("ray", tmp_path)
    executor.submit(make_job(0, "surroundings"))
    (result,) = executor.wait(60)
    assert (result.value, result.error) == (7.0, None)
    executor.cancel()


@pytest.mark.slow
def test_jobs_beyond_the_room_run_in_turn(ray_cluster: Any, tmp_path: Path) -> None:  # noqa: ARG001
    """Two nodes of one CPU have room for two trials; more that are submitted wait for a worker, and none is lost."""
    executor = open_executor("ray", tmp_path)
    assert executor.capacity == 2
    for number in range(5):
        executor.submit(make_job(number, "nap"))
    numbers: list[int] = []
    while len(numbers) < 5:
        numbers += [result.number for result in executor.wait(60)]
    assert sorted(numbers) == [0, 1, 2, 3, 4]
    assert len(list(tmp_path.glob("started-*"))) == 2  # a file for each process
    executor.cancel()


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ({}, 4),
        ({"num_cpus": 0.1}, 40),
        ({"num_cpus": 3}, 1),
        ({"num_gpus": 0.5}, 2),
        ({"num_cpus": 0, "resources": {"x": 1}}, 0),
    ],
)
def test_a_node_holds_as_many_trials_as_its_scarcest_resource_allows(remote: dict[str, Any], expected: int) -> None:
    """One CPU for each trial unless the launcher's config asks for more or for less; what it lacks, it holds none of."""
    assert RayResources(remote).fitting({"CPU": 4.0, "GPU": 1.0, "memory": 1e9}) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "hydra.launcher.ray.init.address=127.0.0.1:1",
            "address must be that of a running Ray cluster, but 127.0.0.1:1 is",
        ),
        (
            "hydra.launcher.ray.init.address='no such host:1'",
            "address must be that of a running Ray cluster, but no such host:1 is not",
        ),
        ("+hydra.launcher.ray.remote.num_cpus=two", "but it refuses one (could not convert string to float: 'two')"),
        ("+hydra.launcher.ray.remote.max_calls=1", "but it refuses one (Invalid option keyword max_calls for actors)"),
    ],
)
def test_what_ray_refuses_is_one_line(tmp_path: Path, override: str, line: str) -> None:
    """An address without a cluster, and an option that actors do not have: before anything of Ray is started."""
    with pytest.raises(StudyError) as refused:
        open_executor("ray", tmp_path, overrides=[override])
    assert line in str(refused.value)


@pytest.mark.slow
def test_a_refused_search_opens_no_study(start: Start, tmp_path: Path) -> None:
    """The refusal is all that is printed, and no folder is left of a study that has never begun."""
    search = start(*SEARCH, "hydra.launcher.ray.init.address=127.0.0.1:1")
    out, err = search.communicate(timeout=120)
    assert (search.returncode, out) == (1, "")
    assert err.startswith(
        "sweeper: hydra.launcher.ray.init.address must be that of a running Ray cluster, but 127.0.0.1:1 is not"
    )
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_worker_without_a_job_gives_its_room_back(ray_cluster: Any, tmp_path: Path) -> None:  # noqa: ARG001
    """Other searches on the cluster may wait for it while this one waits for its last, long job."""
    executor = open_executor("ray", tmp_path)
    executor.submit(make_job(0, "hang"))
    executor.submit(make_job(1, "one"))
    assert [result.number for result in executor.wait(60)] == [1]
    assert len(_workers()) == 2
    wait_for(lambda: executor.wait(0.5) == [] and len(_workers()) == 1)
    executor.submit(make_job(2, "one"))  # a new worker takes it
    assert [result.number for result in executor.wait(60)] == [2]
    executor.cancel()


def _workers() -> list[str]:
    """The processes of sweeper's Ray workers on the cluster of this process; another test may have one of its own."""
    return [title for title, number, _ in _processes() if title.startswith("ray::SweeperWorker") and _is_below(number)]


def _is_below(number: int) -> bool:
    """Whether a process descends from this one."""
    while number > 1 and number != os.getpid():
        with suppress(OSError):
            number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
            continue
        return False
    return number == os.getpid()


def _group(leader: int) -> list[str]:
    """The processes of a group."""
    return [title for title, _, group in _processes() if group == leader]


def _processes() -> Iterator[tuple[str, int, int]]:
    """Every living process: its title, its number and its group."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if state != "Z":
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield title, int(folder.name), int(group)

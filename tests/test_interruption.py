"""Kill -9 and Ctrl-C of a search and of its workers: real processes, real storages."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sweeper.study.locks import exclusive
from sweeper.study.storage import journal_url, open_storage

from .processes import Start, Sweeper, environment
from .studies import HERE, LONG, trials_of, wait_for


def _children(pid: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            yield int(status.parent.name)


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_worker(pid: int) -> bool:
    return b"spawn_main" in _command_line(pid)


@pytest.mark.slow
def test_kill_9_loses_nothing_and_the_same_command_goes_on(
    start: Start, sweeper_process: Sweeper, tmp_path: Path
) -> None:
    """After kill -9 of the parent the workers exit; the same command queues what was running and reaches its total."""
    total = "hydra.sweeper.n_trials=5"
    process = start(*LONG, "hydra.sweeper.n_jobs=2", total)
    folder = tmp_path / "outputs" / "studies" / "long"
    wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 1 and len(list(folder.glob("*/metrics.jsonl"))) >= 3)
    workers = [child for child in _children(process.pid) if _is_worker(child)]
    assert len(workers) == 2
    process.kill()
    process.communicate()
    wait_for(lambda: not any(_is_worker(worker) for worker in workers))
    before = {trial.number: trial.value for trial in trials_of(folder) if trial.state is TrialState.COMPLETE}

    done = sweeper_process(*LONG, "hydra.sweeper.n_jobs=2", total)
    assert done.returncode == 0, done.stderr
    assert "lost its process: queued again" in done.stdout
    trials = trials_of(folder)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    finished = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    assert len(finished) == 5
    assert {number: trials[number].value for number in before} == before
    assert not [trial for trial in trials if trial.state in {TrialState.RUNNING, TrialState.WAITING}]
    stale = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert stale
    assert all(any(t.params == s.params for t in finished) for s in stale)


@pytest.mark.slow
def test_kill_9_of_a_search_for_a_front(start: Start, sweeper_process: Sweeper, tmp_path: Path) -> None:
    """A study with two objectives resumes too: it keeps its values, queues what was running and reaches its total."""
    front = [
        "-m",
        "search=pareto",
        *LONG[2:],
        "training.epochs=10",
        "hydra.sweeper.n_jobs=2",
        "hydra.sweeper.n_trials=5",
    ]
    process = start(*front)
    folder = tmp_path / "outputs" / "studies" / "long"
    wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 1 and len(list(folder.glob("*/metrics.jsonl"))) >= 3)
    process.kill()
    process.communicate()
    before = {trial.number: trial.values for trial in trials_of(folder) if trial.state is TrialState.COMPLETE}
    done = sweeper_process(*front)
    assert done.returncode == 0, done.stderr
    assert "lost its process: queued again" in done.stdout
    trials = trials_of(folder)
    assert before
    assert {number: trials[number].values for number in before} == before
    assert sum(t.state in {TrialState.COMPLETE, TrialState.PRUNED} for t in trials) == 5
    assert all(t.values[1] == t.user_attrs["parameters"] for t in trials if t.state is TrialState.COMPLETE)


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_at_once_and_queue_what_was_running(
    start: Start, tmp_path: Path, ending: signal.Signals, status: int
) -> None:
    """Status 130 or 143 before what runs is done, best so far, page and resuming command said, its point queued again."""
    process = start(*LONG, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=50")
    folder = tmp_path / "outputs" / "studies" / "long"

    def in_first_epochs() -> list[Path]:
        """The folders of trials in their first epochs."""
        files = [path for path in folder.glob("*/metrics.jsonl") if not path.with_name("result.json").exists()]
        return [path.parent for path in files if 1 <= len(path.read_text().splitlines()) <= 10]

    wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 1 and bool(in_first_epochs()))
    running = in_first_epochs()
    process.send_signal(ending)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert not [path for path in running if (path / "result.json").exists()]
    assert "report: outputs/studies/long/report.html" in out
    assert (folder / "report.html").exists()
    assert err == ""
    assert "interrupted: " in out
    assert "best: trial " in out
    assert "go on:\npython -m sweeper -m search=dropout_lr" in out
    trials = trials_of(folder)
    assert not [trial for trial in trials if trial.state is TrialState.RUNNING]
    assert [trial for trial in trials if trial.state is TrialState.WAITING]
    assert (folder / "best" / "model.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_search_that_waits_to_open_its_study_can_be_ended(
    start: Start, tmp_path: Path, ending: signal.Signals, status: int
) -> None:
    """Another process holds the lock: one line says that no trial was started."""
    folder = tmp_path / "outputs" / "studies" / "long"
    folder.mkdir(parents=True)
    with exclusive(folder / ".turn"):
        process = start(*LONG, *HERE)

        def is_waiting() -> bool:
            return str(folder / ".turn") in {str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir()}

        wait_for(is_waiting)
        process.send_signal(ending)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == "interrupted before the study was open: no trial was started\n"
    assert err == ""


APPLICATION = """
import hydra

@hydra.main(config_path=None, config_name=None)
def task(config):
    return config.x

task()
"""


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_at_any_moment_ends_the_search(tmp_path: Path, jobs: int) -> None:
    """Jobs that are over at once, so that Ctrl-C comes while trials are asked, stored and told: it is never lost.

    Each time the search ends with status 130, no trial is RUNNING, the journal is whole, and the same command goes on.
    """
    (tmp_path / "app.py").write_text(APPLICATION)
    arguments = [
        *(
            "-m",
            "hydra/sweeper=study",
            "hydra.sweep.dir=study",
            "+x=interval(0,1)",
        ),
        *("hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=10000", f"hydra.sweeper.n_jobs={jobs}"),
        *("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"),
    ]
    journal = tmp_path / "study" / "journal.log"
    moments = random.Random(jobs)  # noqa: S311 - which moments are tried
    for _ in range(8):
        size = journal.stat().st_size if journal.exists() else 0
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            wait_for(lambda before=size: journal.exists() and journal.stat().st_size > before + 5000)  # type: ignore[misc]
            time.sleep(moments.uniform(0, 0.5))
            process.send_signal(signal.SIGINT)
            try:
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        assert process.returncode != 0
        assert "interrupted: " in out, err
        trials = optuna.load_study(study_name="s", storage=open_storage(journal_url(journal))).trials
        assert not [trial for trial in trials if trial.state is TrialState.RUNNING]
        assert [trial.number for trial in trials] == list(range(len(trials)))


@pytest.mark.slow
def test_a_killed_worker_costs_its_trial_alone(start: Start, tmp_path: Path) -> None:
    """Kill -9 of one worker: its trial fails with that reason, is tried again by a new worker, the study is whole."""
    process = start(*LONG, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    folder = tmp_path / "outputs" / "studies" / "long"
    wait_for(lambda: len(list(folder.glob("*/metrics.jsonl"))) >= 2)
    os.kill(next(child for child in _children(process.pid) if _is_worker(child)), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "its worker died (exit code -9, SIGKILL)" in out
    trials = trials_of(folder)
    assert len([t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]) == 4
    assert [t.user_attrs["failed"] for t in trials if t.state is TrialState.FAIL] == [
        "its worker died (exit code -9, SIGKILL)"
    ]


@pytest.mark.slow
def test_a_killed_submitit_job_costs_its_trial_alone(start: Start, tmp_path: Path) -> None:
    """Kill -9 of one job's process: its trial is tried again, its neighbour's value counts, nothing is RUNNING."""
    arguments = ["hydra/launcher=submitit_local", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=3"]
    process = start(*LONG, *arguments)
    folder = tmp_path / "outputs" / "studies" / "long"
    wait_for(lambda: all((folder / number / "metrics.jsonl").exists() for number in "01"))
    jobs = [pid for pid in _descendants(process.pid) if b"submitit.core._submit" in _command_line(pid)]
    working = [pid for pid in jobs if not any(child in jobs for child in _children(pid))]
    os.kill(working[0], signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "Traceback" not in out + err
    assert re.search(r"trial [01] failed, its point is tried again: its process died \(process \d+", out)
    trials = trials_of(folder)
    assert len([t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]) == 3
    assert [t.number for t in trials if t.state is TrialState.FAIL] in ([0], [1])
    assert not [t for t in trials if t.state in {TrialState.RUNNING, TrialState.WAITING}]
    assert not (folder / ".jobs").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's signals from /proc")
def test_a_worker_ignores_ctrl_c_from_its_first_instruction(tmp_path: Path) -> None:
    """The first process a sweep spawns blocks SIGINT from its start: no traceback out of the middle of its imports."""
    script = tmp_path / "spawn.py"
    script.write_text(
        "import multiprocessing, pathlib, time\n"
        "from sweeper.study.executors.process import start_ignoring_sigint\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(60,))\n"
        "    start_ignoring_sigint(child)\n"
        "    print(pathlib.Path(f'/proc/{child.pid}/status').read_text())\n"
        "    child.kill()\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", done.stdout, re.MULTILINE)
    assert int(blocked, 16) & 1 << (signal.SIGINT - 1)

"""Searches on a real Slurm: jobs that it ends or starts again, jobs that it does not take, and what is left in its queue."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from sweeper.study.storage import journal_url, open_storage
from sweeper.study.summary import state_of

from .processes import Start, environment, started
from .slurm import CPUS, Slurm
from .studies import LONG, trials_of, wait_for

pytestmark = pytest.mark.slow

APPLICATION = """
import time
import hydra

@hydra.main(config_path=None)
def task(config):
    time.sleep(config.s)
    return config.s

task()
"""
SWEEP = [
    *("-m", "hydra/sweeper=study", "hydra.sweep.dir=study"),
    *(
        "hydra.sweeper.study_name=s",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
        "hydra/launcher=submitit_slurm",
    ),
]
EPOCHS = 40
"""More than the first trial can train before the last one has started, on a busy machine too."""
Sleeper = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def sleeper(tmp_path: Path, slurm: Slurm) -> Iterator[Sleeper]:
    """Starts a search over an application that sleeps for ``s`` seconds, in Slurm."""
    (tmp_path / "app.py").write_text(APPLICATION)
    with ExitStack() as ending:

        def start(*arguments: str) -> subprocess.Popen[str]:
            words = [sys.executable, "app.py", *SWEEP, *arguments]
            return started(ending, words, cwd=tmp_path, env=environment(**slurm.environment))

        yield start


def _trials(tmp_path: Path) -> list[FrozenTrial]:
    storage = open_storage(journal_url(tmp_path / "study" / "journal.log"))
    return optuna.load_study(study_name="s", storage=storage).trials


def _states(slurm: Slurm) -> list[str]:
    return [state for _, _, state in slurm.queue()]


def test_what_slurm_ends_or_starts_again_costs_one_trial_at_most(start: Start, slurm: Slurm, tmp_path: Path) -> None:
    """A requeued and a preempted job go on from their checkpoints, a cancelled one is tried again: n_trials, a line for each."""
    search = ["hydra/launcher=submitit_slurm", "hydra.sweeper.n_jobs=3", "hydra.sweeper.n_trials=3"]
    process = start(
        *LONG, f"training.epochs={EPOCHS}", *search, "hydra.sweeper.stop_at_target=false", **slurm.environment
    )
    folder = tmp_path / "outputs" / "studies" / "long"
    metrics = [folder / str(number) / "metrics.jsonl" for number in range(3)]
    wait_for(lambda: process.poll() is not None or all(file.exists() and file.read_text() for file in metrics))
    requeued, cancelled, preempted = sorted((job for job, _, _ in slurm.queue()), key=int)
    slurm.command("scontrol", "requeue", requeued)
    slurm.command("scancel", cancelled)
    slurm.command("sbatch", "--partition=urgent", f"--ntasks={CPUS}", "--output=/dev/null", "--wrap", "sleep 1")
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert err == ""
    assert f"trial 0 runs again: Slurm started its job {requeued} again" in out
    assert f"trial 2 runs again: Slurm started its job {preempted} again" in out
    assert f"trial 1 failed, its point is tried again: its Slurm job {cancelled} was cancelled" in out
    assert out.count(" runs again") <= 3  # the job of the second try may have been preempted too
    trials = trials_of(folder)
    assert [state_of(trial) for trial in trials].count("retried") == 1
    assert sum(state_of(trial) in {"complete", "pruned"} for trial in trials) == 3
    assert len(trials) == 4
    for trial in trials:
        if state_of(trial) == "complete":
            lines = (folder / str(trial.number) / "metrics.jsonl").read_text().splitlines()
            assert len(lines) == len(trial.intermediate_values) == EPOCHS
    for number in (0, 2):
        assert "resumed after epoch" in (folder / str(number) / "run.log").read_text()
    wait_for(lambda: not slurm.queue())  # a job ends a moment after its result
    assert not (folder / ".jobs").exists()


def test_a_job_at_its_time_limit_fails_its_trial(sleeper: Sleeper, slurm: Slurm, tmp_path: Path) -> None:
    """The signal before the limit ends the job; the reason names the limit, and the job's neighbour has its value.

    A node may start jobs in another folder: their files are in the study's all the same.
    """
    elsewhere = "+hydra.launcher.additional_parameters.chdir=/"
    limits = ["hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=55", "hydra.sweeper.max_retry=0"]
    process = sleeper("+s=600,1", elsewhere, *limits, "hydra.sweeper.max_failure_rate=1")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    # On a busy machine Slurm's signal may come before the job listens; then Slurm ends it at the limit itself.
    reason = (
        r"trial 0 failed: its (Slurm job \d+|job) reached its time limit of 1 min: raise hydra.launcher.timeout_min"
    )
    assert re.search(reason, out)
    assert [state_of(trial) for trial in _trials(tmp_path)] == ["failed", "complete"]
    assert (tmp_path / "study" / "1" / ".hydra" / "config.yaml").exists()
    wait_for(lambda: not slurm.queue())


def test_trials_wait_in_the_queue_until_ctrl_c_cancels_them(sleeper: Sleeper, slurm: Slurm, tmp_path: Path) -> None:
    """More jobs than there is room for wait; Ctrl-C ends all of them, and each point is queued again."""
    points = ",".join(str(600 + number) for number in range(CPUS + 2))
    process = sleeper(f"+s={points}", f"hydra.sweeper.n_jobs={CPUS + 2}")
    wait_for(lambda: sorted(_states(slurm)) == ["PENDING"] * 2 + ["RUNNING"] * CPUS)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert f"interrupted: {CPUS + 2} trials queued again" in out
    assert slurm.queue() == []
    assert not [trial for trial in _trials(tmp_path) if state_of(trial) == "running"]


def test_jobs_of_a_killed_search_are_cancelled_when_it_goes_on(sleeper: Sleeper, slurm: Slurm, tmp_path: Path) -> None:
    """Kill -9 leaves jobs in the queue; the same command cancels them and tries their points again."""
    process = sleeper("+s=1,2", "hydra.launcher.cpus_per_task=64")  # more than the node has: they never start
    wait_for(lambda: _states(slurm) == ["PENDING"] * 2)
    process.kill()
    process.communicate()
    left = {job for job, _, _ in slurm.queue()}
    assert len(left) == 2
    again = sleeper("+s=1,2")
    out, err = again.communicate(timeout=100)
    assert again.returncode == 0, err
    assert "2 Slurm jobs of an earlier process cancelled" in out
    assert out.count("lost its process: queued again") == 2
    assert [state_of(trial) for trial in _trials(tmp_path)] == ["retried"] * 2 + ["complete"] * 2
    wait_for(lambda: not slurm.queue())


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("hydra.launcher.partition=none", "refused the first: Batch job submission failed: Invalid partition name"),
        (
            "+hydra.launcher.additional_parameters.speed=1",
            "Slurm must take the trials' jobs, but refused the first: unrecognized option '--speed=1'",
        ),
        ("hydra.launcher.array_parallelism=0", "hydra.launcher.array_parallelism must be at least 1, but got 0"),
        (
            "+hydra.launcher.speed=1",
            "hydra.launcher must hold what submitit accepts, but it says: Unknown argument 'speed'",
        ),
    ],
)
def test_a_job_that_cannot_be_submitted_ends_the_search(sleeper: Sleeper, override: str, reason: str) -> None:
    """One line says what Slurm or submitit objects to."""
    process = sleeper("+s=1", override)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert reason in err
    assert len(re.findall("^.*launcher.*$|^.*Slurm.*$", err, re.MULTILINE)) == 1
    assert "Traceback" not in err

"""Limits of time: of a search, which starts no more trials, and of a training, which ends with what it has."""

import math
import shlex
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from sweeper.errors import ConfigError, RunFolderError
from sweeper.records import EpochRecord
from sweeper.report.ending import epochs_trained
from sweeper.report.record import read_run
from sweeper.run.experiment import run
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener
from sweeper.run.reproduction import reproduce
from sweeper.run.resuming import resume
from sweeper.search.feasibility import fingerprint
from sweeper.study.attributes import OWNER
from sweeper.study.executors import clock as clock_module
from sweeper.study.executors.base import JobResult
from sweeper.study.executors.clock import START_SECONDS, TrialClock
from sweeper.study.folder import StudyFolder
from sweeper.study.live_table import live_table
from sweeper.study.owner import identify_process
from sweeper.study.storage import journal_url, open_storage
from sweeper.study.time_limits import TimeLimits

from .composed import compose
from .studies import HERE, TINY, Call, only_study, trials_of

AT_ONCE = "training.timeout=1e-9"
"""A limit that lies in the first epoch."""
WRONG = ["0", "-1", "inf", "nan", "10m", "true"]


def _measured(folder: Path) -> list[object]:
    """What a run measured: its weights' checksum, and its epochs without their times."""
    result = RunFolder(folder).read_result()
    assert result is not None
    return [
        result.weights_sha256,
        *((each.epoch, each.train_loss, each.val_loss) for each in RunFolder(folder).read_epochs()),
    ]


# -- a training ----------------------------------------------------------------------------------------------------


def test_a_training_ends_with_the_epoch_in_which_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has weights and a result of the epochs it has, and says so; `resume` has as much time again.

    In the end it has the bits of a run without a limit. A repetition has as many epochs, however long they take.
    """
    monkeypatch.chdir(tmp_path)
    small = [*TINY, "training.epochs=3", "threads=1"]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    run(compose(small), folder=whole)
    ended = run(compose([*small, AT_ONCE, "training.checkpoint_every=0"]), folder=folder)
    files = RunFolder(folder)
    assert (ended.result.epochs, ended.result.timed_out, len(files.read_epochs())) == (1, True, 1)
    assert files.weights.exists()
    assert "ended after 1 of 3 epochs: training.timeout=1e-09 s" in files.log.read_text()
    assert epochs_trained(read_run(folder)) == "1 of 3 epochs (training.timeout)"
    repeated = reproduce(folder, [_Slow()])
    assert (repeated.epochs, repeated.differences) == (1, ())
    assert RunFolder(repeated.repetition).read_config() == files.read_config()

    assert resume(folder).result.epochs == 2
    resumed = resume(folder)
    assert (resumed.result.epochs, resumed.result.timed_out) == (3, False)
    assert _measured(folder) == _measured(whole)
    assert not files.checkpoint.exists()
    assert reproduce(folder).differences == ()
    with pytest.raises(RunFolderError, match="all 3 are done: nothing to resume"):
        resume(folder)


class _Slow(Listener):
    """Takes longer than any limit in these tests."""

    def on_epoch(self, record: EpochRecord) -> None:  # noqa: ARG002 - a listener
        time.sleep(0.01)


def test_a_trial_that_its_training_ends_is_complete(sweeper_call: Call, tmp_path: Path) -> None:
    """A search takes the value of the last epoch it had, and goes on; `reproduce` repeats the trial."""
    values = ["model.dropout=0.05,0.1", "training.epochs=3", AT_ONCE]
    done = sweeper_call("-m", *TINY, *HERE, *values)
    assert (done.returncode, done.stderr) == (0, "")
    trials = trials_of(only_study(tmp_path))
    assert [(trial.state.name, len(trial.intermediate_values)) for trial in trials] == [("COMPLETE", 1)] * 2
    again = sweeper_call("reproduce", str((only_study(tmp_path) / "1").relative_to(tmp_path)))
    assert (again.returncode, again.stdout.splitlines()[-1].partition(":")[0]) == (0, "identical"), again.stdout


def test_a_run_says_that_its_time_is_over(sweeper_call: Call) -> None:
    """One line, and the command that goes on, which can be pasted."""
    done = sweeper_call(*TINY, "training.epochs=2", AT_ONCE, "hydra.run.dir=run")
    lines = done.stdout.splitlines()
    at = lines.index("ended after 1 of 2 epochs: training.timeout=1e-09 s")
    assert lines[at + 1 : at + 3] == ["go on:", "python -m sweeper resume run"]
    more = sweeper_call("resume", "run")
    assert more.returncode == 0
    assert "ended after" not in more.stdout


@pytest.mark.parametrize("value", WRONG)
def test_a_wrong_limit_is_one_line(sweeper_call: Call, value: str) -> None:
    """It names the key, the unit and the value."""
    for arguments, key in (
        ([*TINY, f"training.timeout={value}"], "training.timeout"),
        (["-m", "search=dropout_lr", f"hydra.sweeper.timeout={value}"], "hydra.sweeper.timeout"),
        (["-m", "search=dropout_lr", f"hydra.sweeper.trial_timeout={value}"], "hydra.sweeper.trial_timeout"),
    ):
        done = sweeper_call(*arguments)
        assert done.returncode == 1
        rule = f"sweeper: {key} must be a positive, finite number of seconds, or null for no limit, but got "
        assert done.stderr.startswith(rule), done.stderr
        assert done.stderr.count("\n") == 1


def test_a_limit_is_part_of_a_config_only_where_it_is_given() -> None:
    """It decides how many epochs a result has. Configs and studies without one have the hash of earlier versions."""
    conf, timed = compose(TINY), compose([*TINY, "training.timeout=60"])
    assert fingerprint(conf) != fingerprint(timed)
    assert "timeout" not in repr(conf.training)
    with pytest.raises(ConfigError, match="must be a positive, finite number of seconds"):
        compose([*TINY, "training.timeout=0"])


# -- a search ------------------------------------------------------------------------------------------------------


def test_a_search_starts_no_trial_after_its_time(sweeper_call: Call, tmp_path: Path) -> None:
    """The trial that runs is finished; the reason is one line, and the printed command goes on, with as much time again."""
    arguments = ["-m", *TINY, *HERE, "training.epochs=4", "model.dropout=0.05,0.1", "hydra.sweeper.timeout=0.5"]
    done = sweeper_call(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nno trial starts after 0.5 s\n" in done.stdout
    assert "\nno trial was started after 0.5 s (hydra.sweeper.timeout)\n" in done.stdout
    assert [trial.state.name for trial in trials_of(only_study(tmp_path))] == ["COMPLETE", "WAITING"]
    lines = done.stdout.splitlines()
    words = shlex.split(lines[lines.index("go on:") + 1])[3:]
    assert sorted(words) == sorted(arguments)
    more = sweeper_call(*words)
    assert "no trial was started" not in more.stdout
    assert [trial.state.name for trial in trials_of(only_study(tmp_path))] == ["COMPLETE"] * 2


def test_a_search_waits_for_others_no_longer_than_its_time(sweeper_call: Call, tmp_path: Path) -> None:
    """All its trials are done, another process's is not: it ends, and says both."""
    arguments = ["-m", "search=dropout_lr", *TINY, *HERE, "hydra.sweeper.stop_at_target=false"]
    assert sweeper_call(*arguments, "hydra.sweeper.n_trials=1").returncode == 0
    folder = only_study(tmp_path)
    study = optuna.load_study(study_name=folder.name, storage=open_storage(journal_url(folder / "journal.log")))
    study.ask().set_user_attr(OWNER, {**identify_process(), "machine": "another", "process": "another"})
    beats = StudyFolder(folder).lock_file.with_suffix(".beats")
    beats.mkdir(exist_ok=True)
    (beats / "another").touch()
    done = sweeper_call(*arguments, "hydra.sweeper.n_trials=2", "hydra.sweeper.timeout=1.5")
    assert done.returncode == 0
    assert "waiting for 1 trial of other processes" in done.stdout
    assert (
        "no trial was started after 1.5 s (hydra.sweeper.timeout); 1 still running in another process\n" in done.stdout
    )


# -- the clock -----------------------------------------------------------------------------------------------------


def test_a_clock_counts_from_when_a_job_begins() -> None:
    """Not from when it is submitted; a job that never says that it begins has minutes more."""
    clock = TrialClock(limit=0.05)
    clock.submit(0)
    assert clock.seconds(0) is None
    assert START_SECONDS - 1 < clock.left([0]) <= START_SECONDS + 0.05
    clock.begin(1)
    time.sleep(0.06)
    assert (clock.is_over(0), clock.is_over(1), clock.left([0, 1])) == (False, True, 0.0)
    clock.stop(1)
    assert (clock.is_over(1), clock.left([1])) == (False, math.inf)
    assert TrialClock().left([0]) == math.inf


def test_a_clock_stands_while_the_search_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-Z and fg, the time for which nothing ran does not count."""
    monkeypatch.setattr(clock_module, "STEP_SECONDS", 0.01)
    clock = TrialClock(limit=0.1)
    clock.begin(0)
    time.sleep(0.2)
    assert not clock.is_over(0)


def test_a_killed_jobs_failure_is_its_limit() -> None:
    """Each is killed once; a result that came all the same is kept, and nothing waits for it in a hurry."""
    clock, killed = TrialClock(limit=0.01), list[int]()
    clock.kill = killed.append
    for number in range(2):
        clock.begin(number)
    time.sleep(0.02)
    clock.kill_overdue()
    clock.kill_overdue()
    assert (sorted(killed), clock.left([0, 1])) == ([0, 1], math.inf)
    assert clock.judged(JobResult(number=0, error="its worker died")) == clock.timed_out(0)
    assert clock.judged(JobResult(number=1, value=1.0)).value == 1.0
    clock.stop(0)
    assert clock.judged(JobResult(number=0, error="other")).error == "other"


def test_a_row_of_the_live_table_has_its_trials_time() -> None:
    """Where trials have a limit; at 80 columns nothing else goes for it."""
    trial = create_trial(state=TrialState.RUNNING, params={}, user_attrs={"parameters": 9876})
    for times, headings in (
        (lambda _: "0:42/5:00", ["trial", "epoch", "time", "accuracy", "parameters", "with"]),
        (lambda _: "", ["trial", "epoch", "accuracy", "parameters", "with"]),
    ):
        table = live_table([trial], 80, epochs=4, is_accuracy=True, times=times)
        assert [column.header for column in table.columns] == headings


def test_the_limits_are_shown() -> None:
    """Beside the time that has passed; an estimate ends with the limit and the trials that then run."""
    times = TimeLimits(timeout=600, trials=TrialClock(limit=90))
    assert times.sentence() == "no trial starts after 600 s, a trial is ended after 90 s"
    assert times.status(42, finished=0, left=20) == "0:42/10:00"
    assert times.status(300, finished=10, left=100) == "5:00/10:00, ~6 min left"
    assert times.of_trial(3) == ""
    times.trials.begin(3)
    assert times.of_trial(3) == "0:00/1:30"
    assert TimeLimits().sentence() == ""
    assert TimeLimits().status(42, finished=1, left=1) == "0:42, ~42 s left"

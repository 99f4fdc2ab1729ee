"""Several processes on one study: no trial twice, none lost, and a storage that is gone."""

import re
import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from .postgresql import PASSWORD
from .processes import Start
from .studies import HERE, LONG, PRUNING, TINY, Call, only_study, trials_of, wait_for


@pytest.mark.slow
def test_two_processes_share_a_study(start: Start, tmp_path: Path) -> None:
    """Two at once on one study: n_trials in all, every trial of it trained once and on the page, no point twice."""
    arguments = [*LONG[:-2], "training.epochs=5", LONG[-1], "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=8"]
    processes = [start(*arguments) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    trials = trials_of(tmp_path / "outputs" / "studies" / "long")
    assert len(trials) == 8
    assert len({tuple(trial.params.items()) for trial in trials}) == 8
    owners = {trial.user_attrs["owner"]["pid"] for trial in trials}
    assert owners <= {process.pid for process in processes}
    assert len(owners) == 2
    page = (tmp_path / "outputs" / "studies" / "long" / "report.html").read_text()
    assert len(re.findall('<tr [^>]*data-state="(?:done|pruned)"', page)) == 8


@pytest.mark.slow
def test_a_target_reached_in_one_process_ends_the_others(start: Start, tmp_path: Path) -> None:
    """Both say which trial it was; what still ran is queued again."""
    arguments = ["-m", "search=dropout_lr", *TINY, "training.epochs=20", "hydra.sweeper.study_name=shared", *HERE]
    arguments += ["hydra.sweeper.n_trials=50", "target=0.3", "hydra/sweeper/pruner=none"]
    processes = [start(*arguments) for _ in range(2)]
    ends = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for end in ends:
        assert re.search(r"trial \d+ reached the target of 30", end), end
    trials = trials_of(tmp_path / "outputs" / "studies" / "shared")
    assert sum(trial.values is not None and trial.values[0] >= 0.3 for trial in trials) <= 2
    assert not [trial for trial in trials if trial.state is TrialState.RUNNING]


@pytest.mark.slow
def test_two_processes_share_a_study_on_postgresql(start: Start, postgresql: str, tmp_path: Path) -> None:
    """On a real server: n_trials in all from two processes, none twice, hopeless ones pruned, the password nowhere."""
    arguments = [*PRUNING, "hydra.sweeper.storage=${oc.env:STUDY_URL}", "hydra.sweeper.study_name=shared"]
    processes = [start(*arguments, "hydra.sweeper.n_jobs=1", STUDY_URL=postgresql) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert PASSWORD not in out + err
    storage = optuna.storages.RDBStorage(postgresql)
    trials = optuna.load_study(study_name="shared", storage=storage).trials
    storage.engine.dispose()
    assert len(trials) == 6
    assert len({tuple(trial.params.items()) for trial in trials}) == 6
    assert [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert len({trial.user_attrs["owner"]["pid"] for trial in trials}) == 2
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_stopped_process_is_given_up_and_told_so(start: Start, tmp_path: Path) -> None:
    """After the grace time another process tries its point again; continued, it says that it came too late, in one line."""
    arguments = [*LONG, *HERE, "hydra.sweeper.n_trials=2", "hydra.sweeper.grace_seconds=2"]
    stopped = start(*arguments)
    journal = tmp_path / "outputs" / "studies" / "long" / "journal.log"
    wait_for(lambda: journal.exists() and any(trial.intermediate_values for trial in trials_of(journal.parent)))
    stopped.send_signal(signal.SIGSTOP)
    out, err = start(*arguments).communicate(timeout=300)
    assert "trial 0 lost its process: queued again" in out, err
    assert "2 of 2 trials" in out
    stopped.send_signal(signal.SIGCONT)
    out, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 0, err
    assert err == ""
    assert out.count("trial 0 came too late: its point is tried again as another trial") == 1
    assert "2 of 2 trials" in out
    assert len([trial for trial in trials_of(journal.parent) if trial.state is TrialState.COMPLETE]) == 2


def test_a_lost_journal_is_not_passed_over(sweeper_call: Call, tmp_path: Path) -> None:
    """Trials' folders that the storage does not know of are refused, not mixed with new ones."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    (only_study(tmp_path) / "journal.log").unlink()
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert "holds trials that the storage does not know" in done.stderr
    assert done.stderr.count("\n") == 1

"""Sweeps over lists of values: which jobs run, are repeated or rejected."""

from pathlib import Path

import optuna
import yaml
from optuna.trial import TrialState

from .studies import (
    HERE,
    TINY,
    Call,
    close,
    only_study,
    trials_of,
)


def test_a_list_of_two_runs_two_jobs_and_none_when_repeated(sweeper_call: Call, tmp_path: Path) -> None:
    """-m model.dropout=0.05,0.1: exactly two trials with all a run leaves, in a study; the second time, none."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    done = sweeper_call(*arguments)
    assert done.returncode == 0, done.stderr
    folder = only_study(tmp_path)
    assert folder.name.startswith("dropout-")
    assert [trial.params for trial in trials_of(folder)] == [{"model.dropout": 0.05}, {"model.dropout": 0.1}]
    for number, dropout in ((0, 0.05), (1, 0.1)):
        saved = yaml.safe_load((folder / str(number) / ".hydra" / "config.yaml").read_text())
        assert saved["model"]["dropout"] == dropout
        assert (folder / str(number) / "result.json").exists()
        assert yaml.safe_load((folder / str(number) / ".hydra" / "overrides.yaml").read_text()) == [
            *TINY,
            f"model.dropout={dropout}",
        ]
    written = {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")}
    again = sweeper_call(*arguments)
    assert again.returncode == 0
    assert "2 of them done before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/result.json")} == written
    assert len(trials_of(folder)) == 2


def test_a_grid_goes_over_options_lists_and_globs(sweeper_call: Call, tmp_path: Path) -> None:
    """Whole lists, null, booleans and a glob over a group run as many jobs as there are combinations."""
    values = ["model.groups.block1.channels=[4,6],[5]", "model.groups.block1.bias=true,null", "scheduler=glob(*e*)"]
    done = sweeper_call("-m", *TINY, *HERE, *values, "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 2 * 2 * 2
    assert "#0 : " in done.stdout
    assert "scheduler=onecycle" in done.stdout
    assert not (tmp_path / "outputs" / "studies").exists()
    assert sweeper_call("-m", *TINY, *HERE, *values[:2]).returncode == 0
    assert len(trials_of(only_study(tmp_path))) == 4


def test_a_point_that_resolves_to_a_finished_config_is_not_trained_again(sweeper_call: Call, tmp_path: Path) -> None:
    """Two lists that differ only in a channel that is then set are one config: the second gets the first's value."""
    values = ["model.groups.block1.channels=[8,12],[9,12]", "model.groups.block1.channels.0=6,7"]
    done = sweeper_call("-m", *TINY, *HERE, *values)
    assert done.returncode == 0, done.stderr
    folder = only_study(tmp_path)
    trials = trials_of(folder)
    assert len(trials) == 4
    assert [trial.value for trial in trials[2:]] == [trial.value for trial in trials[:2]]
    assert [trial.user_attrs.get("duplicate_of") for trial in trials] == [None, None, 0, 1]
    assert not (folder / "2").exists()
    assert "trial 3 repeats trial 1" in done.stdout


def test_a_point_over_budget_is_rejected_and_the_others_run(sweeper_call: Call, tmp_path: Path) -> None:
    """Of two widths one is over budget: one job runs, the other is rejected with its reason, and the end says so."""
    done = sweeper_call("-m", *TINY, *HERE, "model.groups.block1.channels=[8,16],[100,100]")
    assert done.returncode == 0
    assert "1 rejected: over budget" in done.stdout
    trained, rejected = trials_of(only_study(tmp_path))
    assert trained.state is TrialState.COMPLETE
    assert rejected.state is TrialState.PRUNED
    assert rejected.user_attrs["rejected"].startswith("model has 110,574 parameters, the budget is 9,999")
    assert rejected.constraints["parameters"] > 0
    assert not (only_study(tmp_path) / "1").exists()


def test_every_point_of_a_grid_is_tried(sweeper_call: Call, tmp_path: Path) -> None:
    """More than a hundred infeasible points in a row do not end a grid: the feasible one behind them is trained."""
    rates = ",".join([*(str(-value) for value in range(1, 103)), "0.1"])
    done = sweeper_call("-m", *TINY, *HERE, f"optimizer.lr={rates}")
    assert done.returncode == 0, done.stderr
    trials = trials_of(only_study(tmp_path))
    assert [trial.number for trial in trials if trial.state is TrialState.COMPLETE] == [102]
    assert len([trial for trial in trials if "rejected" in trial.user_attrs]) == 102


def test_jobs_find_a_relative_sqlite_file_from_other_folders(sweeper_call: Call, tmp_path: Path) -> None:
    """With hydra.job.chdir=true each job runs in its own folder; the study is still the one file that was named."""
    options = ["hydra.job.chdir=true", "hydra.sweeper.storage=sqlite:///s.db", "hydra.sweeper.study_name=s"]
    done = sweeper_call("-m", *TINY, *HERE, *options, "seed=1,2")
    assert done.returncode == 0, done.stderr
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 's.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    close(study)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("s.db")] == [Path("s.db")]

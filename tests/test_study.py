"""Searches: where they start and end, what a dry run says, every sampler, pruner and executor; real runs in real storages."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from sweeper.search import dry_run

from .processes import Sweeper, environment
from .studies import (
    HERE,
    PRUNING,
    TINY,
    Call,
    only_study,
    trials_of,
)


def test_a_search_starts_at_the_composed_config_and_keeps_its_total(sweeper_call: Call, tmp_path: Path) -> None:
    """The first trial is the config as composed; n_trials counts no rejected proposal; best/ is the best trial's."""
    arguments = ["-m", "search=card", *TINY, *HERE, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1"]
    done = sweeper_call(*arguments)
    assert done.returncode == 0, done.stderr
    folder = only_study(tmp_path)
    assert folder.name.startswith("card-")
    trials = trials_of(folder)
    first = {key: value for key, value in trials[0].params.items() if "channels" in key}
    assert list(first.values()) == [8, 12, 16, 16, 16]
    assert trials[0].params["optimizer.lr"] == 0.2
    rejected = [trial for trial in trials if "rejected" in trial.user_attrs]
    assert len(trials) - len(rejected) == 4
    completed = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = max(completed, key=lambda trial: (trial.value or 0, -trial.user_attrs["parameters"]))
    assert json.loads((folder / "best" / "result.json").read_text())["value"] == best.value
    assert yaml.safe_load((folder / "best.yaml").read_text())["optimizer"]["lr"] == best.params["optimizer.lr"]
    more = sweeper_call(*arguments[:-2], "hydra.sweeper.n_trials=5", "hydra.sweeper.sampler.seed=1")
    assert more.returncode == 0
    later = trials_of(folder)
    assert len([trial for trial in later if "rejected" not in trial.user_attrs]) == 5
    assert len({tuple(trial.params.items()) for trial in later}) == len(later)


def test_a_deleted_study_starts_anew_in_the_same_process(sweeper_call: Call, tmp_path: Path) -> None:
    """Jobs in this process report to the study of that name that exists now, not to the deleted one."""
    for _ in range(2):
        done = sweeper_call("-m", "seed=1,2", *TINY, *HERE, "hydra.sweeper.study_name=twice")
        assert done.returncode == 0, done.stderr
        folder = only_study(tmp_path)
        assert [trial.intermediate_values for trial in trials_of(folder)] == [
            {1: trial.value} for trial in trials_of(folder)
        ]
        shutil.rmtree(folder)


def test_a_search_ends_at_its_target(sweeper_call: Call, tmp_path: Path) -> None:
    """The first completed trial that reaches the experiment's target ends a search; stop_at_target=false goes on."""
    low = ["target=0.01", "search=dropout_lr", "hydra.sweeper.n_trials=3"]
    done = sweeper_call("-m", *TINY, *HERE, *low)
    assert "Target met" in done.stdout
    assert len(trials_of(only_study(tmp_path))) == 1
    sweeper_call("-m", *TINY, *HERE, *low, "hydra.sweeper.stop_at_target=false")
    assert len(trials_of(only_study(tmp_path))) == 3


def test_nothing_feasible_is_an_error_before_a_study_is_made(sweeper_call: Call, tmp_path: Path) -> None:
    """A space without a point under the budget ends at once in one line with the smallest network, and leaves no study."""
    done = sweeper_call("-m", *TINY, "search=widths", "budget.parameters=20", "hydra.sweeper.n_jobs=2")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"sweeper: a search needs a point within its budget, but the smallest of 200 random points has [\d,]+ parameters: "
        r"raise budget.parameters, or search narrower widths\n",
        done.stderr,
    )
    assert not (tmp_path / "outputs").exists()


def test_dry_run_of_a_search_describes_it(sweeper_call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dry_run prints the space, the feasible share, the range of parameters and the time, and writes nothing."""
    monkeypatch.setattr(dry_run, "SAMPLES", 100)  # a thousand points take two seconds
    done = sweeper_call("-m", "search=card", "model=notebook", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    for word in ("optimizer.lr : 0.003 to 0.5, logarithmic", "feasible : ", "parameters : ", "time : about"):
        assert word in done.stdout
    assert "the others are repaired" in done.stdout
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("*.log"))


def test_a_dry_run_counts_what_a_trial_takes_beside_its_epochs(sweeper_call: Call) -> None:
    """Forty trials of one short epoch take most of a minute; with two objectives nothing is repaired."""
    done = sweeper_call("-m", *TINY, *HERE, "search=pareto", "hydra.sweeper.dry_run=true")
    assert "points, the others are rejected" in done.stdout
    (seconds,) = re.findall(r"time : about (\d+) s for 40 trials, 1 at a time on idle cores", done.stdout)
    assert 20 <= int(seconds) <= 90


@pytest.mark.parametrize(
    "sampler",
    ["tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("random", "gp", "nsgaii", "cmaes", "qmc"))],
)
def test_every_sampler_searches(sweeper_call: Call, tmp_path: Path, sampler: str) -> None:
    """Each sampler proposes, with its own dependencies installed."""
    options = ["search=dropout_lr", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=3"]
    done = sweeper_call("-m", *TINY, *HERE, *options)
    assert done.returncode == 0, done.stderr
    assert len(trials_of(only_study(tmp_path))) == 3


@pytest.mark.parametrize(
    "pruner",
    [
        "median",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("none", "patient", "percentile", "hyperband")),
    ],
)
def test_every_pruner_is_accepted(sweeper_call: Call, tmp_path: Path, pruner: str) -> None:
    """Each pruner's config makes a pruner, and reports reach the trials."""
    options = ["search=dropout_lr", f"hydra/sweeper/pruner={pruner}", "hydra.sweeper.n_trials=2", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *options)
    assert done.returncode == 0, done.stderr
    assert list(trials_of(only_study(tmp_path))[0].intermediate_values) == [1, 2, 3]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(["hydra.sweeper.n_jobs=1"], id="in process", marks=pytest.mark.slow),
        pytest.param(["hydra.sweeper.n_jobs=2"], id="workers", marks=pytest.mark.slow),
        pytest.param(["hydra.sweeper.storage=sqlite:///s.db"], id="sqlite", marks=pytest.mark.slow),
        pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], id="joblib", marks=pytest.mark.slow),
        pytest.param(["hydra/launcher=submitit_local"], id="submitit", marks=pytest.mark.slow),
    ],
)
def test_hopeless_trials_are_pruned_quietly(sweeper_process: Sweeper, tmp_path: Path, how: list[str]) -> None:
    """Learning rates close to zero are stopped early and told PRUNED, without a traceback, on every executor."""
    done = sweeper_process(*PRUNING, *how)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    folder = only_study(tmp_path)
    if "sqlite" in how[-1]:
        trials = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{tmp_path / 's.db'}").trials
    else:
        trials = trials_of(folder)
    assert len(trials) == 6
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        epochs = (folder / str(trial.number) / "metrics.jsonl").read_text().splitlines()
        assert len(epochs) == max(trial.intermediate_values) < 4
        assert not (folder / str(trial.number) / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sweeper", ["basic", "optuna"])
def test_other_sweepers_still_work(sweeper_process: Sweeper, tmp_path: Path, sweeper: str) -> None:
    """hydra/sweeper=basic and hydra-optuna-sweeper run the same application: the task returns a float."""
    done = sweeper_process("-m", f"hydra/sweeper={sweeper}", *TINY, "model.dropout=0.05,0.1", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("sweep/*/result.json"))) >= 2


def test_the_coordinator_imports_no_torch(tmp_path: Path) -> None:
    """The parent of a search checks budgets, runs workers and writes the page without torch: only its workers import it."""
    arguments = ["sweeper", "-m", *TINY, "hydra.sweeper.n_jobs=2", "model.groups.block1.channels=[8,12],[100,100]"]
    script = f"""
import sys
from sweeper.cli.main import main
sys.argv = {arguments}
status = main()
print(sorted({{"torch", "numba"}} & set(sys.modules)))
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(list(only_study(tmp_path).glob("*/result.json"))) == 2  # of the trial within the budget, and best/
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_a_card_search_on_real_mnist_finds_a_better_network(
    mnist_root: Path, sweeper_process: Sweeper, tmp_path: Path
) -> None:
    """search=card from the notebook's network, two trials of one epoch: the repaired network is half a point better."""
    done = sweeper_process(
        *("-m", "search=card", "model=notebook", "training.epochs=1", "hydra.sweeper.n_trials=2"),
        SWEEPER_DATA=str(mnist_root),
    )
    assert done.returncode == 0, done.stderr
    trials = trials_of(only_study(tmp_path))
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert (trials[1].value or 0) > (trials[0].value or 1) + 0.005
    assert all(trial.user_attrs["parameters"] < 10_000 for trial in complete)

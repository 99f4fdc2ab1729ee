"""Sweeps: grids, searches, failures and refusals; real runs in real storages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from sweeper.errors import StudyError
from sweeper.study.storage import journal_url, open_storage, redacted

from .conftest import Sweeper, environment
from .studies import (
    HERE,
    PRUNING,
    TINY,
    Call,
    close,
    only_study,
    trials_of,
)

# -- grids ---------------------------------------------------------------------------------------------------------


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


# -- searches ------------------------------------------------------------------------------------------------------


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
    more = sweeper_call(*arguments[:-2], "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1")
    assert more.returncode == 0
    later = trials_of(folder)
    assert len([trial for trial in later if "rejected" not in trial.user_attrs]) == 6
    assert len({tuple(trial.params.items()) for trial in later}) == len(later)


def test_a_search_ends_at_its_target(sweeper_call: Call, tmp_path: Path) -> None:
    """The first completed trial that reaches the experiment's target ends a search; stop_at_target=false goes on."""
    low = ["target=0.01", "search=dropout_lr", "hydra.sweeper.n_trials=3"]
    done = sweeper_call("-m", *TINY, *HERE, *low)
    assert "Target met" in done.stdout
    assert len(trials_of(only_study(tmp_path))) == 1
    sweeper_call("-m", *TINY, *HERE, *low, "hydra.sweeper.stop_at_target=false")
    assert len(trials_of(only_study(tmp_path))) == 3


def test_nothing_feasible_is_an_error_with_the_smallest_count(sweeper_call: Call, tmp_path: Path) -> None:
    """A space without a point under the budget ends in one line with the number of proposals and the smallest of them."""
    done = sweeper_call("-m", *TINY, *HERE, "search=widths", "budget.parameters=20", "hydra.sweeper.n_trials=2")
    assert done.returncode == 1
    rejected = [trial for trial in trials_of(only_study(tmp_path)) if "rejected" in trial.user_attrs]
    fewest = min(trial.user_attrs["parameters"] for trial in rejected)
    assert f"but all {len(rejected)} were rejected, the smallest with {fewest:,} parameters" in done.stderr
    assert done.stderr.count("\n") == 1


def test_dry_run_of_a_search_describes_it(sweeper_call: Call, tmp_path: Path) -> None:
    """dry_run prints the space, the feasible share, the range of parameters and the time, and writes nothing."""
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
    arguments = ["sweeper", "-m", *TINY, "hydra.sweeper.n_jobs=2", "seed=1,2"]
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
    assert len(list(only_study(tmp_path).glob("*/result.json"))) == 3  # both trials, and best/
    assert done.stdout.splitlines()[-1] == "[]"


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_failing_trial_costs_itself(sweeper_call: Call, tmp_path: Path) -> None:
    """A diverging learning rate fails with its reason and leaves the rest of the grid alone.

    It is not tried again: the same config would diverge to the same bits.
    """
    values = ["optimizer.lr=0.1,1e30", "scheduler=constant", "augment=none", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *values)
    assert done.returncode == 0, done.stderr
    states = [(trial.params["optimizer.lr"], trial.state) for trial in trials_of(only_study(tmp_path))]
    assert sorted(states, key=str) == [(0.1, TrialState.COMPLETE), (1e30, TrialState.FAIL)]
    assert all(
        "training loss must stay finite" in trial.user_attrs["failed"]
        for trial in trials_of(only_study(tmp_path))
        if trial.state is TrialState.FAIL
    )


def test_an_edited_search_is_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """A search.yaml that differs from this command is refused with the difference, even if its hash was not edited."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    search = only_study(tmp_path) / "search.yaml"
    search.write_text(search.read_text().replace("seed: 1", "seed: 2"))
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert "holds another search: seed is 2 there and 1 here" in done.stderr


def test_a_search_without_feasible_points_offers_no_command_to_go_on(sweeper_call: Call) -> None:
    """However many workers reject, a hundred rejections in a row end it, and no command is offered to go on."""
    options = ["search=widths", "budget.parameters=20", "hydra.sweeper.n_jobs=2"]
    done = sweeper_call("-m", *TINY, *options)
    assert done.returncode == 1
    assert "100 proposals in a row were rejected" in done.stdout
    assert "go on:" not in done.stdout


def test_too_many_failures_end_the_study(sweeper_call: Call) -> None:
    """More failures than max_failure_rate allows of n_trials: one line, exit 1."""
    values = ["optimizer.lr=1e30,1e31,1e32", "scheduler=constant", "augment=none", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *values, "hydra.sweeper.max_failure_rate=0.1", "hydra.sweeper.max_retry=0")
    assert done.returncode == 1
    assert "at most 10 % of 3 trials may fail (hydra.sweeper.max_failure_rate), but 1 did" in done.stderr


BAD = {
    "hydra/sweeper/sampler=grid": "for a grid list the values, as in model.dropout=0.05,0.1",
    "search=crd": "search has no option 'crd' (did you mean card?): it has architecture, card, dropout_lr, pareto, smallest, widths",
    "seed=3": "-m needs something to sweep: list values as in model.dropout=0.05,0.1, or choose a preset with search=NAME",
    "model.droput=0.1,0.2": "the config has no key 'model.droput' (did you mean model.dropout",
    "hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials must be at least 1, but got 0",
    "hydra.sweeper.n_trials=abc": "hydra.sweeper.n_trials: Value 'abc' of type 'str' could not be converted to Integer",
    "hydra.sweeper.dry_run=maybe": "hydra.sweeper.dry_run: Value 'maybe'",
    "hydra.sweeper.study_name=..": "hydra.sweeper.study_name must be letters, digits and . _ + - or spaces",
    "hydra.sweeper.study_name=a/b": "since it names a folder, but got 'a/b'",
    "model.dropout=0.3,0.4": "model.dropout must be swept once, but is swept twice: put all its values into one list",
    "model=compact,nope": "model has no option 'nope'",
    "model.groups.block1.channels.0=interval(4.5,8)": "takes whole numbers, but got an interval from 4.5 to 8.0",
    "hydra.sweeper.sampler.seed=abc": "hydra.sweeper.sampler.seed must be a whole number or null, but got abc",
    "+hydra.sweeper.sampler.nope=3": "unexpected keyword argument 'nope'",
    "hydra.sweeper.sampler._target_=os.system": "a config that os.system accepts, but it is not: Target 'os.system'",
    "+hydra.sweeper.pruner.nope=3": "hydra.sweeper.pruner must be a config that optuna.pruners.NopPruner accepts",
    "+hydra.sweeper.foo=1": "hydra.sweeper.foo: Key 'foo' not in 'StudyOptions'",
    "hydra.sweeper.n_jobs=0": "hydra.sweeper.n_jobs must be at least 1, but got 0",
    "hydra.sweeper.direction=up": "hydra.sweeper.direction: Invalid value 'up', expected one of ['maximize', 'minimize']",
    "hydra.sweeper.max_failure_rate=2": "hydra.sweeper.max_failure_rate must be in [0, 1], but got 2",
    "hydra.sweeper.storage=sqlite:////proc/no.db": "hydra.sweeper.storage must be the URL of a storage, but",
    "hydra.sweeper.storage=nosql://x": "hydra.sweeper.storage must be the URL of a storage, but nosql://x",
    "hydra/sweeper/sampler=tpy": "hydra/sweeper/sampler has no option 'tpy' (did you mean tpe?)",
}


@pytest.mark.parametrize("override", BAD)
def test_bad_studies_are_one_line(sweeper_call: Call, override: str, tmp_path: Path) -> None:
    """What cannot be a study is answered by one line with the rule, the value and the fix, exit 1, no traceback."""
    swept = [] if override in {"seed=3", "search=crd"} else ["model.dropout=0.05,0.1"]
    done = sweeper_call("-m", *TINY, *HERE, *swept, override)
    assert done.returncode == 1
    assert BAD[override] in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_another_search_under_the_same_name_is_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """Another space, other fixed overrides or other values in the base config: refused, saying what differs."""
    base = ["-m", *TINY, *HERE, "hydra.sweeper.study_name=mine"]
    assert sweeper_call(*base, "model.dropout=0.05,0.1").returncode == 0
    for changed, says in (
        (["model.dropout=0.05,0.2"], "model.dropout is searched differently"),
        (["model.dropout=0.05,0.1", "seed=9"], "seed is 1 there and 9 here"),
    ):
        done = sweeper_call(*base, *changed)
        assert done.returncode == 1
        assert "study mine holds another search" in done.stderr
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert len(trials_of(tmp_path / "outputs" / "studies" / "mine")) == 2


def test_a_torn_journal_is_cut_and_a_damaged_one_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """An incomplete last line is cut off; damage in the middle is refused with the file's name and the line."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    journal = only_study(tmp_path) / "journal.log"
    complete = journal.read_bytes()
    journal.write_bytes(complete + b'{"op_code": 5, "wor')
    assert sweeper_call(*arguments).returncode == 0
    assert journal.read_bytes().startswith(complete)
    assert b'"wor{' not in journal.read_bytes()
    lines = complete.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"damaged\n", *lines[3:]]))
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert f"{journal} must hold one JSON record a line, but line 3 is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


@given(st.binary(max_size=40).filter(lambda tail: b"\n" not in tail))
@settings(max_examples=30)
def test_cutting_a_torn_line_loses_no_complete_line(tail: bytes) -> None:
    """Whatever stands after the last newline is cut off, and nothing before it."""
    import tempfile  # noqa: PLC0415 - Hypothesis and tmp_path do not go together

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.log"
        study = optuna.create_study(storage=open_storage(journal_url(path)), study_name="s")
        study.enqueue_trial({"x": 1})
        complete = path.read_bytes()
        path.write_bytes(complete + tail)
        assert len(optuna.load_study(storage=open_storage(journal_url(path)), study_name="s").trials) == 1
        assert path.read_bytes() == complete


def test_a_password_is_not_shown() -> None:
    """An error names a storage without its password."""
    assert redacted("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    with pytest.raises(StudyError) as caught:
        open_storage("postgresql+nodriver://me:secret@host/db")
    assert "secret" not in str(caught.value)


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

"""Studies: what people type, what Optuna is told, and what is left after kill -9; real processes, real storages."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.composition import compose
from sweeper.design import draw, draw_within_budget
from sweeper.errors import ConfigError, StudyError
from sweeper.schema import BudgetConf, ExperimentConf
from sweeper.study.advice import advised
from sweeper.study.judge import Judge, fingerprint, value_at
from sweeper.study.space import Params, Space, parse, width_distributions
from sweeper.study.storage import journal_url, open_storage, redacted

from .conftest import Completed, Sweeper, command, environment

Call = Callable[..., Completed]
# A hundred training images, so that an epoch takes a tenth of a second; one process, which pytest has already.
TINY = ["data=mnist5k", "model=compact", "training.epochs=1", "data.validation_size=3900", "training.batch_size=50"]
HERE = ["hydra.sweeper.n_jobs=1"]


def _folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "outputs" / "studies").iterdir()
    return folder


def _trials(folder: Path) -> list[FrozenTrial]:
    storage = open_storage(journal_url(folder / "journal.log"))
    return optuna.load_study(study_name=folder.name, storage=storage).trials


def _parse(*arguments: str, params: dict[str, Any] | None = None) -> Space:
    return parse(arguments, params or {}, OverridesParser.create())


# -- what is swept -------------------------------------------------------------------------------------------------


def test_listed_values_are_a_grid_in_hydras_order() -> None:
    """Lists, ranges, booleans, null, quoted strings and whole lists are expanded as Hydra's basic sweeper does."""
    space = _parse("a=1,2", "b=range(0,3)", "c=true,null", "d='x y',z", "e=[8,16],[10,20]", "f=5", "~g")
    assert space.fixed == ("f=5", "~g")
    assert space.grid is not None
    assert len(space.grid) == 2 * 3 * 2 * 2 * 2
    assert [point["a"] for point in space.grid[:24]] == [1] * 24
    assert list(space.grid[0].values()) == [1, 0, True, "'x y'", "[8,16]"]
    assert space.grid[-1]["c"] == "null"


def test_intervals_and_presets_are_a_search() -> None:
    """interval, tag(log, interval) and preset params become Optuna's distributions, and no grid."""
    space = _parse("a=interval(0,1.5)", "b=tag(log,int(interval(1,64)))", "c=x,y", params={"d": "range(2,9,2)"})
    assert space.grid is None
    assert space.distributions["a"] == FloatDistribution(0, 1.5)
    assert space.distributions["b"] == IntDistribution(1, 64, log=True)
    assert space.distributions["c"] == CategoricalDistribution(["x", "y"])
    assert space.distributions["d"] == IntDistribution(2, 8, step=2)


def test_what_is_typed_wins_over_the_preset() -> None:
    """A fixed value on the command line takes its key out of the preset's search; a typed range replaces it."""
    params = {"a": "interval(0,1)", "b": "interval(0,1)"}
    space = _parse("a=0.5", "b=interval(0,9)", params=params)
    assert list(space.distributions) == ["b"]
    assert space.distributions["b"] == FloatDistribution(0, 9)
    assert space.fixed == ("a=0.5",)


@pytest.mark.parametrize("model", ["compact", "deep", "gap", "notebook", "quick"])
def test_widths_are_found_from_the_plan(model: str) -> None:
    """Every convolution of the chosen model has one width to search, and its own width is among the values."""
    plan = draw(compose([f"model={model}"])).plan
    widths = width_distributions(plan)
    convs = [layer for layer in plan.layers if hasattr(layer, "out_channels")]
    assert len(widths) == len(convs)
    for (key, distribution), layer in zip(widths.items(), convs, strict=True):
        assert isinstance(distribution, IntDistribution)
        assert distribution.low <= layer.out_channels <= distribution.high
        compose([f"model={model}", f"{key}={distribution.low}"])


def test_an_interval_of_a_whole_number_is_searched_in_whole_numbers(sweeper_call: Call, tmp_path: Path) -> None:
    """channels.0=interval(4,9) proposes integers, as anyone who types it expects; a learning rate stays a fraction."""
    swept = ["model.groups.block1.channels.0=interval(4,9)", "optimizer.lr=tag(log,interval(0.01,1))"]
    done = sweeper_call("-m", *TINY, *HERE, *swept, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    for trial in _trials(_folder(tmp_path)):
        assert isinstance(trial.params["model.groups.block1.channels.0"], int)
        assert isinstance(trial.distributions["optimizer.lr"], FloatDistribution)


# -- judging -------------------------------------------------------------------------------------------------------


def _judge(*keys: str) -> Judge:
    """A judge of the compact model with these keys searched."""
    searched = {key: FloatDistribution(0, 1) for key in keys}
    return Judge(Space(distributions=dict(searched), template=("model=compact", *keys), grid=None), compose)


@settings(max_examples=15)
@given(
    st.floats(-0.2, 1.2),
    st.integers(-2, 40),
    st.floats(1e-4, 2),
    st.one_of(st.none(), st.floats(0, 0.9)),
)
def test_the_short_way_to_a_config_is_hydras(dropout: float, width: int, lr: float, group: float | None) -> None:
    """A proposal set on the typed config is the config that Hydra composes, or both refuse it."""
    params: dict[str, Any] = {
        "model.dropout": dropout,
        "model.groups.block1.channels.0": width,
        "optimizer.lr": lr,
        "model.groups.block2.dropout": group,
    }
    overrides = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
    short: object
    long: object
    try:
        long = compose(["model=compact", *overrides])
    except ConfigError as error:
        long = str(error)
    try:
        short = _judge(*params).configure(params)
    except ConfigError as error:
        short = str(error)
    if isinstance(long, str):
        assert isinstance(short, str)
    else:
        assert short == long


def _advised(model: str, budget: str = "10k") -> tuple[ExperimentConf, Params | None, Judge]:
    """What is advised where dropout and every width of a model are searched."""
    fixed = (f"model={model}", f"budget={budget}")
    base = compose(fixed)
    distributions = {"model.dropout": FloatDistribution(0, 0.3), **width_distributions(draw(base).plan)}
    space = Space(distributions=distributions, template=(*fixed, *distributions), grid=None)
    judge = Judge(space, compose)
    start = {key: value_at(base, key) for key in space.keys}
    return base, advised(base, start, space, judge), judge


def test_what_the_diagnosis_names_is_mended_within_the_budget() -> None:
    """Of the reference: its bottlenecks wide, no dropout, the other widths narrowed alike, and nothing left to blame."""
    base, point, judge = _advised("notebook")
    assert point is not None
    conf = judge.configure(point)
    assert [conf.model.groups[name].channels for name in ("transition1", "transition2")] == [[12], [12]]
    assert conf.model.dropout == 0
    assert draw_within_budget(conf).anatomy.parameters > 0.9 * 9_999
    assert {finding.rule for finding in draw(base).findings} == {"erased_signal", "bottleneck"}
    assert not draw(conf).findings
    pairs = zip(conf.model.groups["block1"].channels, base.model.groups["block1"].channels, strict=True)
    assert all(now < before for now, before in pairs)


def test_a_start_over_budget_is_advised_narrower() -> None:
    """A budget that the composed network breaks: the advice fits it, its widened layers narrowed too where they must be."""
    for model in ("quick", "notebook"):
        base, _, judge = _advised(model)
        small = replace(base, budget=BudgetConf(parameters=4000, macs=None))
        tight = Judge(judge._space, lambda overrides: replace(compose(overrides), budget=small.budget))  # noqa: B023
        start = {key: value_at(base, key) for key in judge._space.keys}
        point = advised(small, start, judge._space, tight)
        assert point is not None
        assert draw_within_budget(tight.configure(point)).anatomy.parameters > 0.8 * 4000


def test_nothing_to_mend_is_no_advice() -> None:
    """The default network has neither bottleneck nor dropout; and a budget may leave the advice no room."""
    assert _advised("quick")[1] is None
    base, _, judge = _advised("notebook")
    tight = replace(base, budget=BudgetConf(parameters=600, macs=None))
    cramped = Judge(judge._space, lambda overrides: replace(compose(overrides), budget=tight.budget))
    start = {key: value_at(base, key) for key in judge._space.keys}
    assert advised(tight, start, judge._space, cramped) is None


def test_a_proposal_over_budget_is_judged_by_its_margin() -> None:
    """The margin is the share by which the count passes the budget: positive over it, negative within."""
    judge = _judge("model.groups.block2.channels.1")
    over = judge.judge({"model.groups.block2.channels.1": 200})
    within = judge.judge({"model.groups.block2.channels.1": 8})
    assert over.rule == "over budget"
    assert over.design is not None
    assert over.margins["parameters"] == pytest.approx(over.design.anatomy.parameters / 9999 - 1)
    assert over.margins["parameters"] > 0 > within.margins["parameters"]
    assert within.reason is None
    unbuildable = _judge("model.groups.block2.kernel_size").judge({"model.groups.block2.kernel_size": 13})
    assert unbuildable.rule == "cannot be built"
    assert unbuildable.margins == {"buildable": 1.0}


def test_a_fingerprint_is_of_what_is_trained() -> None:
    """Two ways to write one config have one fingerprint; the target is no part of it, the seed is."""
    base = fingerprint(compose(["model=compact"]))
    assert fingerprint(compose(["model=compact", "target=0.5", "model.groups.block1.channels=[8,12]"])) == base
    assert fingerprint(compose(["model=compact", "seed=2"])) != base


# -- grids ---------------------------------------------------------------------------------------------------------


def test_a_list_of_two_runs_two_jobs_and_none_when_repeated(sweeper_call: Call, tmp_path: Path) -> None:
    """-m model.dropout=0.05,0.1: exactly two trials with all a run leaves, in a study; the second time, none."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    done = sweeper_call(*arguments)
    assert done.returncode == 0, done.stderr
    folder = _folder(tmp_path)
    assert folder.name.startswith("dropout-")
    assert [trial.params for trial in _trials(folder)] == [{"model.dropout": 0.05}, {"model.dropout": 0.1}]
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
    assert len(_trials(folder)) == 2


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
    assert len(_trials(_folder(tmp_path))) == 4


def test_a_point_that_resolves_to_a_finished_config_is_not_trained_again(sweeper_call: Call, tmp_path: Path) -> None:
    """Two lists that differ only in a channel that is then set are one config: the second gets the first's value."""
    values = ["model.groups.block1.channels=[8,12],[9,12]", "model.groups.block1.channels.0=6,7"]
    done = sweeper_call("-m", *TINY, *HERE, *values)
    assert done.returncode == 0, done.stderr
    folder = _folder(tmp_path)
    trials = _trials(folder)
    assert len(trials) == 4
    assert [trial.value for trial in trials[2:]] == [trial.value for trial in trials[:2]]
    assert [trial.user_attrs.get("duplicate_of") for trial in trials] == [None, None, 0, 1]
    assert not (folder / "2").exists()
    assert "trial 3 repeats trial 1" in done.stdout


def test_a_point_over_budget_is_told_and_the_others_run(sweeper_call: Call, tmp_path: Path) -> None:
    """Of two widths one is over budget: one job runs, the other is rejected with its reason, and the end says so."""
    done = sweeper_call("-m", *TINY, *HERE, "model.groups.block1.channels=[8,16],[100,100]")
    assert done.returncode == 0
    assert "1 rejected: over budget" in done.stdout
    trained, rejected = _trials(_folder(tmp_path))
    assert trained.state is TrialState.COMPLETE
    assert rejected.state is TrialState.PRUNED
    assert rejected.user_attrs["rejected"].startswith("model has 110,574 parameters, the budget is 9,999")
    assert rejected.constraints["parameters"] > 0
    assert not (_folder(tmp_path) / "1").exists()


# -- searches ------------------------------------------------------------------------------------------------------


def test_a_search_begins_at_the_composed_point_and_keeps_its_total(sweeper_call: Call, tmp_path: Path) -> None:
    """The first trial is the config as composed; n_trials counts no rejected proposal; best/ is the best trial's."""
    arguments = ["-m", "search=card", *TINY, *HERE, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1"]
    done = sweeper_call(*arguments)
    assert done.returncode == 0, done.stderr
    folder = _folder(tmp_path)
    assert folder.name.startswith("card-")
    trials = _trials(folder)
    first = {key: value for key, value in trials[0].params.items() if "channels" in key}
    assert list(first.values()) == [8, 12, 16, 16, 16]
    assert trials[0].params["optimizer.lr"] == 0.2
    rejected = [trial for trial in trials if "rejected" in trial.user_attrs]
    assert len(trials) - len(rejected) == 4
    best = max((t for t in trials if t.state is TrialState.COMPLETE), key=lambda trial: trial.value or 0)
    assert json.loads((folder / "best" / "result.json").read_text())["value"] == best.value
    assert yaml.safe_load((folder / "best.yaml").read_text())["optimizer"]["lr"] == best.params["optimizer.lr"]
    more = sweeper_call(*arguments[:-2], "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1")
    assert more.returncode == 0
    later = _trials(folder)
    assert len([trial for trial in later if "rejected" not in trial.user_attrs]) == 6
    assert len({tuple(trial.params.items()) for trial in later}) == len(later)


def test_a_search_ends_at_its_target(sweeper_call: Call, tmp_path: Path) -> None:
    """The first whole trial that reaches the experiment's target ends a search; stop_at_target=false goes on."""
    low = ["target=0.01", "search=dropout_lr", "hydra.sweeper.n_trials=3"]
    done = sweeper_call("-m", *TINY, *HERE, *low)
    assert "trial 0 reached the target of 1.00%" in done.stdout
    assert len(_trials(_folder(tmp_path))) == 1
    sweeper_call("-m", *TINY, *HERE, *low, "hydra.sweeper.stop_at_target=false")
    assert len(_trials(_folder(tmp_path))) == 3


def test_nothing_feasible_is_an_error_with_the_smallest_count(sweeper_call: Call) -> None:
    """A space without a point under the budget ends in one line that gives the smallest count seen."""
    done = sweeper_call("-m", *TINY, *HERE, "search=widths", "budget.parameters=20", "hydra.sweeper.n_trials=2")
    assert done.returncode == 1
    assert "no proposal may be trained: 1" in done.stderr
    assert "the smallest of " in done.stderr
    assert done.stderr.count("\n") == 1


def test_dry_run_of_a_search_describes_it(sweeper_call: Call, tmp_path: Path) -> None:
    """dry_run prints the space, the feasible share, the range of parameters and the time, and writes nothing."""
    done = sweeper_call("-m", "search=card", "model=notebook", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    for word in ("optimizer.lr : FloatDistribution", "feasible : ", "parameters : ", "time : about"):
        assert word in done.stdout
    assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("*.log"))


@pytest.mark.parametrize(
    "sampler",
    ["tpe", "gp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("random", "nsgaii", "cmaes", "qmc"))],
)
def test_every_sampler_searches(sweeper_call: Call, tmp_path: Path, sampler: str) -> None:
    """Each sampler proposes, with its own dependencies installed."""
    options = ["search=dropout_lr", f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=3"]
    done = sweeper_call("-m", *TINY, *HERE, *options)
    assert done.returncode == 0, done.stderr
    assert len(_trials(_folder(tmp_path))) == 3


@pytest.mark.parametrize(
    "pruner",
    [
        "median",
        "patient",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("none", "percentile", "hyperband")),
    ],
)
def test_every_pruner_is_accepted(sweeper_call: Call, tmp_path: Path, pruner: str) -> None:
    """Each pruner's config makes a pruner, and reports reach the trials."""
    options = ["search=dropout_lr", f"hydra/sweeper/pruner={pruner}", "hydra.sweeper.n_trials=2", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *options)
    assert done.returncode == 0, done.stderr
    assert list(_trials(_folder(tmp_path))[0].intermediate_values) == [1, 2, 3]


PRUNING = [
    *("-m", *TINY, "data.validation_size=2500", "training.epochs=4", "optimizer.lr=0.1,0.09,0.08,0.07,1e-7,1e-8"),
    *("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=2", "optimizer.nesterov=false"),
]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(["hydra.sweeper.n_jobs=1"], id="in process", marks=pytest.mark.slow),
        pytest.param(["hydra.sweeper.n_jobs=2"], id="slots", marks=pytest.mark.slow),
        pytest.param(["hydra.sweeper.storage=sqlite:///s.db"], id="sqlite", marks=pytest.mark.slow),
        pytest.param(["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], id="joblib", marks=pytest.mark.slow),
        pytest.param(["hydra/launcher=submitit_local"], id="submitit", marks=pytest.mark.slow),
    ],
)
def test_hopeless_trials_are_pruned_quietly(sweeper_process: Sweeper, tmp_path: Path, how: list[str]) -> None:
    """Learning rates of nearly nothing are stopped early, told PRUNED, without a traceback, however jobs are run."""
    done = sweeper_process(*PRUNING, *how)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    folder = _folder(tmp_path)
    if "sqlite" in how[-1]:
        trials = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{tmp_path / 's.db'}").trials
    else:
        trials = _trials(folder)
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


# -- failures ------------------------------------------------------------------------------------------------------


def test_a_failing_trial_costs_itself(sweeper_call: Call, tmp_path: Path) -> None:
    """A diverging learning rate fails with its reason, is tried once more, and leaves the rest of the grid whole."""
    values = ["optimizer.lr=0.1,1e30", "scheduler=constant", "augment=none", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *values)
    assert done.returncode == 0, done.stderr
    states = [(trial.params["optimizer.lr"], trial.state) for trial in _trials(_folder(tmp_path))]
    assert sorted(states, key=str) == sorted(
        [(0.1, TrialState.COMPLETE), (1e30, TrialState.FAIL), (1e30, TrialState.FAIL)], key=str
    )
    assert all(
        "training loss must stay finite" in trial.user_attrs["failed"]
        for trial in _trials(_folder(tmp_path))
        if trial.state is TrialState.FAIL
    )


def test_too_many_failures_end_the_study(sweeper_call: Call) -> None:
    """More failures than max_failure_rate allows of n_trials: one line, exit 1."""
    values = ["optimizer.lr=1e30,1e31,1e32", "scheduler=constant", "augment=none", "training.epochs=3"]
    done = sweeper_call("-m", *TINY, *HERE, *values, "hydra.sweeper.max_failure_rate=0.1", "hydra.sweeper.max_retry=0")
    assert done.returncode == 1
    assert "at most 10% of 3 trials may fail (hydra.sweeper.max_failure_rate), but 1 did" in done.stderr


BAD = {
    "search=crd": "search has no option 'crd' (did you mean card?): it has card, dropout_lr, widths",
    "seed=3": "-m needs something to sweep: list values as in model.dropout=0.05,0.1, or take search= one of card, dro",
    "model.droput=0.1,0.2": "the config has no key 'model.droput' (did you mean model.dropout",
    "hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials must be at least 1, but got 0",
    "hydra.sweeper.n_trials=abc": "hydra.sweeper.n_trials: Value 'abc' of type 'str' could not be converted to Integer",
    "hydra.sweeper.dry_run=maybe": "hydra.sweeper.dry_run: Value 'maybe'",
    "hydra.sweeper.study_name=..": "hydra.sweeper.study_name must be letters, digits and . _ + - or spaces",
    "hydra.sweeper.study_name=a/b": "since it names a folder, but got 'a/b'",
    "model.dropout=0.3,0.4": "model.dropout must be swept once, but is swept twice: put all its values into one list",
    "model=compact,nope": "model has no option 'nope'",
    "model.groups.block1.channels.0=interval(4.5,8)": "takes whole numbers, but got an interval from 4.5 to 8.0",
    "hydra.sweeper.sampler.seed=abc": "hydra.sweeper.sampler must hold what optuna.samplers.TPESampler takes, but it",
    "+hydra.sweeper.sampler.nope=3": "unexpected keyword argument 'nope'",
    "hydra.sweeper.sampler._target_=os.system": "must hold what os.system takes, but it does not: Target 'os.system'",
    "+hydra.sweeper.pruner.nope=3": "hydra.sweeper.pruner must hold what optuna.pruners.NopPruner takes",
    "+hydra.sweeper.foo=1": "hydra.sweeper.foo: Key 'foo' not in 'StudyOptions'",
    "hydra.sweeper.n_jobs=0": "hydra.sweeper.n_jobs must be at least 1, but got 0",
    "hydra.sweeper.direction=up": "hydra.sweeper.direction: Invalid value 'up', expected one of ['maximize', 'minimize']",
    "hydra.sweeper.max_failure_rate=2": "hydra.sweeper.max_failure_rate must be in [0, 1], but got 2",
    "hydra.sweeper.storage=sqlite:////proc/no.db": "hydra.sweeper.storage must be a storage that can be opened, but",
    "hydra.sweeper.storage=nosql://x": "hydra.sweeper.storage must be a storage that can be opened, but nosql://x",
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
    assert len(_trials(tmp_path / "outputs" / "studies" / "mine")) == 2


def test_a_torn_journal_is_mended_and_a_damaged_one_refused(sweeper_call: Call, tmp_path: Path) -> None:
    """Half a last line is cut off; damage in the middle is refused with the file's name and the line."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    journal = _folder(tmp_path) / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 5, "wor')
    assert sweeper_call(*arguments).returncode == 0
    assert journal.read_bytes().startswith(whole)
    assert b'"wor{' not in journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"damaged\n", *lines[3:]]))
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert f"{journal} must hold one JSON record a line, but line 3 is damaged" in done.stderr
    assert done.stderr.count("\n") == 1


@given(st.binary(max_size=40).filter(lambda tail: b"\n" not in tail))
@settings(max_examples=30)
def test_mending_loses_no_whole_line(tail: bytes) -> None:
    """Whatever stands after the last newline is cut off, and nothing before it."""
    import tempfile  # noqa: PLC0415 - Hypothesis and tmp_path do not go together

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "journal.log"
        study = optuna.create_study(storage=open_storage(journal_url(path)), study_name="s")
        study.enqueue_trial({"x": 1})
        whole = path.read_bytes()
        path.write_bytes(whole + tail)
        assert len(optuna.load_study(storage=open_storage(journal_url(path)), study_name="s").trials) == 1
        assert path.read_bytes() == whole


def test_a_password_is_not_shown() -> None:
    """An error names a storage without its password."""
    assert redacted("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    with pytest.raises(StudyError) as caught:
        open_storage("postgresql+nodriver://me:secret@host/db")
    assert "secret" not in str(caught.value)


# -- kill -9, Ctrl-C, two at once -----------------------------------------------------------------------------------

LONG = ["-m", "search=dropout_lr", *TINY, "training.epochs=30", "hydra.sweeper.study_name=long"]


def _start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _children(pid: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            yield int(status.parent.name)


def _cpu_worker(pid: int) -> bool:
    try:
        return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_kill_9_loses_nothing_and_the_same_command_goes_on(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """After kill -9 of the parent the workers exit; the same command queues what was running and reaches its total."""
    total = "hydra.sweeper.n_trials=5"
    process = _start(tmp_path, *LONG, "hydra.sweeper.n_jobs=2", total)
    folder = tmp_path / "outputs" / "studies" / "long"
    _wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 1 and len(list(folder.glob("*/metrics.jsonl"))) >= 3)
    workers = [child for child in _children(process.pid) if _cpu_worker(child)]
    assert len(workers) == 2
    process.kill()
    process.communicate()
    _wait_for(lambda: not any(_cpu_worker(worker) for worker in workers))
    before = {trial.number: trial.value for trial in _trials(folder) if trial.state is TrialState.COMPLETE}

    done = sweeper_process(*LONG, "hydra.sweeper.n_jobs=2", total)
    assert done.returncode == 0, done.stderr
    assert "had no process any more: queued again" in done.stdout
    trials = _trials(folder)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    finished = [t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    assert len(finished) == 5
    assert {number: trials[number].value for number in before} == before
    assert not [trial for trial in trials if trial.state in {TrialState.RUNNING, TrialState.WAITING}]
    stale = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert stale
    assert all(any(t.params == s.params for t in finished) for s in stale)


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_queues_what_was_running(tmp_path: Path) -> None:
    """Ctrl-C: status 130 before what runs is done, best so far, page and resuming command said, its point queued again."""
    process = _start(tmp_path, *LONG, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=50")
    folder = tmp_path / "outputs" / "studies" / "long"

    def begun() -> list[Path]:
        """Trials in their first epochs."""
        files = [path for path in folder.glob("*/metrics.jsonl") if not path.with_name("result.json").exists()]
        return [path.parent for path in files if 1 <= len(path.read_text().splitlines()) <= 10]

    _wait_for(lambda: len(list(folder.glob("*/result.json"))) >= 1 and bool(begun()))
    running = begun()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not [path for path in running if (path / "result.json").exists()]
    assert "report: outputs/studies/long/report.html" in out
    assert (folder / "report.html").exists()
    assert err == ""
    assert "interrupted: " in out
    assert "best: trial " in out
    assert "go on: python -m sweeper -m search=dropout_lr" in out
    trials = _trials(folder)
    assert not [trial for trial in trials if trial.state is TrialState.RUNNING]
    assert [trial for trial in trials if trial.state is TrialState.WAITING]
    assert (folder / "best" / "model.pt").exists()


@pytest.mark.slow
def test_a_killed_worker_costs_its_trial_alone(tmp_path: Path) -> None:
    """Kill -9 of one worker: its trial fails with that reason, is tried again by a new worker, the study is whole."""
    process = _start(tmp_path, *LONG, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4")
    folder = tmp_path / "outputs" / "studies" / "long"
    _wait_for(lambda: len(list(folder.glob("*/metrics.jsonl"))) >= 2)
    os.kill(next(child for child in _children(process.pid) if _cpu_worker(child)), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "its worker died (exit code -9)" in out
    trials = _trials(folder)
    assert len([t for t in trials if t.state in {TrialState.COMPLETE, TrialState.PRUNED}]) == 4
    assert [t.user_attrs["failed"] for t in trials if t.state is TrialState.FAIL] == ["its worker died (exit code -9)"]


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path: Path) -> None:
    """Two at once on one study: n_trials in all, every trial of it trained once, no point twice."""
    arguments = [*LONG[:-2], "training.epochs=5", LONG[-1], "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=8"]
    processes = [_start(tmp_path, *arguments) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    trials = _trials(tmp_path / "outputs" / "studies" / "long")
    assert len(trials) == 8
    assert len({tuple(trial.params.items()) for trial in trials}) == 8
    owners = {trial.user_attrs["owner"]["pid"] for trial in trials}
    assert owners <= {process.pid for process in processes}
    assert len(owners) == 2


PASSWORD = "very-secret-word"  # noqa: S105 - of a server that lives as long as the test


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server on this machine, with a password; its URL. Skips where none is installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(installed[-1]) if installed else shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    binaries = Path(found).parent
    root = tmp_path_factory.mktemp("postgresql")
    as_server = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (root / "password").write_text(PASSWORD)
    if as_server:
        for parent in [root, *root.parents[:2]]:
            parent.chmod(0o755)
        (root / "password").chmod(0o644)
        shutil.chown(root, "postgres")
    data = ["-D", str(root / "data")]
    options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1 -c fsync=off"
    secret = ["--auth=scram-sha-256", f"--pwfile={root / 'password'}", "-U", "sweeper"]

    def quietly(*arguments: str) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run(
            [*as_server, str(binaries / arguments[0]), *data, *arguments[1:]],
            check=True,
            stdout=quiet,
            stderr=quiet,
            cwd=root,
        )

    quietly("initdb", *secret)
    quietly("pg_ctl", "-w", "-o", options, "-l", str(root / "log"), "start")
    yield f"postgresql://sweeper:{PASSWORD}@127.0.0.1:{port}/postgres"
    quietly("pg_ctl", "-w", "-m", "immediate", "stop")


@pytest.mark.slow
def test_two_processes_share_a_study_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    """On a real server: n_trials in all from two processes, none twice, hopeless ones pruned, the password nowhere."""
    arguments = [*PRUNING, "hydra.sweeper.storage=${oc.env:STUDY_URL}", "hydra.sweeper.study_name=shared"]
    processes = [
        subprocess.Popen(
            command(*arguments, "hydra.sweeper.n_jobs=1"),
            cwd=tmp_path,
            env=environment(STUDY_URL=postgresql),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
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


# -- reproduce -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_trial_of_a_worker_is_reproduced_to_the_bit(sweeper_process: Sweeper, tmp_path: Path) -> None:
    """A trial that a worker ran beside another comes out of a single run with the same weights and metrics."""
    assert sweeper_process("-m", *TINY, "model.dropout=0.05,0.1", "hydra.sweeper.n_jobs=2").returncode == 0
    done = sweeper_process("reproduce", str((_folder(tmp_path) / "1").relative_to(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "identical: " in done.stdout


def test_a_changed_run_is_told_apart(sweeper_call: Call, tmp_path: Path) -> None:
    """A changed metric is a difference, named with both values, exit 1; a folder that is no run is refused."""
    assert sweeper_call(*TINY, "hydra.run.dir=run").returncode == 0
    metrics = tmp_path / "run" / "metrics.jsonl"
    epoch = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({**epoch, "train_loss": 9.5}) + "\n")
    done = sweeper_call("reproduce", "run")
    assert done.returncode == 1
    assert f"epoch 1 train_loss: 9.5 there, {epoch['train_loss']} here" in done.stdout
    (tmp_path / "empty").mkdir()
    done = sweeper_call("reproduce", "empty")
    assert done.returncode == 1
    assert done.stderr.startswith("sweeper: a run's folder must hold .hydra/config.yaml, but empty does not")


@pytest.mark.parametrize("damage", ["[]", "{", '{"value": 1}'])
def test_a_damaged_result_is_named_before_anything_is_run(sweeper_call: Call, tmp_path: Path, damage: str) -> None:
    """Reproduce reads all it will compare before it trains: one line with the file's name."""
    assert sweeper_call(*TINY, "hydra.run.dir=run").returncode == 0
    (tmp_path / "run" / "result.json").write_text(damage)
    done = sweeper_call("reproduce", "run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("sweeper: run/result.json must hold a run's result, but it ")
    assert done.stderr.count("\n") == 1


def test_a_lost_journal_is_not_passed_over(sweeper_call: Call, tmp_path: Path) -> None:
    """Trials' folders that the storage does not know of are refused, not mixed with new ones."""
    arguments = ["-m", *TINY, *HERE, "model.dropout=0.05,0.1"]
    assert sweeper_call(*arguments).returncode == 0
    (_folder(tmp_path) / "journal.log").unlink()
    done = sweeper_call(*arguments)
    assert done.returncode == 1
    assert "holds trials that the storage does not know" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("hostile", ["!!python/object/apply:os.abort []", "{seed: '${oc.env:HOME}'}", "[1", "7"])
def test_a_strangers_config_runs_no_code(sweeper_call: Call, tmp_path: Path, hostile: str) -> None:
    """Tags, interpolations and broken YAML in a saved config are refused in one line."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    (tmp_path / "run" / ".hydra" / "config.yaml").write_text(hostile)
    done = sweeper_call("reproduce", "run")
    assert done.returncode == 1
    assert done.stderr.startswith("sweeper: run/.hydra/config.yaml must ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_card_search_on_real_mnist_finds_a_better_network(
    mnist_root: Path, sweeper_process: Sweeper, tmp_path: Path
) -> None:
    """search=card from the notebook's network, two trials of one epoch: what the diagnosis advises is better by points."""
    done = sweeper_process(
        *("-m", "search=card", "model=notebook", "training.epochs=1", "hydra.sweeper.n_trials=2"),
        SWEEPER_DATA=str(mnist_root),
    )
    assert done.returncode == 0, done.stderr
    trials = _trials(_folder(tmp_path))
    whole = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert (trials[1].value or 0) > (trials[0].value or 1) + 0.005
    assert all(trial.user_attrs["parameters"] < 10_000 for trial in whole)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's signals from /proc")
def test_a_workers_first_instruction_is_deaf_to_ctrl_c(tmp_path: Path) -> None:
    """The first process a sweep spawns blocks SIGINT from its start: no traceback out of the middle of its imports."""
    script = tmp_path / "spawn.py"
    script.write_text(
        "import multiprocessing, pathlib, time\n"
        "from sweeper.study.slots import start_deaf\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(60,))\n"
        "    start_deaf(child)\n"
        "    print(pathlib.Path(f'/proc/{child.pid}/status').read_text())\n"
        "    child.kill()\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", done.stdout, re.MULTILINE)
    assert int(blocked, 16) & 1 << (signal.SIGINT - 1)

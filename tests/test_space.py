"""What is searched, and how a proposal is judged before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.config.composition import compose
from sweeper.config.schema import BudgetConf, ExperimentConf
from sweeper.design import analyze, analyze_within_budget
from sweeper.errors import ConfigError
from sweeper.search.feasibility import FeasibilityCheck, fingerprint, value_at
from sweeper.search.initial_points import advised, mended
from sweeper.search.space import Params, Space, parse, width_distributions

from .studies import (
    HERE,
    TINY,
    Call,
    only_study,
    trials_of,
)


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
    plan = analyze(compose([f"model={model}"])).plan
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
    for trial in trials_of(only_study(tmp_path)):
        assert isinstance(trial.params["model.groups.block1.channels.0"], int)
        assert isinstance(trial.distributions["optimizer.lr"], FloatDistribution)


# -- judging -------------------------------------------------------------------------------------------------------


def _judge(*keys: str) -> FeasibilityCheck:
    """A feasibility_check of the compact model with these keys searched."""
    searched = {key: FloatDistribution(0, 1) for key in keys}
    return FeasibilityCheck(Space(distributions=dict(searched), template=("model=compact", *keys), grid=None), compose)


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


def _advised(model: str, budget: str = "10k") -> tuple[ExperimentConf, Params | None, FeasibilityCheck]:
    """What is advised where dropout and every width of a model are searched."""
    fixed = (f"model={model}", f"budget={budget}")
    base = compose(fixed)
    distributions = {"model.dropout": FloatDistribution(0, 0.3), **width_distributions(analyze(base).plan)}
    space = Space(distributions=distributions, template=(*fixed, *distributions), grid=None)
    feasibility_check = FeasibilityCheck(space, compose)
    start = {key: value_at(base, key) for key in space.keys}
    return base, mended(base, start, space, feasibility_check), feasibility_check


def test_what_the_diagnosis_names_is_mended_within_the_budget() -> None:
    """Of the reference: its bottlenecks wide, no dropout, the other widths narrowed alike, and nothing left to blame."""
    base, point, feasibility_check = _advised("notebook")
    assert point is not None
    conf = feasibility_check.configure(point)
    assert [conf.model.groups[name].channels for name in ("transition1", "transition2")] == [[12], [12]]
    assert conf.model.dropout == 0
    assert analyze_within_budget(conf).summary.parameters > 0.9 * 9_999
    assert {finding.rule for finding in analyze(base).findings} == {"erased_signal", "bottleneck"}
    assert not analyze(conf).findings
    pairs = zip(conf.model.groups["block1"].channels, base.model.groups["block1"].channels, strict=True)
    assert all(now < before for now, before in pairs)


def test_what_is_advised_is_tried_at_two_learning_rates() -> None:
    """Where the learning rate is searched, the mended network comes twice, the second time at half the rate."""
    base, point, feasibility_check = _advised("notebook")
    rates = {"optimizer.lr": FloatDistribution(0.003, 0.5, log=True)}
    space = replace(feasibility_check._space, distributions={**feasibility_check._space.distributions, **rates})
    space = replace(space, template=tuple(space.keys))
    start = {key: value_at(base, key) for key in space.keys}
    first, second = advised(base, start, space, FeasibilityCheck(space, lambda _: base))
    assert point is not None
    assert first == {**point, "optimizer.lr": 0.2}
    assert second == {**point, "optimizer.lr": 0.1}


def test_a_start_over_budget_is_advised_narrower() -> None:
    """A budget that the composed network breaks: the advice fits it, its widened layers narrowed too where they must be."""
    for model in ("quick", "notebook"):
        base, _, feasibility_check = _advised(model)
        small = replace(base, budget=BudgetConf(parameters=4000, macs=None))
        tight = FeasibilityCheck(
            feasibility_check._space, lambda overrides: replace(compose(overrides), budget=small.budget)
        )
        start = {key: value_at(base, key) for key in feasibility_check._space.keys}
        point = mended(small, start, feasibility_check._space, tight)
        assert point is not None
        assert analyze_within_budget(tight.configure(point)).summary.parameters > 0.8 * 4000


def test_nothing_to_mend_is_no_advice() -> None:
    """The default network has neither bottleneck nor dropout; and a budget may leave the advice no room."""
    assert _advised("quick")[1] is None
    base, _, feasibility_check = _advised("notebook")
    tight = replace(base, budget=BudgetConf(parameters=600, macs=None))
    cramped = FeasibilityCheck(
        feasibility_check._space, lambda overrides: replace(compose(overrides), budget=tight.budget)
    )
    start = {key: value_at(base, key) for key in feasibility_check._space.keys}
    assert advised(tight, start, feasibility_check._space, cramped) == ()


def test_a_proposal_over_budget_is_judged_by_its_margin() -> None:
    """The margin is the share by which the count passes the budget: positive over it, negative within."""
    feasibility_check = _judge("model.groups.block2.channels.1")
    over = feasibility_check.check({"model.groups.block2.channels.1": 200})
    within = feasibility_check.check({"model.groups.block2.channels.1": 8})
    assert over.rule == "over budget"
    assert over.design is not None
    assert over.constraints["parameters"] == pytest.approx(over.design.summary.parameters / 9999 - 1)
    assert over.constraints["parameters"] > 0 > within.constraints["parameters"]
    assert within.reason is None
    unbuildable = _judge("model.groups.block2.kernel_size").check({"model.groups.block2.kernel_size": 13})
    assert unbuildable.rule == "cannot be built"
    assert unbuildable.constraints == {"buildable": 1.0}


def test_a_fingerprint_is_of_what_is_trained() -> None:
    """Two ways to write one config have one fingerprint; the target is no part of it, the seed is."""
    base = fingerprint(compose(["model=compact"]))
    assert fingerprint(compose(["model=compact", "target=0.5", "model.groups.block1.channels=[8,12]"])) == base
    assert fingerprint(compose(["model=compact", "seed=2"])) != base

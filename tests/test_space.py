"""The search space, the feasibility of its points, and where a search starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.config.model import GroupConf
from sweeper.config.schema import BudgetConf, ExperimentConf
from sweeper.design import analyze, analyze_within_budget, image_facts
from sweeper.errors import ConfigError, StudyError
from sweeper.network.repair import MODEL_WIDE, Bounds, repair, width_bounds
from sweeper.search.feasibility import FeasibilityCheck, fingerprint
from sweeper.search.initial_points import initial_points
from sweeper.search.space import Params, Space, parse, to_override, width_distributions

from .composed import compose
from .studies import (
    HERE,
    TINY,
    Call,
    only_study,
    trials_of,
)


def _parse(*arguments: str, params: dict[str, Any] | None = None) -> Space:
    return parse(arguments, params or {}, OverridesParser.create())


# -- parsing --------------------------------------------------------------------------------------------------------


def test_listed_values_are_a_grid_in_hydras_order() -> None:
    """Lists, ranges, booleans, null, quoted strings and whole lists are expanded as Hydra's basic sweeper does."""
    space = _parse("a=1,2", "b=range(0,3)", "c=true,null", "d='x y',z", "e=[8,16],[10,20]", "f=5", "~g")
    assert space.fixed == ("f=5", "~g")
    assert space.grid is not None
    assert len(space.grid) == 2 * 3 * 2 * 2 * 2
    assert [point["a"] for point in space.grid[:24]] == [1] * 24
    assert list(space.grid[0].values()) == [1, 0, True, "'x y'", "[8,16]"]
    assert space.grid[-1]["c"] == "null"


@pytest.mark.parametrize("text", ["it's [x], y", "a b", "1", "true", "${x}", "c:\\\\'", ""])
def test_a_choice_of_text_is_an_override_that_hydra_reads_back(text: str) -> None:
    """Text with quotes, brackets, commas, or that looks like a number reaches the trial unchanged."""
    distribution = _parse(f"note=choice({QuotedString(text, Quote.single).with_quotes()},z)", "x=interval(0,1)")
    choices = distribution.distributions["note"].choices  # type: ignore[attr-defined]
    assert OverridesParser.create().parse_override(f"note={to_override(choices[0])}").value() == text


def test_intervals_and_presets_are_a_search() -> None:
    """interval, tag(log, interval) and preset params become Optuna's distributions, and no grid."""
    space = _parse("a=interval(0,1.5)", "b=tag(log,int(interval(1,64)))", "c=x,y", params={"d": "range(2,9,2)"})
    assert space.grid is None
    assert space.distributions["a"] == FloatDistribution(0, 1.5)
    assert space.distributions["b"] == IntDistribution(1, 64, log=True)
    assert space.distributions["c"] == CategoricalDistribution(["x", "y"])
    assert space.distributions["d"] == IntDistribution(2, 8, step=2)


def test_the_command_line_replaces_the_preset() -> None:
    """A fixed value on the command line takes its key out of the preset's search; a typed range replaces it."""
    params = {"a": "interval(0,1)", "b": "interval(0,1)"}
    space = _parse("a=0.5", "b=interval(0,9)", params=params)
    assert list(space.distributions) == ["b"]
    assert space.distributions["b"] == FloatDistribution(0, 9)
    assert space.fixed == ("a=0.5",)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a=interval(0,inf)"],
        ["a=interval(-inf,1.0)"],
        ["a=interval(nan,1)"],
        ["a=range(1,100000000)"],
        ["a=range(0,1,0.0000001)"],
        ["a=range(1,1000)", "b=range(1,1000)"],
    ],
)
def test_a_space_without_end_is_refused_at_once(arguments: list[str]) -> None:
    """Infinite bounds and a list or grid of more points than anyone could train are errors, before any is listed."""
    with pytest.raises(StudyError, match=r"finite bounds, but got|at most 100,000 points, but"):
        _parse(*arguments)


def test_a_long_range_of_a_search_is_not_listed() -> None:
    """With anything proposed, a range of whole numbers is a distribution, however long it is."""
    assert _parse("a=range(1,10000000)", "b=interval(0,1)").distributions["a"] == IntDistribution(1, 9_999_999)


@pytest.mark.parametrize("model", ["compact", "deep", "gap", "notebook", "quick"])
def test_widths_are_found_from_the_plan(model: str) -> None:
    """Every convolution of the chosen model has one width to search, and its own width is among the values."""
    plan = analyze(compose([f"model={model}"])).plan
    widths = width_distributions(plan)
    convs = [layer for layer in plan.layers if hasattr(layer, "out_channels")]
    assert len(widths) == len(convs)
    narrow = []
    for (key, distribution), layer in zip(widths.items(), convs, strict=True):
        assert isinstance(distribution, IntDistribution)
        narrow.append(f"{key}={distribution.low}")
        assert distribution.low <= layer.out_channels <= distribution.high
    compose([f"model={model}", *narrow])


def test_an_interval_of_a_whole_number_is_searched_in_whole_numbers(sweeper_call: Call, tmp_path: Path) -> None:
    """channels.0=interval(4,9) proposes integers, as anyone who types it expects; a learning rate stays a fraction."""
    swept = ["model.groups.block1.channels.0=interval(4,9)", "optimizer.lr=tag(log,interval(0.01,1))"]
    done = sweeper_call("-m", *TINY, *HERE, *swept, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    for trial in trials_of(only_study(tmp_path)):
        assert isinstance(trial.params["model.groups.block1.channels.0"], int)
        assert isinstance(trial.distributions["optimizer.lr"], FloatDistribution)


# -- feasibility ----------------------------------------------------------------------------------------------------


def _check(*keys: str) -> FeasibilityCheck:
    """The feasibility check of the compact model with these keys searched."""
    searched = {key: FloatDistribution(0, 1) for key in keys}
    return FeasibilityCheck(Space(distributions=dict(searched), template=("model=compact", *keys), grid=None), compose)


@settings(max_examples=15)
@given(
    st.floats(-0.2, 1.2),
    st.integers(-2, 40),
    st.floats(1e-4, 2),
    st.one_of(st.none(), st.floats(0, 0.9)),
)
def test_numbers_set_on_the_typed_config_are_what_hydra_composes(
    dropout: float, width: int, lr: float, group: float | None
) -> None:
    """A proposal set on the typed config equals the config that Hydra composes, or both refuse it."""
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
        short = _check(*params).configure(params)
    except ConfigError as error:
        short = str(error)
    if isinstance(long, str):
        assert isinstance(short, str)
    else:
        assert short == long


def _space(*fixed: str, **rates: FloatDistribution) -> tuple[ExperimentConf, Space]:
    """The composed config, and a space of dropout and every width of its model."""
    base = compose(fixed)
    distributions = {"model.dropout": FloatDistribution(0, 0.3), **width_distributions(analyze(base).plan)}
    distributions |= {key.replace("_", "."): distribution for key, distribution in rates.items()}
    return base, Space(distributions=distributions, template=(*fixed, *distributions), grid=None)


def _configured(space: Space, params: Params) -> ExperimentConf:
    return FeasibilityCheck(space, compose).configure(params)


def test_a_network_is_repaired_within_its_budget() -> None:
    """The reference: bottlenecks at their widest, no dropout, other widths narrowed alike, and no finding is left."""
    base, space = _space("model=notebook")
    start, repaired = initial_points(base, space)
    assert start["model.dropout"] == 0.1
    conf = _configured(space, repaired)
    assert [conf.model.groups[name].channels for name in ("transition1", "transition2")] == [[12], [12]]
    assert conf.model.dropout == 0
    assert analyze_within_budget(conf).summary.parameters > 0.9 * 9_999
    assert {finding.rule for finding in analyze(base).findings} == {"erased_signal", "bottleneck"}
    assert not analyze(conf).findings
    pairs = zip(conf.model.groups["block1"].channels, base.model.groups["block1"].channels, strict=True)
    assert all(now < before for now, before in pairs)


def test_a_repaired_network_is_tried_at_two_learning_rates() -> None:
    """Where the learning rate is searched, the repaired network comes twice, the second time at half the rate."""
    base, space = _space("model=notebook", optimizer_lr=FloatDistribution(0.003, 0.5, log=True))
    _, first, second = initial_points(base, space)
    assert first["optimizer.lr"] == 0.2
    assert second == {**first, "optimizer.lr": 0.1}


@pytest.mark.parametrize("model", ["quick", "notebook"])
def test_a_network_over_budget_is_repaired_by_narrowing(model: str) -> None:
    """A budget that the composed network exceeds: the repaired one fits it, its widened layers narrowed too if they must."""
    base, space = _space(f"model={model}", "budget.parameters=4000")
    _, repaired = initial_points(base, space)
    assert 0.8 * 4000 < analyze_within_budget(_configured(space, repaired)).summary.parameters <= 4000


def test_a_search_starts_once_where_nothing_can_be_repaired() -> None:
    """The default network has neither bottleneck nor dropout; and a budget may leave a repair no room."""
    for fixed in (["model=quick"], ["model=notebook", "budget.parameters=600"]):
        base, space = _space(*fixed)
        assert len(initial_points(base, space)) == 1


@settings(max_examples=40)
@given(
    channels=st.lists(st.lists(st.integers(1, 24), min_size=1, max_size=3), min_size=2, max_size=3),
    dropout=st.floats(0, 0.6),
    limit=st.integers(200, 12_000),
    least=st.floats(0, 0.2),
)
def test_a_repair_keeps_to_its_bounds_and_its_budget(
    channels: list[list[int]], dropout: float, limit: int, least: float
) -> None:
    """Whatever the network: every width is within its bounds, nothing else but dropout changes, and the budget holds."""
    groups = {f"g{at}": GroupConf(channels=widths, kernel_size=3) for at, widths in enumerate(channels)}
    base = compose(["model=compact"])
    model = replace(base.model, groups=groups, dropout=dropout, padding=1, pool=1)
    conf = replace(base, model=model, budget=BudgetConf(parameters=limit, macs=None))
    bounds = Bounds(widths=width_bounds(analyze(conf).plan), least_dropout={MODEL_WIDE: least})
    repaired = repair(model, conf.budget, bounds, image_facts(conf))
    if repaired is None:
        return
    assert repaired != model
    assert analyze_within_budget(replace(conf, model=repaired)).summary.parameters <= limit
    assert repaired.dropout in {dropout, least}
    for name, group in repaired.groups.items():
        for index, width in enumerate(group.channels):
            low, high = bounds.widths[f"model.groups.{name}.channels.{index}"]
            assert low <= width <= high
    widths_back = {name: replace(group, channels=groups[name].channels) for name, group in repaired.groups.items()}
    assert replace(repaired, groups=widths_back, dropout=dropout) == model


def test_a_proposal_over_budget_has_a_positive_constraint() -> None:
    """The constraint is the relative excess over the budget: positive over it, negative within."""
    check = _check("model.groups.block2.channels.1")
    over = check.check({"model.groups.block2.channels.1": 200})
    within = check.check({"model.groups.block2.channels.1": 8})
    assert over.rule == "over budget"
    assert over.design is not None
    assert over.constraints["parameters"] == pytest.approx(over.design.summary.parameters / 9999 - 1)
    assert over.constraints["parameters"] > 0 > within.constraints["parameters"]
    assert within.reason is None
    unbuildable = _check("model.groups.block2.kernel_size").check({"model.groups.block2.kernel_size": 13})
    assert unbuildable.rule == "cannot be built"
    assert unbuildable.constraints == {"buildable": 1.0}


def test_a_fingerprint_covers_what_is_trained() -> None:
    """Two ways to write one config have the same fingerprint; the target is not part of it, the seed is."""
    base = fingerprint(compose(["model=compact"]))
    assert fingerprint(compose(["model=compact", "target=0.5", "model.groups.block1.channels=[8,12]"])) == base
    assert fingerprint(compose(["model=compact", "seed=2"])) != base

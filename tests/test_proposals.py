"""The space of architectures, and proposals that are repaired into the budget."""

import functools
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze, analyze_within_budget
from sweeper.errors import ConfigError
from sweeper.search import dry_run
from sweeper.search.architecture import architecture_distributions, extended
from sweeper.search.conditions import in_order, is_active
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.initial_points import initial_points
from sweeper.search.proposals import ProposalRepair
from sweeper.search.space import Params, Space, as_overrides, contains, parse, width_distributions

from .composed import compose
from .studies import HERE, TINY, Call, only_study, trials_of

MODELS = ["compact", "deep", "gap", "notebook", "quick"]
GAP = "head@model.head=gap"
_composed = functools.cache(compose)


@functools.cache
def _architecture(model: str, *fixed: str) -> tuple[ExperimentConf, Space, FeasibilityCheck]:
    """The composed config, and the space of architectures around a model."""
    overrides = (f"model={model}", GAP, *fixed)
    overrides = (*overrides, *extended(compose(overrides).model))
    base = compose(overrides)
    searched: dict[str, BaseDistribution] = {
        "augment": CategoricalDistribution(["none", "affine"]),
        "optimizer.lr": FloatDistribution(0.02, 0.5, log=True),
    }
    distributions = in_order({**searched, **architecture_distributions(base.model)})
    space = Space(distributions=distributions, template=(*overrides, *distributions), grid=None)
    return base, space, FeasibilityCheck(space, _composed)


@st.composite
def points(draw: st.DrawFn, space: Space) -> Params:
    """A point of a space, with the keys that exist for its values."""
    params: Params = {}
    for key, distribution in space.distributions.items():
        if not is_active(key, params):
            continue
        match distribution:
            case CategoricalDistribution():
                params[key] = draw(st.sampled_from(distribution.choices))
            case IntDistribution():
                params[key] = draw(st.integers(distribution.low, distribution.high))
            case FloatDistribution():
                params[key] = draw(st.floats(distribution.low, distribution.high))
    return params


def is_in_space(space: Space, params: Params) -> bool:
    """Whether a point has exactly the keys that exist for its values, each within its distribution."""
    needed = {key for key in space.keys if is_active(key, params)}
    return set(params) == needed and all(contains(space.distributions[key], value) for key, value in params.items())


# -- the space ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_room_for_deeper_groups_changes_no_network(model: str) -> None:
    """The lists of widths are extended for deeper groups, and the layers stay the same."""
    before = compose([f"model={model}", GAP])
    base, space, _ = _architecture(model)
    assert analyze(base).plan == analyze(before).plan
    start = initial_points(base, space)[0]
    assert is_in_space(space, start)
    assert analyze(compose(as_overrides(space, start))).plan == analyze(base).plan


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_a_point_of_the_space_is_what_hydra_composes(data: st.DataObject) -> None:
    """A point set on the typed config equals the config of its overrides as typed, or both refuse it."""
    _, space, check = _architecture("notebook")
    params = data.draw(points(space))
    try:
        short: object = check.configure(params)
    except ConfigError:
        short = None
    try:
        long: object = compose(as_overrides(space, params))
    except ConfigError:
        long = None
    assert short == long


def test_a_width_exists_only_if_its_layer_does() -> None:
    """A group of depth 2 has two widths; without a searched depth each of the list's widths counts."""
    keys = [f"model.groups.block1.channels.{index}" for index in range(3)]
    params = {"model.groups.block1.depth": 2}
    assert [is_active(key, params) for key in keys] == [True, True, False]
    assert all(is_active(key, {}) for key in keys)


def test_a_group_of_depth_zero_only_pools() -> None:
    """depth=0 takes a group's convolutions away and leaves its pooling; a network needs one convolution."""
    layers = [layer.name for layer in analyze(compose(["model=gap", "model.groups.transition1.depth=0"])).plan.layers]
    assert "transition1.pool" in layers
    assert "transition1.0" not in layers
    with pytest.raises(ConfigError, match="at least one convolution"):
        compose(["model=compact", "model.groups.block1.depth=0", "model.groups.block2.depth=0"])
    with pytest.raises(ConfigError, match=r"depth must be in \[0, 2\]"):
        compose(["model=compact", "model.groups.block1.depth=3"])


@functools.cache
def _anchor(model: str, limit: int) -> Params:
    """The first initial point that can be trained, for proposals that cannot be built."""
    base, space, check = _architecture(model, f"budget.parameters={limit}")
    return next(point for point in map(ProposalRepair(space, check).repair, initial_points(base, space)) if point)


# -- repair ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data(), model=st.sampled_from(MODELS), limit=st.sampled_from([1_500, 4_000, 9_999]))
def test_a_repaired_proposal_can_be_trained(data: st.DataObject, model: str, limit: int) -> None:
    """Whatever is proposed: within budget and space, its own repair, and no wider anywhere than proposed."""
    _, space, check = _architecture(model, f"budget.parameters={limit}")
    proposed = data.draw(points(space))
    repair = ProposalRepair(space, check)
    anchor = _anchor(model, limit)
    repaired = repair.repair(proposed, anchor)
    assert repaired is not None
    assert is_in_space(space, repaired)
    assert check.check(repaired).reason is None
    assert repair.repair(repaired, anchor) == repaired
    same_shape = all(repaired.get(key) == proposed[key] for key in proposed if ".channels." not in key)
    if same_shape:  # only widths changed
        assert all(repaired[key] <= proposed[key] for key in proposed if ".channels." in key)  # type: ignore[operator]
    if check.check(proposed).reason is None:
        assert repaired == proposed


def test_a_network_that_cannot_be_built_takes_values_of_the_anchor() -> None:
    """Too much pooling for the kernels: values of a feasible point replace the proposal's until it can be built."""
    base, space, check = _architecture("notebook")
    start = initial_points(base, space)[1]
    proposed = {**start, **{key: 2 for key in start if key.endswith(".pool")}}
    assert check.check(proposed).rule == "cannot be built"
    repair = ProposalRepair(space, check)
    assert repair.repair(proposed) is None
    repaired = repair.repair({**proposed, "optimizer.lr": 0.03}, start)
    assert repaired is not None
    assert repaired["optimizer.lr"] == 0.03
    assert check.check(repaired).reason is None


def test_widths_keep_to_their_steps_and_choices() -> None:
    """A narrowed width is one of those that were typed, and one that is fixed stays."""
    keys = [f"model.groups.block2.channels.{index}" for index in range(3)]
    arguments = [
        "model=compact",
        f"{keys[0]}=range(8,65,8)",
        f"{keys[1]}=choice(4,12,60)",
        "optimizer.lr=interval(0,1)",
    ]
    space = parse(arguments, {}, OverridesParser.create())
    repair = ProposalRepair(space, FeasibilityCheck(space, _composed))
    repaired = repair.repair({keys[0]: 64, keys[1]: 60, "optimizer.lr": 0.1})
    assert repaired is not None
    assert repaired[keys[0]] in range(8, 65, 8)
    assert repaired[keys[1]] in {4, 12}
    assert repaired["optimizer.lr"] == 0.1
    analyze_within_budget(compose(as_overrides(space, repaired)))


def test_a_budget_below_the_narrowest_network_cannot_be_repaired() -> None:
    """No width to narrow, or the narrowest is too large: None, and the caller rejects the proposal."""
    _, space, check = _architecture("compact", "budget.parameters=60")
    narrow = {
        key: getattr(d, "low", None) for key, d in width_distributions(analyze(compose(["model=compact"])).plan).items()
    }
    assert ProposalRepair(space, check).repair({**narrow, "optimizer.lr": 0.1}) is None


# -- through the front door -----------------------------------------------------------------------------------------


def test_a_search_over_budget_trains_every_proposal(sweeper_call: Call, tmp_path: Path) -> None:
    """With a budget that the composed network exceeds, it is narrowed; none is rejected, the saved values are the trained ones."""
    options = ["budget.parameters=4000", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=0"]
    done = sweeper_call("-m", *TINY, *HERE, "search=card", *options, "hydra.sweeper.n_trials=5")
    assert done.returncode == 0, done.stderr
    trials = trials_of(only_study(tmp_path))
    assert len(trials) == 5
    for trial in trials:
        assert trial.user_attrs["parameters"] <= 4000


def test_a_grid_is_not_repaired(sweeper_call: Call, tmp_path: Path) -> None:
    """A listed value over budget is rejected with its line."""
    done = sweeper_call("-m", *TINY, *HERE, "model.groups.block2.channels.0=8,400")
    assert done.returncode == 0, done.stderr
    trials = trials_of(only_study(tmp_path))
    assert ["rejected" in trial.user_attrs for trial in trials] == [False, True]
    assert "the budget is 9,999" in trials[1].user_attrs["rejected"]


def test_an_architecture_search_resumes_where_it_stopped(sweeper_call: Call, tmp_path: Path) -> None:
    """3 trials, then 2 more, propose what 5 at once do; all are different and none is rejected."""
    seen = {}
    for name, totals in (("parts", (3, 5)), ("whole", (5,))):
        for total in totals:
            options = [f"hydra.sweeper.study_name={name}", f"hydra.sweeper.n_trials={total}", "target=1"]
            done = sweeper_call(
                "-m", *TINY, *HERE, "search=architecture", "hydra.sweeper.sampler.seed=3", *options,
                "hydra/sweeper/pruner=none",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        seen[name] = [trial.params for trial in trials_of(tmp_path / "outputs" / "studies" / name)]
    assert seen["parts"] == seen["whole"]
    assert len({tuple(sorted(params.items())) for params in seen["whole"]}) == 5


def test_a_dry_run_explains_the_architecture(sweeper_call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Depths, pooling and widths are listed with their values, and how many proposals can be trained."""
    monkeypatch.setattr(dry_run, "SAMPLES", 100)  # a thousand points take two seconds
    done = sweeper_call("-m", "search=architecture", "model=notebook", "data=mnist5k", "hydra.sweeper.dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "model.groups.transition1.depth : whole numbers, 0 to 1" in done.stdout
    assert "model.groups.block1.kernel_size : 3, 5" in done.stdout

"""The figures of a study's page: which points, axes and captions they have, and what they leave out."""

import math
from random import Random

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from sweeper.report.page_figure import PageFigure
from sweeper.report.study_figures import short_names
from sweeper.study.attributes import PARAMETERS, REJECTED, RULE
from sweeper.study.front import pareto_front

from .pages import add_trial, figures_of


def test_trials_are_plotted_under_their_own_numbers() -> None:
    """Points and the best-so-far line use the trials' own numbers, although rejected proposals are not plotted."""
    study = optuna.create_study(direction="maximize")
    rejected = {REJECTED: "model has 12,000 parameters", RULE: "over budget"}
    for value in (None, 0.9, None, 0.95, None, 0.8):
        add_trial(
            study,
            value,
            rejected if value is None else None,
            TrialState.PRUNED if value is None else TrialState.COMPLETE,
        )
    history = figures_of(study, {"target": 0.99})[0]
    assert history.plot is not None
    numbers = {trace.name: list(trace.x) for trace in history.plot.data}
    assert numbers == {"completed": [1, 3, 5], "best so far": [1, 3, 5], "best: trial 3": [3]}
    points, best = history.plot.data[0], history.plot.data[1]
    assert list(points.customdata) == [1, 3, 5]
    assert list(points.y) == pytest.approx([0.1, 0.05, 0.2])
    assert list(best.y) == pytest.approx([0.1, 0.05, 0.05])


def test_one_bad_trial_flattens_nothing() -> None:
    """Accuracies are at their errors on a logarithmic axis, labelled as accuracies; 100 % is at half an image."""
    study = optuna.create_study(direction="maximize")
    for value in (0.1, 0.97, 0.98, 1.0):
        add_trial(study, value, {PARAMETERS: 5000})
    history = figures_of(study, {"target": 0.99, "data.validation": "split", "data.validation_size": 500})[0]
    assert history.plot is not None
    assert list(history.plot.data[0].y) == pytest.approx([0.9, 0.03, 0.02, 0.001])
    axis = history.plot.layout.yaxis
    assert axis.type == "log"
    assert axis.range[0] > axis.range[1]
    labels = dict(zip(axis.tickvals, axis.ticktext, strict=True))
    assert labels[0.01] == "99\u00a0%"
    assert labels[0.001] == "100\u00a0%"
    between_97_and_98 = math.log10(0.03 / 0.02) / (axis.range[0] - axis.range[1])
    assert between_97_and_98 > 0.05


def test_importances_need_twenty_trials_and_show_their_spread() -> None:
    """Nineteen trials get no bars; with more, the caption names a parameter only if its spread lies above all others'."""
    study = optuna.create_study(direction="maximize")

    def add(count: int, effect: float) -> PageFigure:
        random = Random(len(study.trials))  # noqa: S311 - no secret
        for _ in range(count):
            params = {name: random.uniform(0, 1) for name in "abcd"}
            kinds: dict[str, BaseDistribution] = {name: FloatDistribution(0, 1) for name in "abcd"}
            study.add_trial(
                create_trial(
                    value=0.9 + effect * params["a"] + random.gauss(0, 0.01), params=params, distributions=kinds
                )
            )
        return figures_of(study)[2]

    few = add(19, 0.0)
    assert few.plot is None
    assert few.caption == "19 completed trials cannot tell so many values apart: 20 can"
    noise = add(6, 0.0)
    assert noise.plot is not None
    assert "do not show which parameter matters most" in noise.caption
    study = optuna.create_study(direction="maximize")
    clear = add(120, 0.09)
    assert clear.plot is not None
    assert "PED-ANOVA" in clear.caption
    assert clear.caption.endswith(" a matters most.")
    bar = clear.plot.data[0]
    assert bar.y[-1] == "a"
    assert all(low <= value for low, value in zip(bar.error_x.arrayminus, bar.x, strict=True))
    assert min(bar.error_x.array) > 0


def test_a_space_that_changed_during_a_study_has_figures() -> None:
    """Trials may lack a parameter, or have it with another range, in a study that another program wrote."""
    study = optuna.create_study(direction="maximize")
    for number in range(40):
        kind = IntDistribution(1, 20) if number % 2 else IntDistribution(1, 10)
        params: dict[str, object] = {"n": number % 9 + 1, "kind": "x" if number % 3 else "y"}
        kinds: dict[str, BaseDistribution] = {"n": kind, "kind": CategoricalDistribution(["x", "y"])}
        if number % 4 == 0:
            params["rare"], kinds["rare"] = 0.5 + number / 1000, FloatDistribution(0, 1)
        study.add_trial(create_trial(value=number / 100, params=params, distributions=kinds))
    assert {figure.name for figure in figures_of(study) if figure.plot} >= {"history", "parallel", "slices"}


def test_equal_sizes_have_no_pareto_front() -> None:
    """If all networks have one size, accuracy against parameters is left out, with the reason."""
    study = optuna.create_study(direction="maximize")
    for value in (0.9, 0.91):
        add_trial(study, value, {PARAMETERS: 5000})
    pareto = figures_of(study)[1]
    assert pareto.plot is None
    assert pareto.caption == "all trials have the same size"


def test_hundreds_of_trials_are_quantiles_and_the_best_ten() -> None:
    """Lines of many trials would hide each other: curves and parallel coordinates have bands and at most ten lines."""
    study = optuna.create_study(direction="maximize")
    for number in range(150):
        study.add_trial(
            create_trial(
                value=0.9 + (number * 37 % 150) / 2000,
                params={"x": number / 150},
                distributions={"x": FloatDistribution(0, 1)},
                intermediate_values={1: 0.5, 2: 0.9 + (number * 37 % 150) / 2000},
            )
        )
    for figure in figures_of(study, {"target": 0.99})[3:5]:
        assert figure.plot is not None
        lines = {n for trace in figure.plot.data if trace.mode == "lines+markers" for n in trace.customdata}
        assert len(lines) == 10
        assert any(trace.fill == "tonexty" for trace in figure.plot.data)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.integers()), min_size=1),
    st.booleans(),
)
def test_no_point_beats_one_on_the_front(points: list[tuple[int, float, int]], maximize: bool) -> None:  # noqa: FBT001
    """Every point is on the front or beaten by a point on it; no point on the front beats another."""

    def beats(one: tuple[int, float, int], other: tuple[int, float, int]) -> bool:
        return one[0] <= other[0] and (one[1] >= other[1] if maximize else one[1] <= other[1])

    front = pareto_front(points, maximize=maximize)
    assert set(front) <= set(points)
    assert all(any(beats(kept, point) for kept in front) for point in points)
    assert not any(beats(one, other) for one in front for other in front if one is not other)


@given(
    st.lists(st.sampled_from(["a.lr", "b.lr", "model.groups.x.channels.0", "model.groups.x.channels.1", "x.0", "lr"]))
)
def test_short_names_tell_keys_apart(keys: list[str]) -> None:
    """No two keys share a short name."""
    names = short_names(keys)
    assert len(set(names.values())) == len(set(keys))

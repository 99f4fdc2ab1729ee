"""The budget: what is over it, and the widest network that fits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeper.config.model import ModelConf
from sweeper.config.schema import BudgetConf
from sweeper.design import analyze_within_budget
from sweeper.errors import BudgetError
from sweeper.network.budget import check_budget, scaled, within_budget
from sweeper.network.plan import make_plan
from sweeper.network.summary import summarize

from .composed import compose
from .networks import CLASSES, IMAGE, models, summarized


@settings(max_examples=60)
@given(models, st.integers(1, 3000))
def test_budget_error_names_the_widest_scaling_that_fits(model: ModelConf, limit: int) -> None:
    """Over budget, the error states the count; the scaling it suggests fits, and the next wider one does not."""
    plan, summary = summarized(model, IMAGE)
    budget = BudgetConf(parameters=limit, macs=None)
    if summary.parameters <= limit:
        check_budget(model, plan, summary, budget)
        assert within_budget(summary, budget)
        return
    with pytest.raises(BudgetError, match=f"model has {summary.parameters:,} parameters, the budget is {limit:,}") as e:
        check_budget(model, plan, summary, budget)
    text = str(e.value)
    if "scale all channels by" not in text:
        assert "even one channel" in text or "use one channel" in text
        return
    factor = float(text.partition("scale all channels by ")[2].partition(", rounded down")[0])

    def count(f: float) -> int:
        return summarize(make_plan(scaled(model, f), input_shape=IMAGE, classes=CLASSES)).parameters

    assert count(factor) <= limit < count(factor + 0.001)
    assert f"({count(factor):,} parameters)" in text


def test_a_budget_out_of_reach_names_the_limit_to_raise() -> None:
    """If no width fits, the advice is to raise the limit that even one channel exceeds, which may be the other one."""
    for limits, raised in (
        (["budget.parameters=20"], "raise budget.parameters, because even one channel per convolution has"),
        (
            ["budget.parameters=100", "budget.macs=5000"],
            "raise budget.macs, because even one channel per convolution has",
        ),
    ):
        with pytest.raises(BudgetError, match=f"^model has 7,578 parameters, the budget is [0-9]+: {raised}"):
            analyze_within_budget(compose(["model=compact", *limits]))


def test_budget_also_limits_macs() -> None:
    """budget.macs is enforced too, and the error is about MACs."""
    with pytest.raises(BudgetError, match="model has 949,696 MACs, the budget is 900,000"):
        analyze_within_budget(compose(["model=compact", "budget.macs=900000"]))


def test_a_count_equal_to_the_budget_is_within_it() -> None:
    """The budget itself is allowed, one parameter more is not."""
    assert analyze_within_budget(compose(["model=compact", "budget.parameters=7578"])).summary.parameters == 7578
    with pytest.raises(BudgetError):
        analyze_within_budget(compose(["model=compact", "budget.parameters=7577"]))

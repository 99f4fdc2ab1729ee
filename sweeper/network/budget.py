"""Checks a network against its budget of parameters and MACs, and finds the uniform channel scaling that fits."""

from dataclasses import replace
from typing import Final

from sweeper.config.model import ModelConf
from sweeper.config.schema import BudgetConf, Cost
from sweeper.errors import BudgetError
from sweeper.network.plan import Plan, make_plan
from sweeper.network.summary import Summary, summarize

COSTS: Final[tuple[tuple[Cost, str], ...]] = (("parameters", "parameters"), ("macs", "MACs"))
"""Each cost's field in `Summary` and `BudgetConf`, and its name in messages."""
LARGEST_SHOWN: Final = 2
"""Number of layers that the error names."""
SCALE_STEPS: Final = 1000
"""Uniform scaling factors are multiples of one thousandth."""


def within_budget(summary: Summary, budget: BudgetConf) -> bool:
    """Whether every cost is at most its limit; a limit of None is no limit."""
    return not any(_over(summary, budget, cost) for cost, _ in COSTS)


def check_budget(model: ModelConf, plan: Plan, summary: Summary, budget: BudgetConf) -> None:
    """Raise `BudgetError` for a network over budget. It names the costliest layers and the largest fitting scaling."""
    for cost, unit in COSTS:
        if _over(summary, budget, cost):
            raise BudgetError(
                f"model has {getattr(summary, cost):,} {unit}, the budget is {getattr(budget, cost):,}: "
                f"{_advice(model, plan, summary, budget, cost)}"
            )


def scaled(model: ModelConf, factor: float) -> ModelConf:
    """Return the model with every channel count multiplied by the factor, rounded down, but at least 1."""
    groups = {
        name: replace(group, channels=[max(1, int(c * factor)) for c in group.channels])
        for name, group in model.groups.items()
    }
    return replace(model, groups=groups)


def _over(summary: Summary, budget: BudgetConf, cost: Cost) -> bool:
    limit: int | None = getattr(budget, cost)
    return limit is not None and getattr(summary, cost) > limit


def _largest(plan: Plan, summary: Summary, cost: Cost) -> str:
    """Return the widths of the costliest layers as ``model.groups.block2.channels.1 (9,248), …``."""
    pairs = zip(plan.layers, summary.layers, strict=True)
    costly = [(getattr(layer_summary, cost), key) for layer, layer_summary in pairs for key in layer.widths]
    costly.sort(key=lambda pair: pair[0], reverse=True)
    return " and ".join(f"{key} ({count:,})" for count, key in costly[:LARGEST_SHOWN])


def _advice(model: ModelConf, plan: Plan, summary: Summary, budget: BudgetConf, cost: Cost) -> str:
    """Find the largest scaling within the whole budget by bisection: costs never fall as channels are added."""

    def at(step: int) -> Summary:
        narrowed = scaled(model, step / SCALE_STEPS)
        return summarize(make_plan(narrowed, input_shape=plan.input_shape, classes=plan.classes))

    least = at(0)
    for each, name in COSTS:
        if _over(least, budget, each):
            return f"raise budget.{each}, because even one channel per convolution has {getattr(least, each):,} {name}"
    narrow, unit = f"narrow {_largest(plan, summary, cost)}, or", dict(COSTS)[cost]
    low, high = 0, SCALE_STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within_budget(at(middle), budget) else (low, middle)
    if low == 0:
        return f"{narrow} use one channel per convolution ({getattr(least, cost):,} {unit})"
    return f"{narrow} scale all channels by {low / SCALE_STEPS:g}, rounded down ({getattr(at(low), cost):,} {unit})"

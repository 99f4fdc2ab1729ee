"""Checks a network against its budget of parameters and MACs, and finds the uniform channel scaling that fits."""

from dataclasses import replace
from typing import Final, Literal

from sweeper.config.model import ModelConf
from sweeper.config.schema import BudgetConf
from sweeper.errors import BudgetError
from sweeper.network.plan import Plan, make_plan
from sweeper.network.summary import Summary, summarize

Cost = Literal["parameters", "macs"]
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
                f"narrow {_largest(plan, summary, cost)}, or {_fitting_scale(model, plan, budget, cost, unit)}"
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


def _fitting_scale(model: ModelConf, plan: Plan, budget: BudgetConf, cost: Cost, unit: str) -> str:
    """Find the largest scaling within the budget by bisection: costs never fall as channels are added."""

    def at(step: int) -> Summary:
        narrowed = scaled(model, step / SCALE_STEPS)
        return summarize(make_plan(narrowed, input_shape=plan.input_shape, classes=plan.classes))

    if not within_budget(at(0), budget):
        return f"raise budget.{cost}: even one channel per convolution has {getattr(at(0), cost):,} {unit}"
    low, high = 0, SCALE_STEPS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within_budget(at(middle), budget) else (low, middle)
    if low == 0:
        return f"use one channel per convolution ({getattr(at(0), cost):,} {unit})"
    return f"scale all channels by {low / SCALE_STEPS:g}, rounded down ({getattr(at(low), cost):,} {unit})"

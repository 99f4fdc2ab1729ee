"""How a network is changed where its diagnosis objects, or where its budget leaves room: a model in, a model out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sweeper.config.model import ModelConf
from sweeper.config.schema import BudgetConf
from sweeper.network.budget import scaled, within_budget
from sweeper.network.diagnosis import diagnose
from sweeper.network.plan import Conv, Plan, make_plan
from sweeper.network.summary import summarize

WIDENED_BY: Final = {"erased_signal", "bottleneck"}
"""Rules of `sweeper.network.diagnosis` that ask for more channels in the layers they name."""
PERCENT: Final = 100
"""The other widths are narrowed in steps of one hundredth until the budget holds."""
MODEL_WIDE: Final = ""
"""In place of a group's name: the value that groups without one of their own inherit."""
WIDEST: Final = 2.0
"""A network is widened by at most this factor at once."""
WIDTH_REACH: Final = 12
"""Every width may grow to at least this many channels, even if twice its own is fewer: a bottleneck must be able to go."""
BISECTIONS: Final = 20
"""To find the largest factor that fits the budget: more than a width has binary digits."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What a network is for: the facts of the data set that planning and diagnosis need."""

    shape: tuple[int, int, int]
    """Channels, height, width."""
    classes: int
    majority_share: float
    """Accuracy of guessing the most frequent class."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What `repair` may change, and how far; anything else stays as it is."""

    widths: Mapping[str, tuple[int, int]]
    """Fewest and most channels, by the convolution's name in the plan: ``block1.0``."""
    least_dropout: Mapping[str, float]
    """Least dropout, by the group's name; `MODEL_WIDE` is the model's own value."""


def width_bounds(plan: Plan) -> dict[str, tuple[int, int]]:
    """Return the widths worth trying for each convolution: from half its own to twice, and to `WIDTH_REACH` at least."""
    return {
        layer.name: (max(1, layer.out_channels // 2), max(2 * layer.out_channels, WIDTH_REACH))
        for layer in plan.layers
        if isinstance(layer, Conv)
    }


def repair(model: ModelConf, budget: BudgetConf, bounds: Bounds, images: ImageFacts) -> ModelConf | None:
    """Return the model without what its diagnosis objects to, as far as the bounds allow, within the budget.

    Layers that a finding names get their most channels; dropout goes to its least where it erases the signal. The other
    widths are narrowed alike until the budget holds, and where that is not enough, all of them. None where nothing changes,
    or where even the narrowest network exceeds the budget. Raises `ConfigError` for a model that cannot be built.
    """
    plan = _plan(model, images)
    summary = summarize(plan)
    findings = [
        finding
        for finding in diagnose(plan, summary, majority_share=images.majority_share)
        if finding.rule in WIDENED_BY
    ]
    named = {name for finding in findings for name in finding.layers}
    widths = {layer.name: layer.out_channels for layer in plan.layers if isinstance(layer, Conv)}
    adjustable = [name for name in widths if name in bounds.widths]
    widened = [name for name in adjustable if name in named]
    others = [name for name in adjustable if name not in named]
    wide = {**widths, **{name: bounds.widths[name][1] for name in widened}}
    if any(finding.rule == "erased_signal" for finding in findings):
        repaired = _with_dropout(model, bounds.least_dropout)
    else:
        repaired = model
    for narrowed in (others, others + widened):
        for percent in range(PERCENT, 0, -1):
            lower = {name: max(bounds.widths[name][0], wide[name] * percent // PERCENT) for name in narrowed}
            candidate = _with_widths(repaired, {**wide, **lower})
            if within_budget(summarize(_plan(candidate, images)), budget):
                return candidate if candidate != model else None
    return None


def widen(model: ModelConf, budget: BudgetConf, images: ImageFacts) -> ModelConf:
    """Return the model with every width times one factor, at most `WIDEST`, as large as the budget allows."""
    low, high = 1.0, WIDEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fits = within_budget(summarize(_plan(scaled(model, middle), images)), budget)
        low, high = (middle, high) if fits else (low, middle)
    return scaled(model, low)


def _plan(model: ModelConf, images: ImageFacts) -> Plan:
    return make_plan(model, input_shape=images.shape, classes=images.classes)


def _with_widths(model: ModelConf, widths: Mapping[str, int]) -> ModelConf:
    """Return the model with these channels, given by the names of convolutions."""
    groups = {
        name: replace(group, channels=[widths[f"{name}.{index}"] for index in range(len(group.channels))])
        for name, group in model.groups.items()
    }
    return replace(model, groups=groups)


def _with_dropout(model: ModelConf, dropout: Mapping[str, float]) -> ModelConf:
    """Return the model with these dropout probabilities, given by group."""
    groups = {
        name: replace(group, dropout=dropout[name]) if name in dropout else group
        for name, group in model.groups.items()
    }
    return replace(model, groups=groups, dropout=dropout.get(MODEL_WIDE, model.dropout))

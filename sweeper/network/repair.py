"""Changes a model config to remove the weaknesses that diagnosis finds, or to widen the network up to its budget.

The width of a convolution is its number of output channels.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sweeper.config.model import ModelConf
from sweeper.config.schema import BudgetConf
from sweeper.errors import ConfigError
from sweeper.network.budget import scaled, within_budget
from sweeper.network.diagnosis import diagnose
from sweeper.network.plan import Plan, make_plan
from sweeper.network.summary import summarize

WIDENED_BY: Final = {"erased_signal", "bottleneck"}
"""Rules of `sweeper.network.diagnosis` whose fix is more channels in the layers they name."""
PERCENT: Final = 100
"""The other widths are narrowed in steps of one percent until the budget holds."""
MODEL_WIDE: Final = ""
"""Stands for a group's name in `Bounds.least_dropout`: the model-wide value, which groups without their own inherit."""
WIDEST: Final = 2.0
"""`widen` multiplies widths by at most this factor."""
WIDTH_REACH: Final = 12
"""Every width may grow to this many channels, even if that more than doubles it: else a bottleneck could remain one."""
BISECTIONS: Final = 20
"""Steps of the search for the largest factor within the budget: more than a width has binary digits."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """The facts of the dataset that planning and diagnosis need."""

    shape: tuple[int, int, int]
    """Channels, height, width."""
    classes: int
    majority_share: float
    """Accuracy of always guessing the most frequent class, a fraction."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The values that `repair` may change, and their limits; all others stay as they are."""

    widths: Mapping[str, tuple[int, int]]
    """Least and greatest width, by its override key: ``model.groups.block1.channels.0``."""
    least_dropout: Mapping[str, float]
    """Least dropout probability, by the group's name; `MODEL_WIDE` stands for the model-wide value."""


def width_bounds(plan: Plan) -> dict[str, tuple[int, int]]:
    """Return the least and greatest width to try for each convolution, by its override key.

    The least is half its own width, the greatest twice its own or `WIDTH_REACH`, whichever is more.
    """
    return {
        key: (max(1, width // 2), max(2 * width, WIDTH_REACH))
        for layer in plan.layers
        for key, width in layer.widths.items()
    }


def repair(model: ModelConf, budget: BudgetConf, bounds: Bounds, images: ImageFacts) -> ModelConf | None:
    """Return the model without its bottlenecks and erased signal, as far as the bounds allow, within the budget.

    Layers that a finding names get their greatest width. If dropout erases the signal, dropout falls to its least. The
    other widths are then narrowed by one factor until the budget holds; if that is not enough, all widths are.

    Returns None if nothing changes or if even the narrowest network exceeds the budget. Raises `ConfigError` for a
    model with a layer that does not fit its input.
    """
    plan = _plan(model, images)
    summary = summarize(plan)
    findings = [
        finding
        for finding in diagnose(plan, summary, majority_share=images.majority_share)
        if finding.rule in WIDENED_BY
    ]
    named = {name for finding in findings for name in finding.layers}
    widths = {key: width for layer in plan.layers for key, width in layer.widths.items()}
    adjustable = [(layer.name, key) for layer in plan.layers for key in layer.widths if key in bounds.widths]
    widened = [key for name, key in adjustable if name in named]
    others = [key for name, key in adjustable if name not in named]
    wide = {**widths, **{key: bounds.widths[key][1] for key in widened}}
    if any(finding.rule == "erased_signal" for finding in findings):
        repaired = _with_dropout(model, bounds.least_dropout)
    else:
        repaired = model
    for narrowed in (others, others + widened):
        for percent in range(PERCENT, 0, -1):
            lower = {key: max(bounds.widths[key][0], wide[key] * percent // PERCENT) for key in narrowed}
            candidate = _with_widths(repaired, {**wide, **lower})
            if _fits(candidate, budget, images):
                return candidate if candidate != model else None
    return None


def widen(model: ModelConf, budget: BudgetConf, images: ImageFacts) -> ModelConf:
    """Return the model with all widths multiplied by the largest factor, at most `WIDEST`, that the budget allows.

    A model that is over budget is returned unchanged. Raises `ConfigError` as `repair` does.
    """
    low, high = 1.0, WIDEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fits = within_budget(summarize(_plan(scaled(model, middle), images)), budget)
        low, high = (middle, high) if fits else (low, middle)
    return scaled(model, low)


def narrow(model: ModelConf, budget: BudgetConf, images: ImageFacts, *, kept: Container[str] = ()) -> ModelConf | None:
    """Return the model with all widths but those `kept` multiplied by the largest factor up to 1 that the budget allows.

    `kept` has override keys of widths. Returns None if the budget does not even allow one channel for each of the others,
    or if the model has a layer that does not fit its input.
    """

    def at(factor: float) -> ModelConf:
        widths = {key: max(1, int(width * factor)) for key, width in channels.items() if key not in kept}
        return _with_widths(model, widths)

    channels = {
        f"model.groups.{name}.channels.{index}": width
        for name, group in model.groups.items()
        for index, width in enumerate(group.channels)
    }
    if _fits(model, budget, images):
        return model
    low, high = 0.0, 1.0
    if not _fits(at(low), budget, images):
        return None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _fits(at(middle), budget, images) else (low, middle)
    return at(low)


def _plan(model: ModelConf, images: ImageFacts) -> Plan:
    return make_plan(model, input_shape=images.shape, classes=images.classes)


def _fits(model: ModelConf, budget: BudgetConf, images: ImageFacts) -> bool:
    try:
        return within_budget(summarize(_plan(model, images)), budget)
    except ConfigError:  # the other widths leave a group with residual=true no convolution for a shortcut
        return False


def _with_widths(model: ModelConf, widths: Mapping[str, int]) -> ModelConf:
    """Return the model with these widths, given by override key; others are kept."""
    groups = {
        name: replace(
            group,
            channels=[
                widths.get(f"model.groups.{name}.channels.{index}", width) for index, width in enumerate(group.channels)
            ],
        )
        for name, group in model.groups.items()
    }
    return replace(model, groups=groups)


def _with_dropout(model: ModelConf, dropout: Mapping[str, float]) -> ModelConf:
    """Return the model with these dropout probabilities, given by group or `MODEL_WIDE`; others are kept."""
    groups = {
        name: replace(group, dropout=dropout[name]) if name in dropout else group
        for name, group in model.groups.items()
    }
    return replace(model, groups=groups, dropout=dropout.get(MODEL_WIDE, model.dropout))

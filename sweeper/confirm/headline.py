"""What a confirmation says, in the same words in the terminal and on a page: the result first, then what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sweeper.confirm.record import Confirmation
from sweeper.data.catalogue import DATASETS
from sweeper.shell import sweeper_command
from sweeper.study.commands import Command
from sweeper.terminal.formats import counted, percent, points

COLUMNS: Final = ("config", "parameters", "test mean", "sd", "95 % interval", "P(target)", "validation")
"""The columns of the table of configs."""
DROPPED: Final = ("sd", "validation", "parameters", "P(target)", "95 % interval")
"""The columns to leave out in a narrow terminal, the first to go first."""
HELP: Final = (
    "Mean and standard deviation of the test accuracy over seeds that the search never used, each network trained on all "
    "training images. The 95 % interval of the mean covers other seeds, on these test images. P(target) is the probability "
    "that one more seed reaches the target. Validation is the accuracy that the search measured."
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A confirmation in words."""

    lead: str
    """For example ``Target met by 0.45 points on average over 5 seeds.``"""
    details: str
    """Interval, probability, selection bias, the second best, and how often the test set was opened."""
    tone: Literal["met", "missed"]
    commands: list[Command]


def headline(record: Confirmation, *, subject: list[str]) -> Headline:
    """Return what a confirmation says; `subject` has the arguments of `confirm` that name the study or the runs."""
    best = record.best
    gap = best["mean"] - best["target"]
    over = "with 1 seed" if len(best["seeds"]) == 1 else f"on average over {len(best['seeds'])} seeds"
    low, high = best["ci95"]
    near = ", within noise" if gap and low <= best["target"] <= high else ""
    by = f" by {points(abs(gap))}" if gap else " exactly"
    return Headline(
        lead=f"Target {'met' if gap >= 0 else 'missed'}{by} {over}{near}.",
        details=" ".join([_best(best), *_bias(best), *_second(record), *_caution(record), _openings(record)]),
        tone="met" if gap >= 0 else "missed",
        commands=[_more_seeds(record, subject)],
    )


def row(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a config's cells of the table, one for each of `COLUMNS`."""
    probability = configuration.get("probability_of_target")
    return (
        title(configuration),
        f"{configuration['parameters']:,}",
        percent(configuration["mean"]),
        "" if configuration.get("sd") is None else f"{configuration['sd'] * 100:.2f}",
        interval(configuration["ci95"]),
        "" if probability is None else _chance(probability),
        percent(configuration["val_accuracy"]),
    )


def title(configuration: Mapping[str, Any]) -> str:
    """Return a config's name for display: ``trial 7``."""
    trial = configuration.get("trial")
    return configuration["name"] if trial is None else f"trial {trial}"


def interval(bounds: list[float]) -> str:
    """Return an interval of accuracies.

    >>> interval([0.9938, 0.9952])
    '99.38–99.52 %'
    """
    return f"{percent(bounds[0]).removesuffix(' %')}–{percent(bounds[1])}"


def _best(best: Mapping[str, Any]) -> str:
    spread = "" if best.get("sd") is None else f" ± {best['sd'] * 100:.2f}"
    of = f"{counted(best['test_images'], 'test image')}, 95 % interval {interval(best['ci95'])}"
    both = interval(best.get("ci95_new_images", best["ci95"]))
    others = "" if both == interval(best["ci95"]) else f", on other images {both}"
    chance = best.get("probability_of_target")
    reach = (
        "" if chance is None else f"; another seed reaches {percent(best['target'])} with probability {_chance(chance)}"
    )
    named = f"{title(best)}, {best['parameters']:,} parameters"
    return f"Best: {named}, {percent(best['mean']).removesuffix(' %')}{spread} % ({of}{others}){reach}."


def _chance(probability: float) -> str:
    return percent(probability, 0) if 0.01 <= probability <= 0.99 else percent(probability, 1)


def _bias(best: Mapping[str, Any]) -> list[str]:
    bias, bounds = best.get("selection_bias"), best.get("selection_bias_ci95")
    if bias is None or not bounds:
        return []
    noise = "within noise" if bounds[0] <= 0 <= bounds[1] else "beyond noise"
    promised = f"Validation had promised {percent(best['val_accuracy'])}"
    if not bias:
        return [f"{promised}, which holds."]
    return [f"{promised}: {points(abs(bias))} too {'much' if bias > 0 else 'little'}, {noise}."]


def _second(record: Confirmation) -> list[str]:
    found = record.comparison
    if found is None:
        return []
    other = next(each for each in record.configurations if each["name"] == found["runner_up"])
    gap, best = found["difference"], record.best
    is_above = f"is {points(gap)} above {title(other)}" if gap else f"equals {title(other)}"
    if found["beyond_noise"]:
        return [f"It {is_above}, beyond noise."]
    # A smaller one that misses a target which the best one meets is no substitute.
    is_enough = other["mean"] >= other["target"] or best["mean"] < best["target"]
    is_smaller = other["parameters"] < best["parameters"]
    suggestion = f"; {title(other)} is smaller: take it" if is_smaller and is_enough else ""
    return [f"It {is_above}{', within noise' if gap else ''}{suggestion}."]


def _caution(record: Confirmation) -> list[str]:
    """Say if the test set has chosen: then the mean of the best is a little optimistic."""
    failed = [each for each in record.configurations if each.get("failed_seeds")]
    said = [
        f"With {counted(len(each['failed_seeds']), 'seed')} {title(each)} failed, which its mean leaves out."
        for each in failed
    ]
    promised = max(record.configurations, key=lambda each: each["val_accuracy"])
    if len(record.configurations) > 1 and promised["val_accuracy"] > record.best["val_accuracy"]:
        said.append(
            f"Validation preferred {title(promised)}: that {title(record.best)} is best was chosen on the test set, so its "
            "mean is a little optimistic."
        )
    return said


def _openings(record: Confirmation) -> str:
    own = f"{record.test_openings:,} time{'' if record.test_openings == 1 else 's'}"
    whose = "this study" if record.study is not None else "this confirmation"
    name = DATASETS[record.dataset].title if record.dataset in DATASETS else record.dataset
    return f"The test set of {name} was opened {own} for {whose}, {record.test_openings_in_all:,} in all."


def _more_seeds(record: Confirmation, subject: list[str]) -> Command:
    seeds = 2 * max(len(each["seeds"]) for each in record.configurations)
    selection = [] if record.study is None else ["--top", str(len(record.configurations))]
    if "--pareto" in record.command.split():  # as many of the best trials are others than the front's
        selection = ["--pareto"]
    text = sweeper_command("confirm", *subject, *selection, "--seeds", str(seeds))
    return Command(label="more seeds", text=text)

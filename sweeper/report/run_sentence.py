"""Decides the sentence that a run's page and its report begin with: the result first, then what it was measured with."""

from dataclasses import dataclass
from typing import Literal

from sweeper.data.catalogue import DATASETS
from sweeper.report.ending import ending_lead, ending_reason, epochs_trained
from sweeper.report.noise import noise
from sweeper.report.record import RunRecord
from sweeper.terminal.formats import counted, duration, percent, plus_minus, points

Tone = Literal["met", "missed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class RunSentence:
    """A run's result."""

    lead: str
    """For example ``Target missed by 1.40 points.``"""
    details: str
    """Accuracy with its noise, best epoch, cost, time, dataset and seed; for a stopped run why it stopped, too."""
    tone: Tone


def run_sentence(record: RunRecord) -> RunSentence:
    """Return a run's result in one sentence."""
    details = f"{', '.join(_facts(record))}."
    if record.result is None:
        return RunSentence(lead=ending_lead(record), details=f"{details} {ending_reason(record)}", tone="interrupted")
    gap = record.value - record.conf.target
    is_met = gap >= 0
    by = f" by {points(abs(gap))}" if gap else " exactly"
    within = ", within noise" if 0 < abs(gap) <= noise(record) else ""
    return RunSentence(
        lead=f"Target {'met' if is_met else 'missed'}{by}{within}.",
        details=details,
        tone="met" if is_met else "missed",
    )


def seconds(record: RunRecord) -> float:
    """Return a run's duration in seconds, or if it has no result that of its epochs."""
    return sum(epoch.seconds for epoch in record.epochs) if record.result is None else record.result.seconds


def dataset_title(name: str) -> str:
    """Return a dataset's name for display, without a comma: it stands in a list."""
    return DATASETS.facts(name).title.replace(",", "", 1)


def _facts(record: RunRecord) -> list[str]:
    short = ""
    if record.result is None and record.value < record.conf.target:
        short = f", {points(record.conf.target - record.value)} short of the target"
    sample = f"({counted(record.images, 'image')}, {plus_minus(noise(record))})"
    facts = [f"{percent(record.value)} {record.evaluated_on} accuracy {sample}{short}"]
    if len(record.epochs) > 1:
        is_last = record.best is record.epochs[-1]
        facts.append("the last epoch is the best" if is_last else f"best epoch {percent(record.best.val_accuracy)}")
    for limit, count, unit in (
        (record.conf.budget.parameters, record.design.summary.parameters, "parameters"),
        (record.conf.budget.macs, record.design.summary.macs, "MACs"),
    ):
        if limit is not None:
            facts.append(f"{count:,} of {limit:,} {unit}")
        elif unit == "parameters":
            facts.append(f"{count:,} {unit}")
    facts += [epochs_trained(record)] if record.result is not None else []
    return [*facts, duration(seconds(record)), dataset_title(record.conf.data.name), f"seed {record.conf.seed}"]

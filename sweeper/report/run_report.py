"""A run's report: target, result, analysis and next command, as `report.md` and as data for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.data.catalogue import DATASETS
from sweeper.report.analysis import Observation, next_command, observe
from sweeper.report.markdown import fenced, plain
from sweeper.report.png_figures import plot_confusion, plot_curves
from sweeper.report.record import RunRecord, find_baseline, read_run
from sweeper.report.run_command import differences
from sweeper.run.folder import RunFolder
from sweeper.terminal.network_table import LAYER_COLUMNS, layer_rows


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The content of a run's report, before it becomes Markdown or a page."""

    record: RunRecord
    target: str
    """Target accuracy, dataset, budget and epochs, in one sentence."""
    baseline: str
    """The baseline's name."""
    changes: list[tuple[str, str, str]]
    """Config keys that differ from the baseline: key, its value, this run's value."""
    rows: list[tuple[str, str]]
    """Measurements: name and value."""
    plan: list[str]
    """The diagnosis of the network's plan, one finding each."""
    observations: list[Observation]
    next: str
    """The command to try next."""


def write_report(folder: Path) -> RunReport:
    """Write a run's report and its PNG figures into its folder. Raises the errors of `read_run`, and OSError."""
    report = make_report(read_run(folder))
    record, files = report.record, RunFolder(folder)
    plot_curves(record, files.curves)
    if record.mistakes is not None:
        plot_confusion(record.mistakes, files.confusion, evaluated_on=record.evaluated_on)
    files.write_report(as_markdown(report))
    return report


def write_partial_report(folder: Path) -> None:
    """Write the report of a run that stopped early, if it completed an epoch. Raises the errors of `write_report`."""
    files = RunFolder(folder)
    if files.metrics.exists() and files.read_epochs():
        write_report(folder)


def make_report(record: RunRecord) -> RunReport:
    """Compare a run with its baseline and apply the rules of `analysis`."""
    baseline = find_baseline(record)
    changed = differences([baseline.conf, record.conf])
    observations = observe(record, baseline)
    conf = record.conf
    facts = DATASETS.facts(conf.data.name)
    limits = [
        f"{limit:,} {unit}"
        for limit, unit in ((conf.budget.parameters, "parameters"), (conf.budget.macs, "MACs"))
        if limit is not None
    ]
    within = f" with at most {' and '.join(limits)}" if limits else ""
    return RunReport(
        record=record,
        target=f"{conf.target:.2%} {record.evaluated_on} accuracy on {facts.title}{within}, "
        f"in {conf.training.epochs} epoch{'s' if conf.training.epochs != 1 else ''}.",
        baseline=baseline.name,
        changes=[(key, format_value(before), format_value(now)) for key, (before, now) in changed.items()],
        rows=list(_rows(record)),
        plan=[f"{finding.rule.replace('_', ' ')}: {finding.message}" for finding in record.design.findings],
        observations=observations,
        next=next_command(record, observations),
    )


def as_markdown(report: RunReport) -> str:
    """Return the report as Markdown. Everything from a config or the command line is escaped."""
    record = report.record
    lines = [f"# {plain(record.folder.name)}", "", "## Target", "", plain(report.target), ""]
    if report.changes:
        lines += [f"Changes from {report.baseline}:", "", *_table(("key", report.baseline, "this run"), report.changes)]
    else:
        lines += [f"Nothing differs from {report.baseline}."]
    lines += ["", "## Result", "", *_table(("", ""), report.rows, align=":-"), ""]
    lines += ["![Loss, accuracy and learning rate by epoch](curves.png)", ""]
    if record.mistakes is not None:
        lines += ["![Confusion matrix](confusion.png)", ""]
    lines += _table(LAYER_COLUMNS, layer_rows(record.design))
    lines += ["", *(f"- {plain(sentence)}" for sentence in report.plan)]
    lines += ["", "## Analysis", ""]
    if not report.observations:
        lines += ["No rule found a problem.", ""]
    for observation in report.observations:
        lines += [f"**{observation.rule.replace('_', ' ')}.** {plain(observation.text)}", ""]
        lines += [fenced(observation.command, "sh"), ""]
    lines += ["## Next", "", fenced(report.next, "sh")]
    return "\n".join(lines) + "\n"


def format_value(value: Any) -> str:
    """Return a config value as readable text."""
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(record: RunRecord) -> list[tuple[str, str]]:
    last, result = record.epochs[-1], record.result
    rows = []
    if result is None:
        epochs = f"{len(record.epochs)} of {record.conf.training.epochs} epochs"
        rows += [("ended", f"after {epochs}: pruned, stopped, diverged or still running")]
    else:
        met = "met" if record.value >= record.conf.target else "missed"
        rows += [("target", f"{met}: {record.value:.2%} of {record.conf.target:.2%}")]
    rows += [
        (f"last {record.evaluated_on} accuracy", f"{record.value:.2%}"),
        (f"best {record.evaluated_on} accuracy", f"{record.best.val_accuracy:.2%} in epoch {record.best.epoch}"),
        ("training accuracy, dropout on", f"{last.train_accuracy:.2%}"),
    ]
    if result is not None:
        rows += [("training accuracy, dropout off", f"{result.train_accuracy_eval:.2%}")]
    limit = record.conf.budget.parameters
    allowed = "" if limit is None else f" of {limit:,} allowed"
    rows += [
        ("parameters", f"{record.design.summary.parameters:,}{allowed}"),
        ("MACs", f"{record.design.summary.macs:,}"),
    ]
    rows += [("receptive field", f"{record.design.summary.layers[-2].receptive_field} pixels before the head")]
    seconds = sum(epoch.seconds for epoch in record.epochs) if result is None else result.seconds
    rows += [("time", f"{seconds:.1f} s for {len(record.epochs)} epoch{'s' if len(record.epochs) != 1 else ''}")]
    if result is not None:
        data = result.data
        test = "the test set was used for validation" if data.validation_is_test else "the test set was not opened"
        machine = f"{result.device} {result.precision}, {result.threads} thread{'s' if result.threads != 1 else ''}"
        versions = f"torch {result.versions.torch}, sweeper {result.versions.sweeper}"
        rows += [
            ("images", f"{data.train_images:,} for training, {data.validation_images:,} for validation; {test}"),
            ("machine", f"{machine}, {versions}"),
        ]
    return [*rows, ("seed", str(record.conf.seed))]


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], align: str = "-") -> list[str]:
    return [
        f"| {' | '.join(plain(title) for title in titles)} |",
        f"|{'|'.join(align for _ in titles)}|",
        *(f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows),
    ]

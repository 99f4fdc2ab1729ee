"""A run's *target, result, analysis*, written by the program: `report.md` and the drawings beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.data.catalogue import DATASETS
from sweeper.report.analysis import Observation, analyse, next_command
from sweeper.report.markdown import fenced, plain
from sweeper.report.png_figures import plot_confusion, plot_curves
from sweeper.report.record import RunRecord, baseline, differences, read_run
from sweeper.run.folder import RunFolder
from sweeper.terminal.network_table import LAYER_COLUMNS, layer_rows


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What is said of a run, before it is Markdown or a page."""

    record: RunRecord
    target: str
    """What was wanted, a sentence."""
    against: str
    """What the run is held against."""
    changes: list[tuple[str, str, str]]
    """Key, value there, value here."""
    rows: list[tuple[str, str]]
    """What was measured, by name."""
    plan: list[str]
    """What the plan alone shows, a sentence or two each."""
    observations: list[Observation]
    next: str
    """The command to try next."""


def write_report(folder: Path) -> RunReport:
    """Write a run's report and drawings into its folder. Raises what `read_run` raises, and OSError."""
    written = make_report(read_run(folder))
    record, files = written.record, RunFolder(folder)
    plot_curves(record, files.curves)
    if record.mistakes is not None:
        plot_confusion(record.mistakes, files.confusion, of=record.judges)
    files.write_report(as_markdown(written))
    return written


def write_partial_report(folder: Path) -> None:
    """Write up a run that was cut short, unless that was before its first epoch's end."""
    files = RunFolder(folder)
    if files.metrics.exists() and files.read_epochs():
        write_report(folder)


def make_report(record: RunRecord) -> RunReport:
    """Compare, measure, analyse."""
    held_against = baseline(record)
    changed = differences([held_against.conf, record.conf])
    observations = analyse(record, held_against)
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
        target=f"{conf.target:.2%} {record.judges} accuracy on {facts.title}{within}, "
        f"in {conf.training.epochs} epoch{'s' if conf.training.epochs != 1 else ''}.",
        against=held_against.name,
        changes=[(key, shown(there), shown(here)) for key, (there, here) in changed.items()],
        rows=list(_rows(record)),
        plan=[f"{finding.rule.replace('_', ' ')}: {finding.message}" for finding in record.design.findings],
        observations=observations,
        next=next_command(record, observations),
    )


def as_markdown(written: RunReport) -> str:
    """Return the report. Whatever came from a config or the command line is escaped."""
    record = written.record
    lines = [f"# {plain(record.folder.name)}", "", "## Target", "", plain(written.target), ""]
    if written.changes:
        lines += [f"Changed against {written.against}:", "", *_table(("key", written.against, "here"), written.changes)]
    else:
        lines += [f"Nothing is changed against {written.against}."]
    lines += ["", "## Result", "", *_table(("", ""), written.rows, align=":-"), ""]
    lines += ["![Loss, accuracy and learning rate by epoch](curves.png)", ""]
    if record.mistakes is not None:
        lines += ["![What was taken for what](confusion.png)", ""]
    lines += _table(LAYER_COLUMNS, layer_rows(record.design))
    lines += ["", *(f"- {plain(sentence)}" for sentence in written.plan)]
    lines += ["", "## Analysis", ""]
    if not written.observations:
        lines += ["Nothing to object to.", ""]
    for observation in written.observations:
        lines += [f"**{observation.rule.replace('_', ' ')}.** {plain(observation.text)}", ""]
        lines += [fenced(observation.command, "sh"), ""]
    lines += ["## Next", "", fenced(written.next, "sh")]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Return a config's value in words."""
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(record: RunRecord) -> list[tuple[str, str]]:
    last, result = record.epochs[-1], record.result
    rows = []
    if result is None:
        ended = f"after {len(record.epochs)} of {record.conf.training.epochs} epochs: pruned, stopped, diverged or still running"
        rows += [("ended", ended)]
    else:
        verdict = "met" if record.value >= record.conf.target else "missed"
        rows += [("target", f"{verdict}: {record.value:.2%} of {record.conf.target:.2%}")]
    rows += [
        (f"last {record.judges} accuracy", f"{record.value:.2%}"),
        (f"best {record.judges} accuracy", f"{record.best.val_accuracy:.2%} in epoch {record.best.epoch}"),
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
        sealed = "the test set judged" if data.validation_is_test else "the test set was not opened"
        machine = f"{result.device} {result.precision}, {result.threads} thread{'s' if result.threads != 1 else ''}"
        versions = f"torch {result.versions.torch}, sweeper {result.versions.sweeper}"
        rows += [
            ("images", f"{data.train_images:,} to train, {data.validation_images:,} to judge; {sealed}"),
            ("machine", f"{machine}, {versions}"),
        ]
    return [*rows, ("seed", str(record.conf.seed))]


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], align: str = "-") -> list[str]:
    return [
        f"| {' | '.join(plain(title) for title in titles)} |",
        f"|{'|'.join(align for _ in titles)}|",
        *(f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows),
    ]

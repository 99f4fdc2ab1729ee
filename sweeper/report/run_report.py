"""A run's report: result, analysis and next command, then the tables, as `report.md` and as data for a page."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.data.openings import count_openings
from sweeper.disk import disk_error
from sweeper.errors import RunFolderError
from sweeper.report.analysis import next_command, observe
from sweeper.report.ending import ending, epochs_done, epochs_trained
from sweeper.report.markdown import fenced, plain
from sweeper.report.noise import noise
from sweeper.report.observation import Observation
from sweeper.report.png_figures import plot_confusion, plot_curves
from sweeper.report.record import RunRecord, during_and_after, find_baseline, read_run, reproduce_command
from sweeper.report.run_command import differences
from sweeper.report.run_sentence import RunSentence, dataset_title, run_sentence, seconds
from sweeper.run.folder import RunFolder
from sweeper.shell import path_word, sweeper_command
from sweeper.study.executors.base import one_line
from sweeper.terminal.formats import counted, duration, percent, plus_minus
from sweeper.terminal.network_table import LAYER_COLUMNS, layer_rows


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The content of a run's report, before it becomes Markdown or a page."""

    record: RunRecord
    sentence: RunSentence
    """The result, with which the report begins."""
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
    again: str
    """The command that runs this again and compares the results."""
    left_out: str
    """What the commands leave out of the run's overrides, in one line; empty for nothing."""

    @property
    def analysis(self) -> list[tuple[Observation, str]]:
        """Each observation with its command, which is empty if the report shows it already: as `next`, or above."""
        shown = {self.next}
        pairs = []
        for observation in self.observations:
            pairs.append((observation, "" if observation.command in shown else observation.command))
            shown.add(observation.command)
        return pairs


def write_report(folder: Path) -> RunReport:
    """Write a run's report and its PNG figures into its folder. Raises the errors of `read_run`, and OSError."""
    report = make_report(read_run(folder))
    record, files = report.record, RunFolder(folder)
    plot_curves(record, files.curves)
    if record.mistakes is not None:
        plot_confusion(record.mistakes, files.confusion, evaluated_on=record.evaluated_on)
    files.write_report(as_markdown(report))
    return report


def try_to_write_report(folder: Path) -> tuple[str, str]:
    """Write the report of a completed run; return the command to try next, and a line that says why there is no report.

    One of them is empty. Whatever a figure raises, the run has its result, which nothing may hide.
    """
    try:
        return write_report(folder).next, ""
    except Exception as error:  # noqa: BLE001 - matplotlib may raise anything
        go_on = "run " + sweeper_command("report", path_word(folder))
        failure = disk_error(error, go_on=go_on)
        reason = str(failure) if failure is not None else f"{one_line(error)}: {go_on}"
        return "", f"the run is complete, but its report could not be written: {reason}"


def write_partial_report(folder: Path) -> None:
    """Write the report of a run that stopped early, if it completed an epoch; not where nothing can be written.

    The caller has an error to raise that says more.
    """
    files = RunFolder(folder)
    with suppress(OSError, RunFolderError):
        if files.metrics.exists() and files.read_epochs():
            write_report(folder)


def make_report(record: RunRecord) -> RunReport:
    """Compare a run with its baseline and apply the rules of `analysis`."""
    baseline = find_baseline(record)
    changed = differences([baseline.conf, record.conf])
    observations = observe(record, baseline)
    conf = record.conf
    limits = [
        f"{limit:,} {unit}"
        for limit, unit in ((conf.budget.parameters, "parameters"), (conf.budget.macs, "MACs"))
        if limit is not None
    ]
    within = f" with at most {' and '.join(limits)}" if limits else ""
    return RunReport(
        record=record,
        sentence=run_sentence(record),
        target=f"{percent(conf.target)} {record.evaluated_on} accuracy on {dataset_title(conf.data.name)}{within}, "
        f"in {counted(conf.training.epochs, 'epoch')}.",
        baseline=baseline.name,
        changes=[(key, format_value(before), format_value(now)) for key, (before, now) in changed.items()],
        rows=list(_rows(record)),
        plan=[f"{finding.rule.replace('_', ' ')}: {finding.message}" for finding in record.design.findings],
        observations=observations,
        next=next_command(record, observations),
        again=reproduce_command(record.folder),
        left_out=record.composition.typed.sentence,
    )


def as_markdown(report: RunReport) -> str:
    """Return the report as Markdown. Everything from a config or the command line is escaped."""
    record, sentence = report.record, report.sentence
    lines = [f"# {plain(record.name)}", "", f"**{plain(sentence.lead)}** {plain(sentence.details)}", ""]
    lines += ["## Analysis", ""]
    if not report.observations:
        lines += [nothing_found(record), ""]
    for observation, command in report.analysis:
        lines += [f"**{observation.rule.replace('_', ' ').capitalize()}.** {plain(observation.text)}", ""]
        lines += [fenced(command, "sh"), ""] if command else []
    lines += ["## Next", "", fenced(report.next, "sh"), ""]
    lines += [plain(report.left_out), ""] if report.left_out else []
    lines += ["Run it again and compare every bit:", "", fenced(report.again, "sh"), ""]
    lines += ["## Target", "", plain(report.target), ""]
    if report.changes:
        lines += [f"Changes from {report.baseline}:", "", *_table(("key", report.baseline, "this run"), report.changes)]
    else:
        lines += [f"Nothing differs from {report.baseline}."]
    lines += ["", "## Result", "", *_table(("measurement", "value"), report.rows, align=":-"), ""]
    lines += ["![Loss, accuracy and learning rate by epoch](curves.png)", ""]
    if record.mistakes is not None:
        lines += ["![Confusion matrix](confusion.png)", ""]
    lines += ["## Network", "", *_table(LAYER_COLUMNS, layer_rows(record.design))]
    lines += ["", *(f"- {plain(sentence)}" for sentence in report.plan)] if report.plan else []
    return "\n".join(lines) + "\n"


def nothing_found(record: RunRecord) -> str:
    """Return the sentence for a run without an observation."""
    return (
        "No rule found a problem." if record.result is not None else "The rules need a run that reached its last epoch."
    )


def format_value(value: Any) -> str:
    """Return a config value as readable text."""
    return "none" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _rows(record: RunRecord) -> list[tuple[str, str]]:
    last, result = record.epochs[-1], record.result
    during, after = during_and_after(has_dropout=record.has_dropout)
    rows = []
    if result is None:
        rows += [
            ("stopped after", f"{epochs_done(record)}: {ending(record) if record.ending else 'running or killed'}")
        ]
    else:
        met = "met" if record.value >= record.conf.target else "missed"
        rows += [("target", f"{met}: {percent(record.value)} of {percent(record.conf.target)}")]
    sample = f"{plus_minus(noise(record))} points (95 %, {counted(record.images, 'image')})"
    best = f"{percent(record.best.val_accuracy)} in epoch {record.best.epoch}"
    rows += [
        (f"last {record.evaluated_on} accuracy", f"{percent(record.value)} {sample}"),
        (f"best {record.evaluated_on} accuracy", best),
        (f"training accuracy, {during}", percent(last.train_accuracy)),
    ]
    if result is not None:
        rows += [(f"training accuracy, {after}", percent(result.train_accuracy_eval))]
    limit = record.conf.budget.parameters
    allowed = "" if limit is None else f" of {limit:,} allowed"
    rows += [
        ("parameters", f"{record.design.summary.parameters:,}{allowed}"),
        ("MACs", f"{record.design.summary.macs:,}"),
    ]
    rows += [("receptive field", f"{record.design.summary.layers[-2].receptive_field} pixels before the head")]
    rows += [("time", f"{duration(seconds(record))} for {epochs_trained(record)}")]
    if result is not None:
        data = result.data
        test = "the test set was used for validation" if data.validation_is_test else "the test set was not opened"
        machine = f"{result.device} {result.precision}, {counted(result.threads, 'thread')}"
        versions = f"torch {result.versions.torch}, sweeper {result.versions.sweeper}"
        rows += [
            ("images", f"{data.train_images:,} for training, {data.validation_images:,} for validation; {test}"),
            ("machine", f"{machine}, {versions}"),
        ]
    openings = count_openings(record.folder, record.conf.data.name)
    return [*rows, ("test set", openings.describe("run")), ("seed", str(record.conf.seed))]


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], align: str = "-") -> list[str]:
    return [
        f"| {' | '.join(plain(title) for title in titles)} |",
        f"|{'|'.join(align for _ in titles)}|",
        *(f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows),
    ]

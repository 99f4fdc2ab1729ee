"""The notes of a study and of a trial, in Markdown; text from the study is escaped."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.reading.locations import lookup, read_yaml
from sweeper.report.markdown import code, fenced, plain
from sweeper.report.record import reproduce_command
from sweeper.search.space import describe, read_space
from sweeper.shell import join
from sweeper.study.attributes import (
    DUPLICATE,
    FAILED,
    MACS,
    PARAMETERS,
    PRUNED,
    RECEPTIVE_FIELD,
    REJECTED,
    REQUEUED,
    RETRY,
)
from sweeper.study.commands import repeated_arguments, saved_program
from sweeper.study.folder import StudyFolder, trial_folder
from sweeper.study.goal import Goal
from sweeper.study.headline import Headline, study_headline
from sweeper.study.optuna_private import queued_params
from sweeper.study.restoring import describe_elsewhere, elsewhere
from sweeper.terminal.console import display_path
from sweeper.terminal.formats import percent


def trial_note(trial: FrozenTrial, folder: Path | None, *, report: str | None = None) -> str:
    """Return a trial's note in Markdown.

    `folder` is the study's folder, None if it has none on this machine; `report` is the URL of the trial's report, None
    if it has none.
    """
    attrs = trial.user_attrs
    lines: list[str] = []
    run = trial_folder(folder, trial) if folder else None
    if DUPLICATE in attrs:
        lines.append(
            f"Repeats trial {code(attrs[DUPLICATE])}: the config is the same, so value and files are that trial's."
        )
    lines += _how_it_ended(trial)
    costs = _costs(attrs)
    if costs:
        lines.append(" · ".join(costs))
    if report is not None:
        lines.append(f"[The trial's report: analysis, epochs and figures]({report})")
    if run is not None and run.path.is_dir():
        lines.append(f"Folder: {code(display_path(run.path))}")
        is_ours = PARAMETERS in attrs or report is not None  # another Hydra application has neither
        if is_ours and run.config.exists():
            lines.append(f"Run it again: {_reproduce(run.path)}")
        place = elsewhere(run)
        if place:
            lines.append(f"Weights and figures: {code(place)}")
    params = trial.params or queued_params(trial)
    if params:
        lines.append(fenced("\n".join(f"{key}={value}" for key, value in params.items())))
    return "\n\n".join(lines)


def study_note(
    name: str,
    folder: Path | None,
    *,
    headline: Headline | None = None,
    page: str | None = None,
    numbers: Collection[int] = (),
) -> str:
    """Return a study's note in Markdown: its headline and commands, a link to its page, search space and folder.

    `page` is the URL of the study's page; None if it has none. `numbers` are those of its trials.
    """
    lines = []
    if headline is not None:
        lines.append(f"**{plain(headline.sentence)}** {_without_links(headline.details)}")
        lines += [f"{command.label.capitalize()}: {code(command.text)}" for command in headline.commands]
    if page is not None:
        lines.append(f"[The study's page: figures, and a table of all trials]({page})")
    if folder is None or not folder.is_dir():
        lines.append(f"Study {code(name)} has no folder on this machine, so its trials' files are not shown.")
        return "\n\n".join(lines)
    files = StudyFolder(folder)
    search, sweep = read_yaml(files.search), read_yaml(files.multirun)
    target = lookup(search, "base", "target")
    if isinstance(target, int | float):
        lines.append(f"Target: {percent(target)}")
    searched = read_space(search)
    if searched:
        ranges = "\n".join(f"{key}: {describe(distribution)}" for key, distribution in searched.items())
        lines.append("Search space:\n\n" + fenced(ranges))
    lines.append(f"Folder: {code(display_path(folder))}")
    others = describe_elsewhere(folder, numbers)
    if others:
        lines.append(_without_links(others))
    arguments = repeated_arguments(sweep, folder)
    program = saved_program(sweep, folder)
    if (
        program and arguments.kept and lookup(search, "base")
    ):  # another Hydra application has another program, and no base
        total = "." if lookup(search, "grid") else "; hydra.sweeper.n\\_trials is its total number of trials."
        command = code(join([*program, "-m", *arguments.kept]))
        lines.append(f"Searched with {command}. The same command resumes the study{total}")
        if arguments.left_out:
            lines.append(_without_links(arguments.sentence))
    return "\n\n".join(lines)


def study_headline_of(
    trials: Sequence[FrozenTrial],
    goal: Goal | StudyDirection,
    folder: Path | None,
    *,
    lost: Collection[int] | None = None,
) -> Headline:
    """Return a study's headline from its trials and the files in its folder, if it has one."""
    files = StudyFolder(folder) if folder is not None and folder.is_dir() else None
    search, sweep = (read_yaml(files.search), read_yaml(files.multirun)) if files is not None else (None, None)
    return study_headline(
        trials, goal, folder=folder if files is not None else None, search=search, sweep=sweep, lost=lost
    )


def _reproduce(folder: Path) -> str:
    """Return the reproduce command as a code span, which wraps on a narrow page; a code block would not."""
    return code(reproduce_command(folder))


def _costs(attrs: Mapping[str, Any]) -> list[str]:
    """Return a network's costs and receptive field, one phrase each."""
    return [
        label.format(f"{attrs[key]:,}")
        for key, label in (
            (PARAMETERS, "{} parameters"),
            (MACS, "{} MACs"),
            (RECEPTIVE_FIELD, "receptive field {0}×{0} before the head"),
        )
        if isinstance(attrs.get(key), int)
    ]


def _how_it_ended(trial: FrozenTrial) -> Iterator[str]:
    """Yield why a trial was rejected, pruned or failed, one paragraph each."""
    attrs = trial.user_attrs
    if REJECTED in attrs:
        yield f"Rejected, not run: {code(attrs[REJECTED])}"
    elif trial.state is TrialState.PRUNED and trial.last_step is not None:
        value = trial.intermediate_values[trial.last_step]
        is_run = PARAMETERS in attrs
        shown = f"{value:.4f}" if is_run else f"{value:.6g}"
        yield f"Pruned after {'epoch' if is_run else 'step'} {trial.last_step}, at {shown}."
    if PRUNED in attrs:
        yield f"Pruned by its own job: {code(attrs[PRUNED])}"
    if FAILED in attrs:
        again = ", retried as a new trial" if attrs.get(REQUEUED) else ""
        yield f"Failed{again}: {code(attrs[FAILED])}"
    if attrs.get(RETRY) is not None:
        yield f"A retry: this point failed {code(attrs[RETRY])} time(s) before."


def _without_links(text: str) -> str:
    """Return text for Markdown. A word that the dashboard would turn into a link, as in a failure's reason, is code."""
    return " ".join(code(word) if re.search(r"://|www\.|@", word) else plain(word) for word in text.split())

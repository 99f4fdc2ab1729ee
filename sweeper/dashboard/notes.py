"""The notes of a study and of a trial, in Markdown; text from the study is escaped."""

import shlex
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeper.reading.locations import lookup, read_yaml
from sweeper.report.markdown import code, fenced
from sweeper.report.record import reproduce_command
from sweeper.search.space import describe, read_space
from sweeper.study.attributes import (
    DUPLICATE,
    FAILED,
    MACS,
    PARAMETERS,
    RECEPTIVE_FIELD,
    REJECTED,
    REQUEUED,
    RETRY,
)
from sweeper.study.folder import StudyFolder, trial_folder
from sweeper.study.optuna_private import queued_params
from sweeper.terminal.console import display_path


def trial_note(trial: FrozenTrial, folder: Path | None) -> str:
    """Return a trial's note in Markdown; `folder` is the study's folder, None if it has none on this machine."""
    attrs = trial.user_attrs
    lines: list[str] = []
    run = trial_folder(folder, trial) if folder else None
    if DUPLICATE in attrs:
        lines.append(
            f"Repeats trial {code(attrs[DUPLICATE])}: the config is the same, so value and files are that trial's."
        )
    if REJECTED in attrs:
        lines.append(f"Rejected, not trained: {code(attrs[REJECTED])}")
    elif trial.state is TrialState.PRUNED and trial.last_step is not None:
        value = trial.intermediate_values[trial.last_step]
        lines.append(f"Pruned after epoch {trial.last_step}, at {value:.4f}.")
    if FAILED in attrs:
        again = ", retried as a new trial" if attrs.get(REQUEUED) else ""
        lines.append(f"Failed{again}: {code(attrs[FAILED])}")
    if attrs.get(RETRY) is not None:
        lines.append(f"A retry: this point failed {code(attrs[RETRY])} time(s) before.")
    costs = [
        label.format(f"{attrs[key]:,}")
        for key, label in (
            (PARAMETERS, "{} parameters"),
            (MACS, "{} MACs"),
            (RECEPTIVE_FIELD, "receptive field {0}×{0} before the head"),
        )
        if isinstance(attrs.get(key), int)
    ]
    if costs:
        lines.append(" · ".join(costs))
    if run is not None and run.path.is_dir():
        lines.append(f"Folder: {code(display_path(run.path))}")
        if run.config.exists():
            lines.append(f"Run it again: {_reproduce(run.path)}")
    params = trial.params or queued_params(trial)
    if params:
        lines.append(fenced("\n".join(f"{key}={value}" for key, value in params.items())))
    return "\n\n".join(lines)


def study_note(name: str, folder: Path | None) -> str:
    """Return a study's note in Markdown: target, search space, folder, and the commands to reproduce and resume."""
    if folder is None or not folder.is_dir():
        return f"Study {code(name)} has no folder on this machine, so its trials' files are not shown."
    files = StudyFolder(folder)
    search, sweep = read_yaml(files.search), read_yaml(files.multirun)
    lines = []
    target = lookup(search, "base", "target")
    if isinstance(target, int | float):
        lines.append(f"Target: {target:.2%}")
    searched = read_space(search)
    if searched:
        ranges = "\n".join(f"{key}: {describe(distribution)}" for key, distribution in searched.items())
        lines.append("Search space:\n\n" + fenced(ranges))
    lines.append(f"Folder: {code(display_path(folder))}")
    if files.best.is_dir():
        lines.append(f"Run the best trial again: {_reproduce(files.best)}")
    overrides = [
        *_strings(lookup(sweep, "hydra", "overrides", "task")),
        *_strings(lookup(sweep, "hydra", "overrides", "hydra")),
    ]
    if overrides:
        shown = [_without_password(override) for override in overrides if not override.startswith("hydra.mode=")]
        lines.append(
            f"Searched with {code(shlex.join(['python', '-m', 'sweeper', '-m', *shown]))}. The same command resumes "
            "the study; hydra.sweeper.n\\_trials is its total number of trials."
        )
    return "\n\n".join(lines)


def _reproduce(folder: Path) -> str:
    """Return the reproduce command as a code span, which wraps on a narrow page; a code block would not."""
    return code(reproduce_command(folder))


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _without_password(override: str) -> str:
    """Replace the value of a storage URL given in full: it may contain a password in more than one place."""
    key, _, value = override.partition("=")
    is_hidden = key == "hydra.sweeper.storage" and "${" not in value and "sqlite" not in value
    return f"{key}=URL" if is_hidden else override

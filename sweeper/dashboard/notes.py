"""What the notes of a study and of a trial say, in Markdown in which foreign text is never markup."""

import shlex
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeper.reading.locations import at, read_yaml
from sweeper.report.markdown import code, fenced
from sweeper.report.record import reproduce_command
from sweeper.run.folder import RunFolder
from sweeper.search.space import describe, read_space
from sweeper.study.folder import StudyFolder
from sweeper.study.trials import (
    DUPLICATE,
    FAILED,
    MACS,
    PARAMETERS,
    RECEPTIVE_FIELD,
    REJECTED,
    REQUEUED,
    RETRY,
)
from sweeper.terminal.console import display_path


def trial_note(trial: FrozenTrial, folder: Path | None) -> str:
    """Return a trial's note in Markdown; `folder` is its study's, None where it is not known."""
    attrs = trial.user_attrs
    lines: list[str] = []
    run = RunFolder(folder / str(folder_number(trial))) if folder else None
    if DUPLICATE in attrs:
        lines.append(f"Repeats trial {code(attrs[DUPLICATE])}: the same config, so it has its value and its files.")
    if REJECTED in attrs:
        lines.append(f"Rejected, not trained: {code(attrs[REJECTED])}")
    elif trial.state is TrialState.PRUNED and trial.last_step is not None:
        value = trial.intermediate_values[trial.last_step]
        lines.append(f"Pruned after epoch {trial.last_step}, at {value:.4f}.")
    if FAILED in attrs:
        again = ", tried again under a new number" if attrs.get(REQUEUED) else ""
        lines.append(f"Failed{again}: {code(attrs[FAILED])}")
    if attrs.get(RETRY) is not None:
        lines.append(f"A new try: this point failed {code(attrs[RETRY])} time(s) before.")
    costs = [
        f"{label.format(f'{attrs[key]:,}')}"
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
    params = trial.params or trial.system_attrs.get("fixed_params", {})
    if params:
        lines.append(fenced("\n".join(f"{key}={value}" for key, value in params.items())))
    return "\n\n".join(lines)


def study_note(name: str, folder: Path | None) -> str:
    """Return a study's note in Markdown: its target, what it searches, where it lies, how it goes on."""
    if folder is None or not folder.is_dir():
        return f"Study {code(name)}: its folder is not known here, so its trials' files are not shown."
    files = StudyFolder(folder)
    search, sweep = read_yaml(files.search), read_yaml(files.multirun)
    lines = []
    target = at(search, "base", "target")
    if isinstance(target, int | float):
        lines.append(f"Target: {target:.2%}")
    searched = read_space(search)
    if searched:
        words = "\n".join(f"{key}: {describe(distribution)}" for key, distribution in searched.items())
        lines.append("Searched:\n\n" + fenced(words))
    lines.append(f"Folder: {code(display_path(folder))}")
    if files.best.is_dir():
        lines.append(f"The best trial again: {_reproduce(files.best)}")
    typed = [*_strings(at(sweep, "hydra", "overrides", "task")), *_strings(at(sweep, "hydra", "overrides", "hydra"))]
    if typed:
        overrides = [_without_password(line) for line in typed if not line.startswith("hydra.mode=")]
        lines.append(
            f"Searched with {code(shlex.join(['python', '-m', 'sweeper', '-m', *overrides]))}. The same command goes on where "
            "the study stopped; hydra.sweeper.n\\_trials is the study's total."
        )
    return "\n\n".join(lines)


def _reproduce(folder: Path) -> str:
    """The command in a span, which a narrow page folds; a block would widen the page."""
    return code(reproduce_command(folder))


def folder_number(trial: FrozenTrial) -> int:
    """The number of the trial whose folder it is: one that repeats another has none of its own."""
    repeated = trial.user_attrs.get(DUPLICATE)
    return repeated if isinstance(repeated, int) and repeated >= 0 else trial.number


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _without_password(override: str) -> str:
    """Leave out a storage's URL that is written out, since it may hold a password, in more than one location."""
    key, _, value = override.partition("=")
    is_hidden = key == "hydra.sweeper.storage" and "${" not in value and "sqlite" not in value
    return f"{key}=URL" if is_hidden else override

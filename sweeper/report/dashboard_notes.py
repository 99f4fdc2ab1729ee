"""What the notes of a study and of a trial say, in Markdown in which foreign text is never markup."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeper.report.dashboard_places import at, read_yaml
from sweeper.run_folder import RunFolder
from sweeper.study.folder import StudyFolder
from sweeper.study.ledger import (
    DUPLICATE,
    FAILED,
    MACS,
    PARAMETERS,
    RECEPTIVE_FIELD,
    REJECTED,
    REQUEUED,
    RETRY,
)


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
            (RECEPTIVE_FIELD, "receptive field {0}×{0}"),
        )
        if isinstance(attrs.get(key), int)
    ]
    if costs:
        lines.append(" · ".join(costs))
    if run is not None and run.path.is_dir():
        lines.append(f"Folder: {code(short(run.path))}")
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
    space = at(search, "space")
    if isinstance(space, dict) and space:
        lines.append("Searched:\n\n" + fenced("\n".join(_searched(space))))
    lines.append(f"Folder: {code(short(folder))}")
    if files.best.is_dir():
        lines.append(f"The best trial again: {_reproduce(files.best)}")
    typed = [*_strings(at(sweep, "hydra", "overrides", "task")), *_strings(at(sweep, "hydra", "overrides", "hydra"))]
    if typed:
        overrides = [_without_password(line) for line in typed if not line.startswith("hydra.mode=")]
        lines.append(f"Go on: {code(shlex.join(['python', '-m', 'sweeper', '-m', *overrides]))}")
    return "\n\n".join(lines)


def code(text: object) -> str:
    """Return foreign text as a code span, in which Markdown has no markup: its fence is longer than any within."""
    line = " ".join(str(text).split())
    if "`" not in line:
        return f"`{line}`" if line else "(nothing)"
    fence = "`" * (_longest_run(line) + 1)
    return f"{fence} {line} {fence}"


def fenced(text: str) -> str:
    """Return foreign lines as a code block, likewise."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def short(path: Path) -> str:
    """Return the path as a person would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _reproduce(folder: Path) -> str:
    """The command in a span, which a narrow page folds; a block would widen the page."""
    return code(shlex.join(["python", "-m", "sweeper", "reproduce", short(folder)]))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def folder_number(trial: FrozenTrial) -> int:
    """The number of the trial whose folder it is: one that repeats another has none of its own."""
    repeated = trial.user_attrs.get(DUPLICATE)
    return repeated if isinstance(repeated, int) and repeated >= 0 else trial.number


def _searched(space: dict[Any, Any]) -> Iterator[str]:
    """A line for each searched key: its range or values."""
    for key, distribution in space.items():
        choices = at(distribution, "attributes", "choices")
        if isinstance(choices, list):
            yield f"{key}: {', '.join(str(choice) for choice in choices)}"
            continue
        low, high, step, log = (at(distribution, "attributes", name) for name in ("low", "high", "step", "log"))
        yield f"{key}: {low} to {high}{f', step {step}' if step not in (None, 1) else ''}{', logarithmic' if log else ''}"


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _without_password(override: str) -> str:
    """Leave out a storage's URL that is written out, since it may hold a password, in more than one place."""
    key, _, value = override.partition("=")
    is_hidden = key == "hydra.sweeper.storage" and "${" not in value and "sqlite" not in value
    return f"{key}=URL" if is_hidden else override

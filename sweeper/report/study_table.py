"""The table of a study's trials: its columns, its rows with the best first, and what a row opens to."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.report.study_view import StudyView, parameters_of
from sweeper.run.folder import RunFolder
from sweeper.shell import path_word, sweeper_command
from sweeper.study.attributes import DUPLICATE, FAILED, MACS, PRUNED, REJECTED, RULE
from sweeper.study.folder import trial_folder
from sweeper.study.front_sentence import saved_epochs
from sweeper.study.summary import state_of
from sweeper.terminal.console import display_path
from sweeper.untrusted import parse_json, read_text

STATES: Final = {
    "complete": "done",
    "running": "running",
    "pruned": "pruned",
    "failed": "failed",
    "retried": "retried",
    "waiting": "waiting",
    "rejected": "rejected",
}
"""The page's names of the states of `state_of`, in the order in which it shows them."""
WIDTH: Final = re.compile(r"\+{0,2}model\.groups\.(\w+)\.channels\.\d+")
TRIAL: Final = "TRIAL"
"""What stands for a trial's number in a command of its row."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the table of trials."""

    text: str
    value: float | None = None
    """The sort key in a numeric column; None for an empty cell."""
    href: str | None = None
    """A file that the text links to, relative to the page."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table of trials."""

    name: str
    number: bool
    """Whether its cells are numbers."""
    help: str = ""
    """What the column has, shown beside the pointer."""
    descending: bool = False
    """Whether the first click on its name sorts from high to low."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial."""

    number: int
    state: str
    cells: list[Cell]
    """One for each column, except the first, the number."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The table of trials."""

    columns: list[Column]
    rows: list[Row]
    details: str
    """What the rows open to, as JSON that can stand in a page."""


def trials_table(view: StudyView, *, folder: Path | None, page: Path, is_ours: bool) -> Table:
    """Return the table of a study's trials.

    Links are relative to `page`, the file it will be written to. `is_ours` tells whether trials are runs of sweeper,
    which its commands accept.
    """
    trials = sorted(view.study.trials, key=lambda trial: _rank(view, trial))
    runs = {trial.number: _run(folder, trial) for trial in trials}
    columns = _columns(view, trials, runs, page)
    shown = [(column, cells) for column, cells in columns if column.name == "state" or any(cell.text for cell in cells)]
    return Table(
        columns=[Column(name="trial", number=True), *(column for column, _ in shown)],
        rows=[
            Row(
                number=trial.number,
                state=STATES.get(state_of(trial), state_of(trial)),
                cells=[cells[index] for _, cells in shown],
            )
            for index, trial in enumerate(trials)
        ],
        details=_details(view, trials, runs, folder if is_ours else None),
    )


def _rank(view: StudyView, trial: FrozenTrial) -> tuple[Any, ...]:
    """Return the sort key of a row: completed trials, the best first, then the others by state, rejected ones by size."""
    if trial.state is TrialState.COMPLETE:
        return (0, *view.study.goal.order(trial))
    states = list(STATES)
    state = state_of(trial)
    size = parameters_of(trial) if REJECTED in trial.user_attrs else None
    place = states.index(state) if state in states else len(states)
    return (1 + place, math.inf if size is None else size, trial.number)


def _run(folder: Path | None, trial: FrozenTrial) -> RunFolder | None:
    """Return the folder with a trial's files; None if it has left none on this machine."""
    run = None if folder is None or REJECTED in trial.user_attrs else trial_folder(folder, trial)
    return run if run is not None and run.path.is_dir() else None


def _columns(
    view: StudyView, trials: Sequence[FrozenTrial], runs: Mapping[int, RunFolder | None], page: Path
) -> list[tuple[Column, list[Cell]]]:
    """Return all columns with their cells, one for each trial."""
    widths = [key for key in view.names if WIDTH.fullmatch(key)]
    widths = widths if len(widths) > 1 else []
    groups = dict.fromkeys(match[1] for key in widths if (match := WIDTH.fullmatch(key)))
    columns = [
        (
            Column(name=view.scale.short, number=True, descending=view.study.maximize),
            [_cell(value, view.scale.text) for value in map(_value, trials)],
        ),
        *_further_values(view, trials),
        (Column(name="parameters", number=True), [_cell(parameters_of(trial), _thousands) for trial in trials]),
        (Column(name="state", number=False), [Cell(text=STATES.get(state_of(t), state_of(t))) for t in trials]),
    ]
    if widths:
        names = f"Output channels of each convolution in {' · '.join(groups)}"
        columns.append(
            (Column(name="widths", number=False, help=names), [Cell(text=_widths(t, widths)) for t in trials])
        )
    for key, name in view.names.items():
        if key not in widths:
            columns.append(
                (Column(name=name, number=True, help=key), [_param(trial.params.get(key)) for trial in trials])
            )
    training = [_training_seconds(runs[trial.number]) for trial in trials]
    whole = [_whole_seconds(trial) for trial in trials]
    of_epochs = "Seconds in epochs: training and validation"
    of_trial = "Seconds from the proposal to its result: starting, loading, training, measuring, waiting"
    return [
        *columns,
        (Column(name="note", number=False), [Cell(text=_note(trial.user_attrs)) for trial in trials]),
        (
            Column(name=f"{view.step}s", number=True),
            [_cell(max(trial.intermediate_values, default=None), str) for trial in trials],
        ),
        (
            Column(name="saved", number=True, help="Epochs that a pruned trial did not train"),
            [_cell(saved_epochs(trial, view.epochs) or None, str) for trial in trials],
        ),
        (Column(name="training", number=True, help=of_epochs), [_cell(seconds, _seconds) for seconds in training]),
        (Column(name="whole", number=True, help=of_trial), [_cell(seconds, _seconds) for seconds in whole]),
        (Column(name="report", number=False), [_report(runs[trial.number], page) for trial in trials]),
        (Column(name="MACs", number=True), [_cell(_count(trial.user_attrs.get(MACS)), _thousands) for trial in trials]),
    ]


def _further_values(view: StudyView, trials: Sequence[FrozenTrial]) -> list[tuple[Column, list[Cell]]]:
    """Return a column for each further value that another application's trials return."""
    return [
        (
            Column(name=f"value {place}", number=True, descending=direction is StudyDirection.MAXIMIZE),
            [_cell(t.values[place - 1] if t.state is TrialState.COMPLETE else None, "{:.6g}".format) for t in trials],
        )
        for place, direction in enumerate(view.study.goal.others, start=2)
    ]


def _value(trial: FrozenTrial) -> float | None:
    """Return a trial's value; of one that is not completed the last one it reported."""
    if trial.state is TrialState.COMPLETE:
        return float(trial.values[0])
    reported = trial.intermediate_values
    return reported[max(reported)] if reported else None


def _widths(trial: FrozenTrial, keys: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {}
    for key in keys:
        match = WIDTH.fullmatch(key)
        if match and key in trial.params:
            groups.setdefault(match[1], []).append(str(trial.params[key]))
    return " · ".join(",".join(widths) for widths in groups.values())


def _whole_seconds(trial: FrozenTrial) -> float | None:
    """Return the seconds from a trial's proposal to its result; None without a result, or without a run."""
    if trial.duration is None or REJECTED in trial.user_attrs:
        return None
    seconds = trial.duration.total_seconds()
    return seconds if seconds >= 0 else None  # the clock was set back meanwhile


def _training_seconds(run: RunFolder | None) -> float | None:
    """Return the seconds of a run's epochs; None if its metrics are missing or damaged."""
    if run is None:
        return None
    try:
        lines = read_text(run.metrics).splitlines()
        seconds: float = math.fsum(float(parse_json(line)["seconds"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seconds or None


def _report(run: RunFolder | None, page: Path) -> Cell:
    """Return a link to a run's page, or to its report if it has no page."""
    files = [] if run is None else [file for file in (run.page, run.report) if file.is_file()]
    if not files:
        return Cell(text="")
    return Cell(text=files[0].name, href=Path(os.path.relpath(files[0], page.parent)).as_posix())


def _note(attributes: Mapping[str, Any]) -> str:
    if DUPLICATE in attributes:
        return f"repeats trial {attributes[DUPLICATE]}"
    if REJECTED in attributes:
        return str(attributes.get(RULE) or "rejected")
    return str(attributes.get(FAILED) or attributes.get(PRUNED) or "")


def _details(
    view: StudyView, trials: Sequence[FrozenTrial], runs: Mapping[int, RunFolder | None], folder: Path | None
) -> str:
    keys = list(view.names)
    rows = {}
    for trial in trials:
        run = runs[trial.number]
        row: dict[str, Any] = {"values": [_plain(trial.params.get(key)) for key in keys]}
        if trial.intermediate_values:
            curve = sorted(trial.intermediate_values.items())
            row["curve"] = [[step, float(f"{value:.6g}")] for step, value in curve if math.isfinite(value)]
        if run is not None and folder is not None and run.config.exists():
            row["run"] = int(run.path.name)
        reason = next((trial.user_attrs[key] for key in (REJECTED, FAILED, PRUNED) if trial.user_attrs.get(key)), None)
        if reason:
            row["reason"] = str(reason)
        rows[trial.number] = row
    path = "" if folder is None else path_word(display_path(folder) / TRIAL)
    details = {
        "keys": keys,
        "names": [view.names[key].lower() for key in keys],
        "percent": view.scale.images is not None,
        "commands": [
            ["run it again", sweeper_command("reproduce", path)],
            ["write its page", sweeper_command("report", path)],
        ],
        "rows": rows,
    }
    text = json.dumps(details, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str)
    # Escaped, so that no text in it can end the script element.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def _cell(value: float | None, text: Any) -> Cell:
    return Cell(text="") if value is None else Cell(text=text(value), value=value)


def _param(value: Any) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Cell(text="" if value is None else str(value))
    return _cell(value, "{:.4g}".format if isinstance(value, float) else str)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _thousands(value: float) -> str:
    return f"{value:,}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"

"""Decides what the live table of a running search shows, and what it leaves out in a narrow terminal."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from optuna.trial import FrozenTrial, TrialState
from rich.table import Table
from rich.text import Text

from sweeper.search.config_keys import EPOCHS
from sweeper.study.attributes import PARAMETERS, whole
from sweeper.terminal.formats import percent

SEPARATOR: Final = " · "
GAP: Final = 2
"""Spaces between two columns."""
LEAST_VALUES: Final = 16
"""Least width, in characters, of the column with the trial's values; in less, the column is left out."""
HEADINGS: Final = ("trial", "epoch", "time", "accuracy", "parameters", "with")
DROPPED: Final = ("parameters", "with")
"""The columns to leave out in a narrow terminal, the first to go first."""


def format_params(params: Mapping[str, object]) -> str:
    """Return a trial's values as one readable line, a group's widths in one list: ``dropout=0.1 block1=8,12,16``."""
    formatted: dict[str, list[str]] = {}
    for key, value in params.items():
        width = re.fullmatch(r"model\.groups\.(\w+)\.channels\.\d+", key)
        name = width[1] if width else key.rpartition(".")[2]
        formatted.setdefault(name, []).append(f"{value:.4g}" if isinstance(value, float) else str(value))
    return " ".join(f"{name}={','.join(values)}" for name, values in formatted.items())


def live_table(
    trials: Sequence[FrozenTrial],
    width: int,
    *,
    epochs: int | None,
    is_accuracy: bool,
    times: Callable[[int], str] = lambda _: "",
) -> Table:
    """Return one row for each running trial.

    `epochs` is the number that a trial trains unless it is searched. `times` returns how long a trial has run, and may run,
    by its number; an empty string for none.
    """
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    headings = HEADINGS if is_accuracy else ("trial", "step", "time", "value", *HEADINGS[4:])
    columns: dict[str, list[str]] = {heading: [] for heading in headings}
    for trial in running:
        count = whole(trial.user_attrs.get(PARAMETERS))
        reported = trial.intermediate_values
        last = reported[max(reported)] if reported else None
        number = "" if last is None else percent(last) if is_accuracy else f"{last:.6g}"
        epoch, time = _epoch(trial, epochs), times(trial.number)
        cells = (str(trial.number), epoch, time, number, "" if count is None else f"{count:,}")
        for heading, cell in zip(headings, (*cells, format_params(trial.params)), strict=True):
            columns[heading].append(cell)
    for heading in headings[1:5]:
        # An accuracy will come; another application may report nothing while it runs.
        if not any(columns[heading]) and heading != "accuracy":
            del columns[heading]
    for heading in DROPPED:
        if _least_width(columns) > width and heading in columns:
            del columns[heading]
    return _table(columns, width)


def joined(phrases: Sequence[str], width: int) -> str:
    r"""Join phrases with dots, on as many lines as they need: no phrase is broken.

    >>> joined(["7 of 24", "22 rejected", "1:52"], 22)
    '7 of 24 · 22 rejected\n1:52'
    """
    lines: list[str] = []
    for phrase in phrases:
        if lines and len(lines[-1]) + len(SEPARATOR) + len(phrase) <= width:
            lines[-1] += SEPARATOR + phrase
        else:
            lines.append(phrase)
    return "\n".join(lines)


def _epoch(trial: FrozenTrial, epochs: int | None) -> str:
    total = whole(trial.params.get(EPOCHS)) or epochs
    done = max(trial.intermediate_values, default=0)
    if total is None:
        return str(done) if done else ""
    return f"{done}/{total}"


def _least_width(columns: Mapping[str, Sequence[str]]) -> int:
    widths = [
        LEAST_VALUES if heading == "with" else max(map(len, (heading, *cells))) for heading, cells in columns.items()
    ]
    return sum(widths) + GAP * (len(widths) - 1)


def _table(columns: Mapping[str, Sequence[str]], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "with" else "right", no_wrap=True)
    left = width - (_least_width(columns) - LEAST_VALUES)
    for row in zip(*columns.values(), strict=True):
        cells = zip(columns, row, strict=True)
        table.add_row(*(Text(_shortened(cell, left) if heading == "with" else cell) for heading, cell in cells))
    return table


def _shortened(values: str, width: int) -> str:
    """Leave out the last values of a line that is too long: a value that is cut off would read as another one."""
    if len(values) <= width:
        return values
    kept = values
    while len(kept) + 2 > width and " " in kept:
        kept = kept.rpartition(" ")[0]
    return f"{kept} …" if len(kept) + 2 <= width else "…"

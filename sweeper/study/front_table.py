"""Decides what the live table of a running search with two objectives shows below its running trials: the front."""

import math
from collections.abc import Sequence
from typing import Final

from optuna.trial import FrozenTrial
from rich.table import Table
from rich.text import Text

from sweeper.study.front import answer, front_trials, log_hypervolume
from sweeper.study.goal import Goal
from sweeper.study.live_table import GAP, format_params
from sweeper.terminal.formats import percent, short_percent

ROWS: Final = 8
"""Greatest number of trials shown; of a longer front every second, third, ... one, both ends included."""


def live_front(trials: Sequence[FrozenTrial], goal: Goal, width: int) -> Table:
    """Return one row for each trial of the front, the smallest first; the answer at the target has a star."""
    front = front_trials(trials, goal)
    best = answer(trials, goal)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for heading in ("front", "accuracy", goal.unit):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("with", no_wrap=True, overflow="ellipsis", max_width=max(8, width - 36))
    for trial in _thinned(front, best):
        number = f"{'*' if trial is best else ''}{trial.number}"
        cells = (number, percent(trial.values[0]), f"{goal.cost_of(trial):,}", format_params(trial.params))
        table.add_row(*map(Text, cells))
    return table


def front_status(trials: Sequence[FrozenTrial], goal: Goal, worst_cost: float) -> list[str]:
    """Return the front in a few phrases: its size, its hypervolume if it is asked for, the smallest at the target."""
    front = front_trials(trials, goal)
    if not front:
        return []
    best = answer(trials, goal)
    at = short_percent(goal.target or 0)
    found = f"none at {at} yet" if best is None else f"smallest at {at} {goal.cost_of(best):,}"
    if goal.smallest:
        return [f"front of {len(front)}", found]
    return [f"front of {len(front)}", f"hypervolume {log_hypervolume(front, goal, worst_cost):.2f}", found]


def _thinned(front: list[FrozenTrial], best: FrozenTrial | None) -> list[FrozenTrial]:
    if len(front) <= ROWS:
        return front
    step = math.ceil((len(front) - 1) / (ROWS - 2))
    return [t for place, t in enumerate(front) if place % step == 0 or t is best or place == len(front) - 1]

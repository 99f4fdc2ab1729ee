"""The section of a study's page about its front: one row for each network on it, and the epochs that pruning saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.report.study_view import StudyView
from sweeper.search.config_keys import EPOCHS
from sweeper.study.attributes import whole
from sweeper.study.front import answer, front_trials
from sweeper.study.front_sentence import count_epochs
from sweeper.study.live_table import format_params
from sweeper.terminal.formats import short_percent


@dataclass(frozen=True, kw_only=True)
class FrontRow:
    """One network of the front."""

    number: int
    """The trial's number."""
    accuracy: str
    cost: str
    params: str
    note: str
    """For example ``smallest at 99 %``; empty for most."""


@dataclass(frozen=True, kw_only=True)
class FrontTable:
    """The front of a study."""

    accuracy: str
    """Name of the accuracy's column."""
    unit: str
    """What the cost counts."""
    rows: list[FrontRow]
    """The smallest network first."""
    answer: bool
    """Whether a network of the front reaches the target."""
    saved: str
    """How many epochs pruning saved, in a sentence; empty if none."""


def front_table(view: StudyView, config: Mapping[str, Any]) -> FrontTable | None:
    """Return the front of a study with two objectives; None for any other, and without a completed trial."""
    goal = view.study.goal
    front = front_trials(view.study.trials, goal) if goal.cost is not None else []
    if not front:
        return None
    best = answer(front, goal)
    rows = [
        FrontRow(
            number=trial.number,
            accuracy=view.scale.text(trial.values[0]),
            cost=f"{goal.cost_of(trial):,}",
            params=format_params(trial.params),
            note=f"smallest at {short_percent(goal.target or 0)}" if trial is best else "",
        )
        for trial in front
    ]
    saved = count_epochs(view.study.trials, whole(config.get(EPOCHS))).sentence
    return FrontTable(accuracy=view.scale.short, unit=goal.unit, rows=rows, answer=best is not None, saved=saved)

"""Decides what a study is after: the best value, or accuracy against cost; and with it which completed trial is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self, get_args

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.config.schema import Cost
from sweeper.network.budget import COSTS
from sweeper.study.attributes import PARAMETERS, whole

GOAL: Final = "goal"
"""User attribute of a study with two objectives: `Goal.record`."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What makes one completed trial better than another."""

    direction: StudyDirection
    """Direction of the first objective."""
    cost: Cost | None = None
    """The second objective, to be minimized; None for a study with one objective."""
    target: float | None = None
    """With a cost: the accuracy that the best trial must reach, a fraction."""
    others: tuple[StudyDirection, ...] = ()
    """The directions of further values, which another Hydra application returns."""
    smallest: bool = False
    """Whether the study asks for the lowest cost at the target alone, not for the whole front."""

    @property
    def maximize(self) -> bool:
        """Whether a higher first value is better."""
        return self.direction is StudyDirection.MAXIMIZE

    @property
    def directions(self) -> list[StudyDirection]:
        """The study's directions, one for each objective."""
        return [self.direction, *([StudyDirection.MINIMIZE] if self.cost else self.others)]

    @property
    def record(self) -> dict[str, Any]:
        """The goal as plain data, from which `goal_of` reads it."""
        return {"cost": self.cost, "target": self.target, "smallest": self.smallest}

    @property
    def unit(self) -> str:
        """What the cost counts, in words; parameters without a cost."""
        return dict[str, str](COSTS)[self.cost or "parameters"]

    def cost_of(self, trial: FrozenTrial) -> int | None:
        """Return a trial's cost, which is known before it trains; None if its network cannot be built."""
        return whole(trial.user_attrs.get(self.cost or PARAMETERS))

    def is_reached(self, trial: FrozenTrial) -> bool:
        """Whether a completed trial of a study with two objectives reaches the target."""
        return self.target is not None and bool(trial.values[0] >= self.target)

    def order(self, trial: FrozenTrial) -> tuple[float, float, float, int]:
        """Return the sort key of a completed trial, the best first.

        With one objective: the value, then fewer parameters, then the number. With a cost: first the trials that reach
        the target, the cheapest first, then the others, the most accurate first.
        """
        value = -trial.values[0] if self.maximize else trial.values[0]
        cost = self.cost_of(trial)
        counted = float("inf") if cost is None else cost
        if self.cost is not None and self.is_reached(trial):
            return (0, counted, value, trial.number)
        return (1, value, counted, trial.number)

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """Return the goal of a study: saved in it, or its first direction alone."""
        return cls.read(study.directions, study.user_attrs)

    @classmethod
    def read(cls, directions: Sequence[StudyDirection], attributes: Mapping[str, Any]) -> Self:
        """Return the goal of a study from its directions and user attributes, which may be another program's."""
        saved = attributes.get(GOAL)
        saved = saved if isinstance(saved, Mapping) and len(directions) == 2 else {}
        cost, target = saved.get("cost"), saved.get("target")
        if cost not in get_args(Cost):
            return cls(direction=directions[0], others=tuple(directions[1:]))
        return cls(
            direction=directions[0],
            cost=cost,
            target=float(target) if isinstance(target, int | float) else None,
            smallest=saved.get("smallest") is True,
        )


def as_goal(goal: Goal | StudyDirection) -> Goal:
    """Return the goal of a study; of one objective its direction says all."""
    return goal if isinstance(goal, Goal) else Goal(direction=goal)

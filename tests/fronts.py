"""What tests of two objectives share: trials and studies of accuracy against parameters, and recorded curves."""

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.study.goal import GOAL, Goal
from sweeper.study.optuna_private import SearchStudy

WIDTH = "model.groups.block1.channels.0"
SPACE: dict[str, BaseDistribution] = {
    WIDTH: IntDistribution(1, 32, log=True),
    "optimizer.lr": FloatDistribution(0.01, 1, log=True),
}
FRONT = Goal(direction=StudyDirection.MAXIMIZE, cost="parameters", target=0.99)
SMALLEST = Goal(direction=StudyDirection.MAXIMIZE, cost="parameters", target=0.99, smallest=True)


def trial(number: int, accuracy: float, parameters: int, *curve: float, pruned: bool = False) -> FrozenTrial:
    """A finished trial as a search leaves it; `curve` holds the epochs' accuracies."""
    made = create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        values=None if pruned else [accuracy, parameters],
        params={WIDTH: 8, "optimizer.lr": 0.1},
        distributions=SPACE,
        user_attrs={"parameters": parameters, "macs": 100 * parameters},
        intermediate_values=dict(enumerate(curve, 1)),
    )
    made.number = number
    return made


def study_of(trials: list[FrozenTrial], goal: Goal = FRONT, *, storage: Any = None, **made_of: Any) -> optuna.Study:
    """A study with two objectives and these trials."""
    storage = storage or InMemoryStorage()
    study = optuna.create_study(study_name="front", directions=goal.directions, storage=storage)
    study.set_user_attr(GOAL, goal.record)
    study.add_trials(trials)
    return SearchStudy("front", storage, **made_of)


def recorded_studies() -> list[list[FrozenTrial]]:
    """Unpruned trials of real searches: five convolutions on 4,000 digits, 4 epochs, one-cycle schedule, by NSGA-II."""
    studies = json.loads((Path(__file__).parent / "front_curves.json").read_text())
    return [
        [trial(number, curve[-1], size, *curve) for number, (size, curve) in enumerate(curves)] for curves in studies
    ]

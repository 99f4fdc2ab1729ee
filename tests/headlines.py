"""What tests of headlines share: trials as a search leaves them, and the headline of these."""

from datetime import datetime, timedelta
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.study.headline import Headline, study_headline

START = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - Optuna's times have no zone
BASE = {
    "seed": 1,
    "target": 0.99,
    "data": {"name": "mnist5k", "validation": "split", "validation_size": 500},
    "budget": {"parameters": 9999, "macs": None},
    "training": {"epochs": 4},
}
SEARCH = {"space": {"optimizer.lr": {}}, "fixed": ["search=card", "model=compact"], "base": BASE, "grid": False}
TASK = ["search=card", "model=compact"]


def sweep(n_trials: int = 4, *typed: str) -> dict[str, Any]:
    """A multirun.yaml."""
    overrides = {"task": TASK, "hydra": ["hydra.mode=MULTIRUN", *typed]}
    return {"hydra": {"sweeper": {"n_trials": n_trials, "max_failure_rate": 0.5}, "overrides": overrides}}


def trial(
    number: int,
    value: float | None = None,
    state: TrialState | None = None,
    *,
    parameters: int | None = 9000,
    lr: float | None = None,
    minutes: float = 1,
    **attrs: Any,
) -> FrozenTrial:
    """A trial: completed with a value, otherwise in the given state. Each starts where the one before it ends."""
    made = create_trial(
        state=TrialState.COMPLETE if state is None else state,
        value=value,
        params={"optimizer.lr": 0.001 * (number + 1) if lr is None else lr},
        distributions={"optimizer.lr": FloatDistribution(0, 1)},
        user_attrs={} if parameters is None else {"parameters": parameters},
    )
    made.user_attrs.update(attrs)
    made.number = number
    made.datetime_start = START + timedelta(minutes=number)
    made.datetime_complete = (
        made.datetime_start + timedelta(minutes=minutes) if made.state.is_finished() and minutes else None
    )
    return made


def rejected(number: int, parameters: int | None, **attrs: Any) -> FrozenTrial:
    """A rejected proposal."""
    rule = "over budget" if parameters else "cannot be built"
    reasons = {"rejected": f"model is {rule}", "rejected_by": rule, **attrs}
    return trial(number, state=TrialState.PRUNED, parameters=parameters, minutes=0, **reasons)


def headline(
    *trials: FrozenTrial,
    search: Any = SEARCH,
    multirun: Any = None,
    direction: StudyDirection = StudyDirection.MAXIMIZE,
    **more: Any,
) -> Headline:
    """The headline of trials, by default of a search for four trials."""
    multirun = sweep() if multirun is None else multirun
    return study_headline(trials, direction, folder=more.pop("folder", None), search=search, sweep=multirun, **more)


def commands(found: Headline) -> dict[str, str]:
    """The commands by their labels."""
    return {command.label: command.text for command in found.commands}

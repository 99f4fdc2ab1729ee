"""Finds what a search would vary or fix without any effect."""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import optuna

from sweeper.config.idle import idle_overrides, idle_settings
from sweeper.config.schema import ExperimentConf
from sweeper.errors import ConfigError, StudyError
from sweeper.search.feasibility import FeasibilityCheck
from sweeper.search.space import Params, Space

POINTS: Final = 32
"""Points that are looked at: what changes nothing at any of them counts as idle."""
UNTRAINED: Final = {
    "target": "it is what accuracies are compared with",
    "logging": "loggers do not change a training",
    "logging.name": "loggers do not change a training",
    "training.checkpoint_every": "checkpoints do not change a training",
}
"""Keys that change no training at all, with the reason."""


def check_idle(space: Space, check: FeasibilityCheck) -> list[str]:
    """Return a sentence for each fixed override that changes nothing at any point of the space.

    Raises `StudyError` for such a key that is swept: the same network would be trained again and again.
    """
    swept = {key.lstrip("+"): key for key in space.distributions}
    for key in swept.keys() & UNTRAINED.keys():
        raise StudyError(f"{key} cannot be swept, every run would be the same: {UNTRAINED[key]}")
    confs = list(_configs(space, check))
    if not confs:
        return []
    found = [idle_settings(conf) for conf in confs]
    always = {key: why for key, why in found[0].items() if all(key in each for each in found)}
    for key in swept:
        if key in always:
            raise StudyError(f"{key} is swept but changes nothing here, every run would be the same: {always[key]}")
    return idle_overrides(always, space.fixed)


def _configs(space: Space, check: FeasibilityCheck) -> Iterator[ExperimentConf]:
    for point in _points(space):
        with suppress(ConfigError):  # such a point is rejected
            yield check.configure(point)


def _points(space: Space) -> Iterator[Params]:
    if space.grid is not None:
        yield from itertools.islice(space.grid, 0, None, max(1, len(space.grid) // POINTS))
        return
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(POINTS):
        yield study.ask(space.distributions).params

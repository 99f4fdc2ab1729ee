"""Configs that are composed once for all tests of a process: composing takes longer than most of what is tested with it."""

import copy
import functools
from collections.abc import Sequence

from sweeper.config import composition
from sweeper.config.schema import ExperimentConf


def compose(overrides: Sequence[str] = ()) -> ExperimentConf:
    """Return what `sweeper.compose` returns for these overrides, a copy of it, which may be changed."""
    return copy.deepcopy(_compose(tuple(overrides)))


@functools.cache
def _compose(overrides: tuple[str, ...]) -> ExperimentConf:
    return composition.compose(overrides)

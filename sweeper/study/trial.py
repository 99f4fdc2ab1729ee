"""Decides whether a Hydra job is a trial of a study, as its settings tell; without importing Optuna."""

from typing import Final

from hydra.conf import HydraConf
from hydra.types import RunMode

TARGET: Final = "sweeper.plugin.StudySweeper"
"""The sweeper's class, as ``hydra/sweeper=study`` names it."""


def is_trial(settings: HydraConf) -> bool:
    """Whether a job belongs to one of sweeper's studies. Only its Hydra settings show this; its config does not."""
    return settings.mode is RunMode.MULTIRUN and settings.sweeper.get("_target_") == TARGET

"""Which run's folder a path that is none may mean: one with a similar name beside it, or the best trial of a study."""

from itertools import islice
from pathlib import Path
from typing import Final

from sweeper.config.explaining import nearest
from sweeper.data.openings import OUTPUTS
from sweeper.untrusted import exists

LOOKED_AT: Final = 10_000
"""Folders beside a path that are compared with it."""


def nearest_runs(path: Path) -> str:
    """Return `` (did you mean a?)`` with the folders that a path may mean, or an empty string."""
    for study in (path, OUTPUTS / "studies" / path):
        if _holds_config(study / "best"):
            return f" (did you mean {study / 'best'}?)"
    try:
        beside = [each.name for each in islice(path.parent.iterdir(), LOOKED_AT) if _holds_config(each)]
    except OSError:
        return ""
    return nearest(str(path), [str(path.parent / name) for name in beside])


def _holds_config(folder: Path) -> bool:
    return exists(folder / ".hydra" / "config.yaml")

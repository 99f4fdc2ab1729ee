"""Runs a search from Python and returns its study: what ``python -m sweeper -m`` does, without its exit status."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna import Study
from optuna.trial import FrozenTrial

from sweeper.cli.hydra_app import PROGRAM, run_hydra
from sweeper.errors import StudyError
from sweeper.plugin import FULL_ERROR, StudySweeper

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class CompletedSearch:
    """A search that has ended."""

    name: str
    """The study's name."""
    folder: Path
    """The study's folder, absolute: trial n is in its subfolder n, a copy of the best one in best/."""
    study: Study
    """Optuna's study, with all its trials."""
    best: FrozenTrial | None
    """The best completed trial; None if none was completed. With a cost the smallest at the target, see `Goal.order`."""

    def trials_dataframe(self) -> "pd.DataFrame":
        """Return the trials as a table, one row for each, as `optuna.Study.trials_dataframe` does."""
        return self.study.trials_dataframe()


def search(arguments: Sequence[str]) -> CompletedSearch:
    """Run a search with these arguments, those after ``-m``; see `sweeper.search`."""
    if isinstance(arguments, str) or not all(isinstance(argument, str) for argument in arguments):
        raise StudyError(f'a search needs a list of strings, as in ["model.dropout=0.05,0.1"], but got {arguments!r}')
    argv, full_error, StudySweeper.last_sweep = sys.argv, os.environ.get(FULL_ERROR), None
    sys.argv = [PROGRAM, "-m", *arguments]
    try:
        run_hydra()
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ[FULL_ERROR]
    sweep = StudySweeper.last_sweep
    opened = sweep.opened if sweep is not None else None
    if opened is None:
        raise StudyError(
            f"the arguments must run a study, but {' '.join(arguments)} do not: leave out what prevents it"
        )
    return CompletedSearch(
        name=opened.name, folder=opened.folder.path, study=opened.study, best=opened.trials.summary().best
    )

"""Finds a run's folder by what a user calls it: its folder, its name, or the name of a study, whose best trial it is."""

from pathlib import Path
from typing import Final

import optuna

from sweeper.errors import RunFolderError, StudyError
from sweeper.reading.locations import STUDIES, find_locations, is_name, nearest_studies
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.reading.study_files import restore_from, restored_folder
from sweeper.run.folder import OUTPUTS, RunFolder
from sweeper.study.folder import BEST, trial_folder
from sweeper.study.goal import Goal
from sweeper.study.summary import summarize_trials
from sweeper.terminal.console import display_path
from sweeper.untrusted import exists, is_folder

RUNS: Final = OUTPUTS / "runs"
"""The folder of all runs, relative to the working directory."""


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, damaged or not."""
    files = RunFolder(folder)
    return exists(files.metrics) or exists(files.config)


def is_study(name: str) -> bool:
    """Whether it is the name or the folder of a study."""
    return is_name(name) or any(exists(Path(name) / file) for file in ("search.yaml", "journal.log"))


def named_run(name: str) -> Path | None:
    """Return the folder of a run, given by its folder or, below outputs/runs or outputs/studies, its name; None for none."""
    path = Path(name)
    places = [path] if path.is_absolute() or ".." in path.parts else [path, RUNS / path, STUDIES / path]
    return next((place for place in places if is_run(place)), None)


def find_run(name: str, storage: str | None) -> Path:
    """Return the folder of a run, or of the best trial of a study; the storage with that URL may have its files.

    Raises `RunFolderError` if there is none, and `StudyError` if a study cannot be read or no trial was completed.
    """
    path = Path(name)
    if storage is not None:
        if not (path.name.isdigit() or path.name == BEST):
            return _best_trial(name, storage)
        restore_from(storage, path.parent)
        return path
    found = named_run(name)
    if found is None and is_study(name):
        return _best_trial(name, storage)
    if found is None and not is_folder(path):
        raise RunFolderError(
            f"a run must be given by its folder or name, or by the name of its study, but {name} is none of these"
            f"{nearest_studies(name)}"
        )
    return found or path  # of a folder that is no run, reading it says what is missing


def _best_trial(name: str, storage: str | None) -> Path:
    (location,) = find_locations(name, storage, warn=lambda _: None)
    with StorageReader(location.url) as reader:
        study = reader.read(lambda opened: optuna.load_study(study_name=study_name(opened, location), storage=opened))
        folder = restored_folder(reader, location, study)
        best = reader.read(lambda _: summarize_trials(study.get_trials(deepcopy=False), Goal.of(study)).best)
    if best is None:
        raise StudyError(f"a study's best trial is run again, but no trial of {name} was completed: name a run")
    if folder is None:
        raise StudyError(
            f"a study's best trial needs a folder, but {name} has none on this machine: run it where it ran"
        )
    paths = [trial_folder(folder, best).path, folder / BEST]
    return display_path(next((path for path in paths if RunFolder(path).config.exists()), paths[0]))

"""Finds a study's folder, with files restored from a server, and its lost trials, wherever the study ran."""

import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from sweeper.errors import StudyError
from sweeper.reading.locations import STUDIES, StudyLocation, find_locations, lookup, read_yaml
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.run.folder import RunFolder
from sweeper.search.options import is_study_name
from sweeper.study.attributes import SEARCH
from sweeper.study.coordination import FileCoordination, beats_folder, lock_file
from sweeper.study.folder import StudyFolder, trial_folder
from sweeper.study.goal import Goal
from sweeper.study.liveness import GRACE_SECONDS, lost_trials
from sweeper.study.optuna_private import seconds_since_beats
from sweeper.study.restoring import check_is_of, restore_sweep, restore_trials
from sweeper.study.storage_url import JOURNAL
from sweeper.study.summary import summarize_trials
from sweeper.study.trial_record import has_records
from sweeper.terminal.console import display_path


def restored_folder(reader: StorageReader, location: StudyLocation, study: optuna.Study) -> Path | None:
    """Return a study's folder, with the files that it lacks and its server has; None if there is none for it here.

    Raises `StudyError` if the folder belongs to another study, or cannot be written.
    """
    search = study.user_attrs.get(SEARCH)
    path = location.place_of(study.study_name)
    if not isinstance(search, dict) or path is None or not is_study_name(study.study_name):
        return location.folder_of(study.study_name)
    restored = reader.read_server(lambda server: _restore(server, location, study, path, search))
    return location.folder_of(study.study_name) if restored is None else restored


def restore_from(storage: str, folder: Path) -> None:
    """Restore the study of that folder from the storage with this URL. Raises `StudyError`."""
    (location,) = find_locations(str(folder), storage, warn=lambda _: None)
    with StorageReader(location.url) as reader:
        study = reader.read(lambda opened: optuna.load_study(study_name=study_name(opened, location), storage=opened))
        if restored_folder(reader, location, study) != folder.absolute():
            raise StudyError(
                f"a trial's folder must be one that study {study.study_name} of the storage has here, but {folder} is not: give "
                f"{display_path(STUDIES / study.study_name)}/NUMBER or .../best"
            )


def lost(reader: StorageReader, location: StudyLocation, study: optuna.Study, folder: Path | None) -> frozenset[int]:
    """Return the numbers of the study's running trials whose process is gone, or silent for longer than its grace time."""
    ages = reader.read_server(lambda server: seconds_since_beats(server, study))
    if ages is None:
        ages = _seconds_since_touched(location.url, study, folder)
    return lost_trials(study.get_trials(deepcopy=False), ages, grace_seconds=grace_seconds(folder))


def grace_seconds(folder: Path | None) -> float:
    """Return the time after which a silent process of a study counts as dead, as its sweep was told."""
    sweep = read_yaml(folder / "multirun.yaml") if folder is not None else None
    seconds = lookup(sweep, "hydra", "sweeper", "grace_seconds")
    return float(seconds) if isinstance(seconds, int | float) else GRACE_SECONDS


def _restore(
    server: RDBStorage, location: StudyLocation, study: optuna.Study, path: Path, search: dict[str, Any]
) -> Path | None:
    if path.is_dir():
        check_is_of(StudyFolder(path), study.study_name, search)
    if not has_records(server.engine):
        return None
    trials = study.get_trials(deepcopy=False)
    try:
        folder = StudyFolder(path)
        folder.write_search(search)
        restore_sweep(server.engine, study.study_name, folder, storage=location.typed)
        is_ours = not search.get("application")
        restore_trials(server.engine, study.study_name, folder, known=len(trials), is_ours=is_ours)
        best = summarize_trials(trials, Goal.of(study)).best
        if best is not None:
            _keep_best(folder, best, is_ours=is_ours)
    except OSError as error:
        raise StudyError(
            f"{path} must be writable, to hold the files of study {study.study_name}, but is not ({error.strerror}): work in "
            "another folder"
        ) from error
    return path


def _keep_best(folder: StudyFolder, best: FrozenTrial, *, is_ours: bool) -> None:
    """Copy the best trial to ``best/``, unless it is there."""
    source, kept = trial_folder(folder.path, best), RunFolder(folder.best)
    # What tells the best trial from another: another application's has no result of ours.
    there, here = (source.result, kept.result) if is_ours else (source.config, kept.config)
    if there.exists() and not (here.exists() and here.read_bytes() == there.read_bytes()):
        folder.keep_best(source)


def _seconds_since_touched(url: str, study: optuna.Study, folder: Path | None) -> dict[int, float]:
    """Return the ages of the beats of a study in files, whose folder may only be read: by this machine's clock."""
    if url.startswith(JOURNAL):
        folder = Path(url.removeprefix(JOURNAL)).parent
    if folder is None or not folder.is_dir():
        return {}
    files = StudyFolder(folder)
    return FileCoordination(lock_file(url, files), beats_folder(url, files)).seconds_since_beats(study, now=time.time())

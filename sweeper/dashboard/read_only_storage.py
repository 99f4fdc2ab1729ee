"""Merges all studies into the single storage that optuna-dashboard needs: unique names and ids, and no writes."""

import copy
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import StudyError
from sweeper.reading.locations import StudyLocation
from sweeper.reading.storage_reader import StorageReader, read_only
from sweeper.reading.study_files import lost, restored_folder
from sweeper.study.goal import Goal
from sweeper.study.optuna_private import FrozenStudy, study_id, with_identity

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StudyEntry:
    """One study as the dashboard shows it."""

    url: str
    """The URL of its storage."""
    own_id: int
    """Its id in that storage."""
    name: str
    """Unique among all entries, although two storages may have studies of the same name."""
    folder: Path | None
    """The study's folder; None if it has none on this machine."""
    own_name: str
    """Its name in that storage."""
    location: StudyLocation
    """Where it was found."""


class ReadOnlyStorage(BaseStorage):
    """The studies of all locations. Study ids are unique in this storage, trial ids only within their study.

    The dashboard reads all trials of a study together, so `get_trial` raises `StudyError`, like every write.
    """

    def __init__(self, find: Callable[[], Sequence[StudyLocation]], warn: Callable[[str], None]) -> None:
        """Show the studies at the locations that `find` returns; it is called again for each list of studies.

        `warn` receives the reason if a storage cannot be read.
        """
        self._find = find
        self._warn = warn
        self._lock = threading.RLock()  # every request has its own thread
        self._readers: dict[str, StorageReader] = {}
        self._entries: dict[int, StudyEntry] = {}
        self._ids: dict[tuple[str, int], int] = {}
        self._finished: dict[int, int] = {}
        """By study id: the number of finished trials when its files were last restored."""

    def entry(self, study_id: int) -> StudyEntry:
        """Return a study's entry. Raises `KeyError` if the study does not exist."""
        with self._lock:
            if study_id not in self._entries:
                self.get_all_studies()
            return self._entries[study_id]

    def look_into(self, study_id: int) -> tuple[Path | None, frozenset[int]]:
        """Return a study's folder, with the files that its server has, and the running trials whose process is gone.

        `warn` receives the reason if files cannot be restored. Raises `KeyError` if the study does not exist.
        """
        with self._lock:
            entry = self.entry(study_id)
            reader = self._readers[entry.url]
            study = reader.read(lambda storage: optuna.load_study(study_name=entry.own_name, storage=storage))
            trials = self.get_all_trials(study_id, deepcopy=False)
            finished = sum(trial.state.is_finished() for trial in trials)
            if self._finished.get(study_id) != finished:
                try:
                    folder = restored_folder(reader, entry.location, study)
                except StudyError as error:
                    self._warn(str(error))
                    folder = None  # what is there is another study's, or no longer to be read
                self._entries[study_id] = entry = replace(entry, folder=folder)
                self._finished[study_id] = finished
            return entry.folder, lost(reader, entry.location, study, entry.folder)

    def close(self) -> None:
        """Close all files and connections."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies of all storages that can be read; `warn` receives the others."""
        with self._lock:
            self._entries = {}
            studies: list[FrozenStudy] = []
            locations: dict[str, list[StudyLocation]] = {}
            for location in self._find():
                locations.setdefault(location.url, []).append(location)
            for url, of_url in locations.items():
                reader = self._readers.setdefault(url, StorageReader(url))
                try:
                    found = reader.read(lambda storage: storage.get_all_studies())
                except StudyError as error:
                    self._warn(str(error))
                    continue
                for study in found:
                    meant = [location for location in of_url if location.study in {None, study.study_name}]
                    if meant:
                        studies.append(self._add(study, meant[0]))
            return studies

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the study shown under `study_name`. Raises `KeyError`."""
        with self._lock:
            for study_id, entry in self._entries.items():
                if entry.name == study_name:
                    return study_id
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name that a study is shown under. Raises `KeyError`."""
        return self.entry(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return a study's directions. Raises `KeyError`."""
        return self._read(study_id, lambda storage, own_id: storage.get_study_directions(own_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return a study's user attributes. Raises `KeyError`."""
        return self._read(study_id, lambda storage, own_id: storage.get_study_user_attrs(own_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return a study's system attributes. Raises `KeyError`."""
        return self._read(study_id, lambda storage, own_id: storage.get_study_system_attrs(own_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return a study's trials in order of their numbers. Raises `KeyError`."""
        trials = self._read(
            study_id, lambda storage, own_id: storage.get_all_trials(own_id, deepcopy=False, states=states)
        )
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best feasible completed trial, or the best completed trial if none is feasible.

        Optuna's own storages ignore constraints. Raises `ValueError` if no trial is completed.
        """
        completed = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not completed:
            raise ValueError("no trial is completed yet")
        goal = self.goal(study_id)
        return min([t for t in completed if is_feasible(t)] or completed, key=goal.order)

    def goal(self, study_id: int) -> Goal:
        """Return what a study is after. Raises `KeyError`."""
        return Goal.read(self.get_study_directions(study_id), self.get_study_user_attrs(study_id))

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise read_only()

    create_new_study = delete_study = set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse
    get_trial = _refuse

    def _read(self, study_id: int, query: Callable[[BaseStorage, int], T]) -> T:
        with self._lock:
            entry = self.entry(study_id)
            return self._readers[entry.url].read(lambda storage: query(storage, entry.own_id))

    def _add(self, study: FrozenStudy, location: StudyLocation) -> FrozenStudy:
        """Add a study under a unique name and id; a study that was listed before keeps its id."""
        own_id, name = study_id(study), study.study_name
        shown_id = self._ids.setdefault((location.url, own_id), len(self._ids))
        folder = location.folder_of(name)
        taken = {entry.name for entry in self._entries.values()}
        if name in taken:
            name += f" (in {folder.name})" if folder is not None and folder.name != name else " (another)"
        while name in taken:
            name += " (another)"
        self._entries[shown_id] = StudyEntry(
            url=location.url, own_id=own_id, name=name, folder=folder, own_name=study.study_name, location=location
        )
        self._finished.pop(shown_id, None)
        return with_identity(study, name=name, study_id=shown_id)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial satisfies all its constraints."""
    return all(excess <= 0 for excess in trial.constraints.values())

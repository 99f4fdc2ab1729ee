"""Many studies' storages as one, under ids that no two share, which can only be read."""

import copy
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from sweeper.errors import StudyError
from sweeper.reading.locations import StudyLocation
from sweeper.reading.storage_reader import Reader

T = TypeVar("T")
STORAGES: Final = 10_000
"""How many storages there may be: a trial's id here is its own id times this, plus its storage's index. The pages read
ids as JavaScript's numbers, exact up to 2**53."""


@dataclass(frozen=True, kw_only=True)
class StudyEntry:
    """One study among the others."""

    reader: Reader
    own_id: int
    """In its own storage."""
    name: str
    """Made different from every other's: two storages may each have a study of one name."""
    folder: Path | None
    """Where its trials' folders are, if that is known."""


class ReadOnlyStorage(BaseStorage):
    """The studies of all locations, under ids and names that no two share. Every call that would write is refused."""

    def __init__(self, find: Callable[[], Sequence[StudyLocation]], warn: Callable[[str], None]) -> None:
        """Show what `find` finds, asked again for each list of studies; `warn` is told of each that cannot be read."""
        self._find = find
        self._warn = warn
        self._lock = threading.RLock()  # every request has its own thread
        self._readers: dict[str, Reader] = {}
        self._entries: dict[int, StudyEntry] = {}
        self._study_ids: dict[tuple[int, int], int] = {}
        self._trials: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}

    def entry(self, study_id: int) -> StudyEntry:
        """Return a study's location. Raises `KeyError` for one that is not there."""
        with self._lock:
            if study_id not in self._entries:
                self.get_all_studies()
            return self._entries[study_id]

    def close(self) -> None:
        """Let go of all files and connections."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies of all storages that can be read now."""
        with self._lock:
            self._entries = {}
            shown: list[FrozenStudy] = []
            locations: dict[str, list[StudyLocation]] = {}
            for location in self._find():
                locations.setdefault(location.url, []).append(location)
            for url, there in locations.items():
                reader = self._readers.setdefault(url, Reader(url, len(self._readers)))
                assert reader.index < STORAGES
                try:
                    studies = reader.read(lambda storage: storage.get_all_studies())
                except StudyError as error:
                    self._warn(str(error))
                    continue
                shown.extend(self._shelve(reader, study, there) for study in studies if _location_of(study, there))
            return shown

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the study shown under that name. Raises `KeyError`."""
        with self._lock:
            for study_id, entry in self._entries.items():
                if entry.name == study_name:
                    return study_id
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name a study is shown under. Raises `KeyError`."""
        return self.entry(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return its directions. Raises `KeyError`."""
        return self._of_study(study_id, lambda storage, own: storage.get_study_directions(own))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return its user attributes. Raises `KeyError`."""
        return self._of_study(study_id, lambda storage, own: storage.get_study_user_attrs(own))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return its system attributes. Raises `KeyError`."""
        return self._of_study(study_id, lambda storage, own: storage.get_study_system_attrs(own))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial. Raises `KeyError`."""
        own_id, index = divmod(trial_id, STORAGES)
        with self._lock:
            reader = next((reader for reader in self._readers.values() if reader.index == index), None)
            if reader is None:
                raise KeyError(trial_id)
            return self._renumbered(reader, reader.read(lambda storage: storage.get_trial(own_id)))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return a study's trials in order of their numbers. Raises `KeyError`."""
        with self._lock:
            reader = self.entry(study_id).reader
            own = self._of_study(
                study_id, lambda storage, own: storage.get_all_trials(own, deepcopy=False, states=states)
            )
            trials = [self._renumbered(reader, trial) for trial in own]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the best whole trial within its constraints, which Optuna's own look at a storage passes over.

        Where none is within, the best of the others. Raises `ValueError` where none is whole.
        """
        whole = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        if not whole:
            raise ValueError("no trial is complete yet")
        (direction,) = self.get_study_directions(study_id)
        better = max if direction is StudyDirection.MAXIMIZE else min
        return better([t for t in whole if is_feasible(t)] or whole, key=lambda trial: trial.value or 0.0)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise StudyError("the dashboard only shows studies: nothing is written to them")

    create_new_study = delete_study = set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse

    def _of_study(self, study_id: int, ask: Callable[[BaseStorage, int], T]) -> T:
        with self._lock:
            entry = self.entry(study_id)
            return entry.reader.read(lambda storage: ask(storage, entry.own_id))

    def _shelve(self, reader: Reader, study: FrozenStudy, locations: Sequence[StudyLocation]) -> FrozenStudy:
        own_id = study._study_id  # noqa: SLF001 - Optuna has no other way to a study's id
        study_id = self._study_ids.setdefault((reader.index, own_id), len(self._study_ids))
        taken = {entry.name for entry in self._entries.values()}
        name = study.study_name
        location = _location_of(study, locations)
        folder = location.folder_of(study.study_name) if location else None
        if name in taken:
            name += f" (in {folder.name})" if folder is not None and folder.name != name else " (another)"
        while name in taken:
            name += " (another)"
        self._entries[study_id] = StudyEntry(reader=reader, own_id=own_id, name=name, folder=folder)
        return FrozenStudy(
            study_name=name,
            direction=None,
            directions=study.directions,
            user_attrs=study.user_attrs,
            system_attrs=study.system_attrs,
            study_id=study_id,
        )

    def _renumbered(self, reader: Reader, trial: FrozenTrial) -> FrozenTrial:
        """Return the trial under its id here: the same object as long as the storage returns the same."""
        trial_id = trial._trial_id * STORAGES + reader.index  # noqa: SLF001 - likewise
        known = self._trials.get(trial_id)
        if known is None or known[0] is not trial:
            renumbered = copy.copy(trial)
            renumbered._trial_id = trial_id  # noqa: SLF001
            known = self._trials[trial_id] = (trial, renumbered)
        return known[1]


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial is within all its constraints."""
    return all(margin <= 0 for margin in trial.constraints.values())


def _location_of(study: FrozenStudy, locations: Sequence[StudyLocation]) -> StudyLocation | None:
    return next((location for location in locations if location.study in {None, study.study_name}), None)


def none_of_that_name(location: StudyLocation) -> StudyError:
    """Return the error for a storage that can be read but lacks the study that is meant; it says which there are."""
    reader = Reader(location.url, 0)
    try:
        names = sorted(study.study_name for study in reader.read(lambda storage: storage.get_all_studies()))
    finally:
        reader.close()
    there = f"there are {', '.join(names)}: give one of these" if names else "there is none: has its search begun?"
    return StudyError(f"a study must be in its storage, but {location.study or location.folder} is not; {there}")

"""Many studies' storages as one that can only be read: no lock is taken, nothing is written, nothing is mended."""

import copy
import json
import threading
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import quote, urlsplit

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from sweeper.errors import StudyError
from sweeper.report.places import Place
from sweeper.study.storage import JOURNAL, redacted

T = TypeVar("T")
STORAGES: Final = 10_000
"""How many storages there may be: a trial's id here is its own id times this, plus its storage's index. The pages read
ids as JavaScript's numbers, exact up to 2**53."""


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """One study among the others."""

    storage: "Reader"
    own_id: int
    """In its own storage."""
    name: str
    """Made different from every other's: two storages may each have a study of one name."""
    folder: Path | None
    """Where its trials' folders are, if that is known."""


class Shelf(BaseStorage):
    """The studies of all places, under ids and names that no two share. Every call that would write is refused."""

    def __init__(self, find: Callable[[], Sequence[Place]], warn: Callable[[str], None]) -> None:
        """Show what `find` finds, asked again for each list of studies; `warn` is told of each that cannot be read."""
        self._find = find
        self._warn = warn
        self._lock = threading.RLock()  # every request has its own thread
        self._readers: dict[str, Reader] = {}
        self._shelved: dict[int, Shelved] = {}
        self._study_ids: dict[tuple[int, int], int] = {}
        self._trials: dict[int, tuple[FrozenTrial, FrozenTrial]] = {}

    def shelved(self, study_id: int) -> Shelved:
        """Return a study's place. Raises `KeyError` for one that is not there."""
        with self._lock:
            if study_id not in self._shelved:
                self.get_all_studies()
            return self._shelved[study_id]

    def close(self) -> None:
        """Let go of all files and connections."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the studies of all storages that can be read now."""
        with self._lock:
            self._shelved = {}
            shown: list[FrozenStudy] = []
            places: dict[str, list[Place]] = {}
            for place in self._find():
                places.setdefault(place.url, []).append(place)
            for url, there in places.items():
                reader = self._readers.setdefault(url, Reader(url, len(self._readers)))
                assert reader.index < STORAGES
                try:
                    studies = reader.read(lambda storage: storage.get_all_studies())
                except StudyError as error:
                    self._warn(str(error))
                    continue
                shown.extend(self._shelve(reader, study, there) for study in studies if _place_of(study, there))
            return shown

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of the study shown under that name. Raises `KeyError`."""
        with self._lock:
            for study_id, shelved in self._shelved.items():
                if shelved.name == study_name:
                    return study_id
        raise KeyError(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name a study is shown under. Raises `KeyError`."""
        return self.shelved(study_id).name

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
            reader = self.shelved(study_id).storage
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
            shelved = self.shelved(study_id)
            return shelved.storage.read(lambda storage: ask(storage, shelved.own_id))

    def _shelve(self, reader: "Reader", study: FrozenStudy, places: Sequence[Place]) -> FrozenStudy:
        own_id = study._study_id  # noqa: SLF001 - Optuna has no other way to a study's id
        study_id = self._study_ids.setdefault((reader.index, own_id), len(self._study_ids))
        taken = {shelved.name for shelved in self._shelved.values()}
        name = study.study_name
        while name in taken:
            name += " (another)"
        place = _place_of(study, places)
        folder = place.folder_of(study.study_name) if place else None
        self._shelved[study_id] = Shelved(storage=reader, own_id=own_id, name=name, folder=folder)
        return FrozenStudy(
            study_name=name,
            direction=None,
            directions=study.directions,
            user_attrs=study.user_attrs,
            system_attrs=study.system_attrs,
            study_id=study_id,
        )

    def _renumbered(self, reader: "Reader", trial: FrozenTrial) -> FrozenTrial:
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


def _place_of(study: FrozenStudy, places: Sequence[Place]) -> Place | None:
    return next((place for place in places if place.study in {None, study.study_name}), None)


class Reader:
    """One storage, opened when it is first read and again when its file was replaced or read with a failure."""

    def __init__(self, url: str, index: int) -> None:
        """Read the storage at that URL, the `index`-th of all."""
        self.index = index
        self._url = url
        self._storage: BaseStorage | None = None
        self._journal: JournalReader | None = None
        self._engine: Any = None

    def read(self, ask: Callable[[BaseStorage], T]) -> T:
        """Ask the storage. Raises `StudyError` naming it, without its password, when it cannot be read."""
        if self._journal is not None and self._journal.was_replaced():
            self.close()
        try:
            self._storage = self._storage or self._open()
            return ask(self._storage)
        except KeyError:
            if self._journal is None or not self._journal.reading:
                raise  # what was asked for is not there
            refusal = StudyError(self._journal.damage)
        except StudyError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - SQLAlchemy's drivers each raise their own; a damaged journal, any
            is_damaged = self._journal is not None and self._journal.reading
            refusal = StudyError(
                self._journal.damage
                if self._journal is not None and is_damaged
                else f"{redacted(self._url)} must be a storage that can be read, but it cannot ({self._why(error)})"
            )
        self.close()  # and opened anew the next time, when it may have been mended
        raise refusal

    def close(self) -> None:
        """Let go of what is open."""
        if self._engine is not None:
            self._engine.dispose()
        self._storage = self._journal = self._engine = None

    def _open(self) -> BaseStorage:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if self._url.startswith(JOURNAL):
            self._journal = JournalReader(Path(self._url.removeprefix(JOURNAL)))
            return JournalStorage(self._journal)
        url = make_url(self._url)
        settings: dict[str, Any] = {"execution_options": {"postgresql_readonly": True}}
        text = self._url
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "").absolute()
            if not path.is_file():
                raise StudyError(f"{self._url} must be a database that is there, but {path} is no file")
            # Opened by its own rules read-only: no lock that a writer takes is ever asked for.
            text, settings = f"{url.drivername}:///file:{quote(str(path))}?mode=ro&uri=true", {}
        database = RDBStorage(text, engine_kwargs=settings, skip_table_creation=True)
        self._engine = database.engine
        # Finished trials, which do not change, are fetched once.
        return optuna.storages.get_storage(database)

    def _why(self, error: BaseException) -> str:
        while error.__cause__ is not None:  # Optuna's own words hide the driver's
            error = error.__cause__
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        password = urlsplit(self._url).password
        return reason.replace(password, "***") if password else reason


class JournalReader(BaseJournalBackend):
    """A journal's whole lines: what is still being written after the last of them is left for the next time."""

    def __init__(self, path: Path) -> None:
        """Read that file, from its beginning."""
        self._path = path
        self._offset = 0
        self._head = b""
        self._line = 0
        self.reading = False
        """Whether a line was read that nobody asked a next one after: then that line is what cannot be applied."""

    @property
    def damage(self) -> str:
        """What to say of the line read last."""
        return (
            f"{self._path} must hold one JSON record a line, but line {self._line} is damaged: restore it, "
            "or move the study's folder away"
        )

    def was_replaced(self) -> bool:
        """Whether the file is another than the one that was read."""
        try:
            with self._path.open("rb") as file:
                # Its first record names the process that wrote it, by a random number; inodes are used again.
                return file.readline() != self._head if self._head else False
        except OSError:
            return True

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Yield the records from that number on, which is always the first not yet read."""
        assert log_number_from == self._line
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.reading = True
                self._line += 1
                self._head = self._head or line
                yield json.loads(line)
                self._offset += len(line)
                self.reading = False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:  # noqa: ARG002 - Optuna's signature
        """Refuse."""
        raise StudyError("the dashboard only shows studies: nothing is written to them")

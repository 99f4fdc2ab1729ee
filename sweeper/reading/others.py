"""Reads the studies that a search starts from: by name or folder, as `report` finds them."""

import optuna
from optuna.storages import BaseStorage

from sweeper.errors import StudyError
from sweeper.reading.locations import StudyLocation, find_locations, read_yaml
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.study.attributes import SEARCH
from sweeper.study.goal import Goal
from sweeper.study.warm_start import OtherStudy


def read_other(name: str) -> OtherStudy:
    """Return a study as it stands now. Raises `StudyError` if there is none, or its storage cannot be read."""
    try:
        (location,) = find_locations(name, None, warn=lambda _: None)
        with StorageReader(location.url) as reader:
            return reader.read(lambda storage: _read(storage, location))
    except StudyError as error:
        text = str(error).removeprefix("STUDY ")
        raise StudyError(f"hydra.sweeper.warm_start{' ' if text != str(error) else ': '}{text}") from None


def _read(storage: BaseStorage, location: StudyLocation) -> OtherStudy:
    study = optuna.load_study(study_name=study_name(storage, location), storage=storage)
    folder = location.folder_of(study.study_name)
    search = study.user_attrs.get(SEARCH) or (read_yaml(folder / "search.yaml") if folder is not None else None)
    return OtherStudy(
        name=study.study_name,
        goal=Goal.of(study),
        search=search if isinstance(search, dict) else {},
        trials=study.get_trials(deepcopy=False),
    )

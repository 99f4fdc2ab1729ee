"""The only module that uses private parts of Optuna."""

from collections.abc import Mapping
from typing import Any, Final

import optuna
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial

__all__ = [
    "VERSION",
    "FrozenStudy",
    "cached",
    "queued_params",
    "running_trial",
    "set_user_attr",
    "study_id",
    "with_identity",
]

VERSION: Final = "5.0.0"
"""The version of Optuna that these functions were checked against."""


def cached(database: RDBStorage) -> BaseStorage:
    """Return the database behind a cache that fetches finished trials once.

    `optuna.load_study` adds this cache but returns a study; a reader of several studies needs the storage itself.
    `get_storage` is documented as internal.
    """
    return get_storage(database)


def study_id(study: FrozenStudy) -> int:
    """Return a study's id in its storage.

    `BaseStorage.get_all_studies` is public, but it returns objects of a private class without a public id. The public
    `get_study_id_from_name` would cost a query per study.
    """
    return study._study_id  # noqa: SLF001


def with_identity(study: FrozenStudy, *, name: str, study_id: int) -> FrozenStudy:
    """Return the study under another name and id, for a storage that merges several storages.

    A custom storage must return this private class from the public `get_all_studies`.
    """
    return FrozenStudy(
        study_name=name,
        direction=None,
        directions=study.directions,
        user_attrs=study.user_attrs,
        system_attrs=study.system_attrs,
        study_id=study_id,
    )


def running_trial(study: optuna.Study, number: int) -> optuna.Trial:
    """Return the `optuna.Trial` with this number, which another process asked for, to report epochs to it.

    `Study.tell` accepts a number, but `optuna.Trial` needs the trial's id, which no public function returns.
    """
    return optuna.Trial(study, _trial_id(study, number))


def set_user_attr(study: optuna.Study, number: int, key: str, value: object) -> None:
    """Set a user attribute of the trial with this number.

    The public way needs an `optuna.Trial`, and creating another one would announce a new trial to the sampler.
    """
    study._storage.set_trial_user_attr(_trial_id(study, number), key, value)  # noqa: SLF001


def queued_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return the parameters with which a trial was queued; empty if it was not queued.

    `Study.enqueue_trial` stores them in a system attribute whose key is not documented.
    """
    params: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return params


def _trial_id(study: optuna.Study, number: int) -> int:
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)  # noqa: SLF001

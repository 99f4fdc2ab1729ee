"""The private parts of Optuna that sweeper needs, in one place."""

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
"""The version of Optuna that these functions were compared with."""


def cached(database: RDBStorage) -> BaseStorage:
    """Return the database behind a cache that fetches finished trials once.

    `optuna.load_study` adds this cache, but returns a study, not the storage; a reader of several studies needs the
    storage. `get_storage` is documented as internal.
    """
    return get_storage(database)


def study_id(study: FrozenStudy) -> int:
    """Return a study's id in its storage.

    `BaseStorage.get_all_studies` is public, but the class of what it returns is not, and hides the id. The public
    `get_study_id_from_name` would cost a query per study.
    """
    return study._study_id  # noqa: SLF001


def with_identity(study: FrozenStudy, *, name: str, study_id: int) -> FrozenStudy:
    """Return the study under another name and id, as a storage that merges storages shows it.

    A storage of one's own has to return this private class from the public `get_all_studies`.
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
    """Return the trial of that number, asked for by another process, to report to.

    `Study.tell` takes a number, but nothing public makes an `optuna.Trial` of one: it takes the trial's id.
    """
    return optuna.Trial(study, _trial_id(study, number))


def set_user_attr(study: optuna.Study, number: int, key: str, value: object) -> None:
    """Set a user attribute of the trial of that number.

    The public way is through an `optuna.Trial`, and to make one again would tell the sampler of a new trial.
    """
    study._storage.set_trial_user_attr(_trial_id(study, number), key, value)  # noqa: SLF001


def queued_params(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return the parameters that a queued trial will have once it is asked for.

    `Study.enqueue_trial` keeps them in a system attribute whose key is not documented.
    """
    params: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
    return params


def _trial_id(study: optuna.Study, number: int) -> int:
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)  # noqa: SLF001

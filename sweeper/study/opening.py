"""Opens a study under its lock: creates or resumes it in its folder and its storage."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from sweeper.config.file_rules import STORAGE
from sweeper.errors import StudyError
from sweeper.run.folder import OUTPUTS, write_atomically
from sweeper.search.definition import Search
from sweeper.search.options import StudyOptions
from sweeper.search.quoting import quoted
from sweeper.shell import join
from sweeper.study.attributes import SEARCH
from sweeper.study.coordination import Coordination, make_coordination, opening_lock
from sweeper.study.facts import tries_every_point
from sweeper.study.folder import StudyFolder, check_same_search
from sweeper.study.goal import GOAL, Goal
from sweeper.study.idle_options import typed_settings
from sweeper.study.liveness import lost_trials
from sweeper.study.optuna_private import SearchStudy
from sweeper.study.parts import feasible, make_parts
from sweeper.study.reporting import forget_studies
from sweeper.study.server import PostgresqlStorage, patiently
from sweeper.study.storage import absolute_url, journal_url, open_patiently, open_storage
from sweeper.study.storage_url import check_typed
from sweeper.study.trial_record import create_table, save_sweep
from sweeper.study.trials import TrialStore
from sweeper.study.warm_start import ReadOther, best_point

HASH_DIGITS: Final = 8
"""Number of digits of the search's hash in a default study name."""


@dataclass(frozen=True, kw_only=True)
class OpenedStudy:
    """A study that this process runs, alone or with others."""

    name: str
    study: SearchStudy
    folder: StudyFolder
    url: str
    """The storage's URL, including its password."""
    storage: BaseStorage
    trials: TrialStore
    coordination: Coordination
    grace_seconds: float
    """The time after which a silent process counts as dead."""
    sampler: str
    """The dotted name of its sampler's class."""

    @property
    def tries_every_point(self) -> bool:
        """Whether the sampler proposes every point of the space once."""
        return tries_every_point({"sampler": {"_target_": self.sampler}})

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study's lock: no other process asks for a trial while this one counts them."""
        return self.coordination.lock()

    def lost(self) -> frozenset[int]:
        """Return the numbers of the running trials whose process is gone, or silent for longer than the grace time."""
        ages = self.coordination.seconds_since_beats(self.study)
        return lost_trials(self.trials.trials(), ages, grace_seconds=self.grace_seconds)

    def reader(self) -> Callable[[], list[FrozenTrial]]:
        """Return a function that reads all trials in another thread, over a connection of its own to a server."""
        if not isinstance(self.storage, PostgresqlStorage):
            return self.trials.trials
        study = patiently(lambda: SearchStudy(self.name, open_patiently(self.url)))
        return lambda: study.get_trials(deepcopy=False)


def open_study(
    search: Search, options: StudyOptions, config: DictConfig, read_other: ReadOther | None = None
) -> OpenedStudy:
    """Create the study or resume it, and queue its first points. Sets the study's folder and name in `config`.

    `read_other` reads the studies of a warm start; without it there is none.

    Raises `StudyError` for options, a folder or a storage that cannot be used, before any point is queued.
    """
    forget_studies()
    parts = make_parts(search, options, config, read_other)
    sampler, pruner, goal, warm_start = parts.sampler, parts.pruner, parts.goal, parts.warm_start
    given_storage = _given_storage(options, config)
    record = search.record()
    name = options.study_name or _name(search, record, config)
    wrapped = feasible(sampler, search)
    path = _path(name, search, config)
    if not path.exists():
        parts.check_new()
    folder = StudyFolder(path)
    url = absolute_url(options.storage) if options.storage else journal_url(folder.journal)
    multirun = OmegaConf.to_yaml(config)

    def opened() -> OpenedStudy:
        # A server is reached before anything is written here; a journal is created under the lock.
        with opening_lock(given_storage, url, name, folder):
            if given_storage is None and not folder.journal.exists():
                _check_no_trials(folder, known=0)
            folder.check_search(name, record)
            if given_storage is None:
                folder.write_search(record)  # a journal without it is not known as a study's
            storage = given_storage or open_storage(url)
            if given_storage is None:
                _check_name(folder, storage, name)
            optuna.create_study(
                study_name=name,
                storage=storage,
                sampler=wrapped,
                pruner=pruner,
                directions=goal.directions,
                load_if_exists=True,
            )
            study = SearchStudy(name, storage, sampler=wrapped, pruner=pruner)
            study.is_thinned = isinstance(sampler, optuna.samplers.TPESampler) and len(goal.directions) == 1
            _check_directions(study, name, goal)
            _claim(study, name, record)
            folder.write_search(record)
            _name_values(study, goal, search)
            trials = TrialStore(study, search.space, max_retry=options.max_retry)
            _check_no_trials(folder, known=len(trials.trials()))
            is_new = not trials.trials()
            if not is_new:
                sampler.reseed_rng()  # otherwise a seeded sampler would propose its first points again
            if isinstance(storage, PostgresqlStorage):
                create_table(storage)
                save_sweep(storage, name, multirun, is_new=is_new)
            trials.finish_requeues()
            study.seeds = warm_start.seeds(study)
            trials.enqueue_missing((*search.starts, *best_point(study.seeds, goal)))
        return OpenedStudy(
            name=name,
            study=study,
            folder=folder,
            url=url,
            storage=storage,
            trials=trials,
            coordination=make_coordination(study, storage, url, folder),
            grace_seconds=options.grace_seconds,
            sampler=f"{type(sampler).__module__}.{type(sampler).__qualname__}",
        )

    study = patiently(opened)
    write_atomically(folder.multirun, multirun.encode())
    # A storage that was given stays as it was written, which may refer to a variable, unless jobs would not find it.
    _set_for_jobs(config, folder.path, name, url if url != options.storage else None)
    return study


def _given_storage(options: StudyOptions, config: DictConfig) -> BaseStorage | None:
    """Open the storage that the options name. Raises `StudyError` if it cannot be, or if the config holds its password."""
    typed = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    assert isinstance(typed, dict)
    check_typed(str(typed.get("storage") or ""), f"{STORAGE}=")
    return open_storage(options.storage) if options.storage else None


def _name(search: Search, record: Mapping[str, Any], config: DictConfig) -> str:
    preset = None if search.base is None else config.hydra.runtime.choices.get("search")
    prefix = preset or search.prefix
    return f"{prefix}-{record['sha256'][:HASH_DIGITS]}"


def _path(name: str, search: Search, config: DictConfig) -> Path:
    """Return the study's folder: ``hydra.sweep.dir`` if given, else in outputs/studies.

    Another application's own config may give it too, but not a folder whose name is the time: the same command would not
    find its study again.
    """
    is_given = any(line.startswith("hydra.sweep.dir=") for line in typed_settings(config))
    if search.base is None:
        sweep = OmegaConf.to_container(config.hydra.sweep, resolve=False)
        assert isinstance(sweep, dict)
        is_given = is_given or "${now:" not in str(sweep["dir"])
    return Path(config.hydra.sweep.dir) if is_given else OUTPUTS / "studies" / name


def _claim(study: optuna.Study, name: str, record: Mapping[str, Any]) -> None:
    """Write the search's record into the storage. Raises `StudyError` if it holds another search under this name."""
    record = json.loads(json.dumps(record))
    saved = study.user_attrs.get(SEARCH)
    if saved is None:
        study.set_user_attr(SEARCH, record)
    elif saved != record:
        try:
            check_same_search(name, saved, record)
        except (KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                f"study {name} in the storage must have been made by sweeper, but its attribute {SEARCH} is no search: give "
                "another hydra.sweeper.study_name"
            ) from error


def _check_directions(study: optuna.Study, name: str, goal: Goal) -> None:
    """Raise `StudyError` if a study that exists looks for something else: Optuna would keep its own directions."""
    there, here = (
        ", ".join(each.name.lower() for each in directions) for directions in (study.directions, goal.directions)
    )
    if there != here:
        raise StudyError(
            f"study {name} holds another search: its direction is {there} there and {here} here: give another "
            "hydra.sweeper.study_name, or none"
        )


def _name_values(study: optuna.Study, goal: Goal, search: Search) -> None:
    """Save what the two values of a search with a cost are."""
    if goal.cost is not None:
        is_on_test = search.base is not None and search.base.data.validation == "test"
        study.set_user_attr(GOAL, goal.record)
        study.set_metric_names([f"{'test' if is_on_test else 'validation'} accuracy", goal.unit])


def _check_no_trials(folder: StudyFolder, *, known: int) -> None:
    """Raise `StudyError` if the folder holds trials that are not among the `known` first ones, which the storage has.

    New trials would take their numbers and their folders.
    """
    numbers = folder.trial_numbers()
    if numbers and numbers[-1] >= known:
        has = (
            f"trials up to {numbers[-1]}, of which the storage knows the first {known}"
            if known
            else "trials that the storage does not know"
        )
        raise StudyError(
            f"a study's trials must be in its storage, but {folder.path} holds {has}: give the storage they are in, restore "
            "it from a copy, or move the folder away"
        )


def _check_name(folder: StudyFolder, storage: BaseStorage, name: str) -> None:
    """Raise `StudyError` if the folder's own journal has the trials under another name, as after the folder's renaming."""
    names = [study.study_name for study in optuna.get_all_study_summaries(storage) if study.n_trials]
    if not names or name in names or not folder.trial_numbers():
        return
    settings = {"hydra.sweep.dir": os.path.relpath(folder.path), "hydra.sweeper.study_name": names[0]}
    typed = join(f"{key}={quoted(value)}" for key, value in settings.items())
    raise StudyError(
        f"a study must have the name that its journal knows, but {folder.path} holds the trials of study {names[0]}, not "
        f"of {name}: go on with {typed}"
    )


def _set_for_jobs(config: DictConfig, folder: Path, name: str, url: str | None) -> None:
    """Set the study's folder, name and storage in Hydra's settings, which jobs read; their overrides stay unchanged."""
    settings = {"hydra.sweep.dir": str(folder), "hydra.sweeper.study_name": name}
    if url is not None:
        settings[STORAGE] = url
    with read_write(config.hydra), open_dict(config):
        for key, value in settings.items():
            OmegaConf.update(config, key, value)
            config.hydra.overrides.hydra.append(f"{key}={quoted(value)}")

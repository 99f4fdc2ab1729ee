"""Which configs are confirmed: a study's best trials or its front, or given runs; and with which seeds."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sweeper.config.schema import ExperimentConf
from sweeper.data.openings import log_path
from sweeper.errors import ConfigError, RunFolderError, StudyError
from sweeper.reading.locations import StudyLocation, find_locations, lookup, read_yaml
from sweeper.reading.storage_reader import StorageReader, study_name
from sweeper.reading.study_files import restored_folder
from sweeper.records import RunResult
from sweeper.replicates.replicate import NamedConfig
from sweeper.run.folder import RunFolder
from sweeper.search.space import read_space
from sweeper.study.attributes import DUPLICATE
from sweeper.study.folder import StudyFolder, trial_folder
from sweeper.study.front import front_trials
from sweeper.study.goal import Goal
from sweeper.terminal.console import display_path

FIRST_SEED: Final = 1001
"""The first seed of a confirmation, unless the search has used it."""
CONFIRMATIONS: Final = "confirmations"
"""Folder of the confirmations of runs, in the outputs/ that holds the first run; a study's is in the study's folder."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A config to confirm, and the run that it was selected by."""

    name: str
    """For example ``trial-7``."""
    trial: int | None
    """The trial's number; None for a run that is not given as part of a study."""
    folder: Path
    """The run's folder."""
    conf: ExperimentConf
    result: RunResult

    @property
    def refit(self) -> NamedConfig:
        """Its config without validation, whose seed is still to be set."""
        data = replace(self.conf.data, validation="none")
        return NamedConfig(name=self.name, conf=replace(self.conf, data=data))


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What one command confirms."""

    name: str
    """The study's name, or that of the runs."""
    study: Path | None
    """The study's folder; None for runs."""
    folder: Path
    """The folder that gets `confirm.json`."""
    candidates: list[Candidate]
    """The best first."""
    used_seeds: frozenset[int]
    """The seeds of the search or of the runs."""

    @property
    def replicates(self) -> Path:
        """The folder of the replicates."""
        return self.folder / "confirmation" if self.study is not None else self.folder

    def seeds(self, count: int) -> list[int]:
        """Return the first `count` seeds that the search did not use: always the same ones, so that they are reused."""
        fresh = (seed for seed in itertools.count(FIRST_SEED) if seed not in self.used_seeds)
        return list(itertools.islice(fresh, count))


def select_trials(name: str, *, storage: str | None, top: int, pareto: bool) -> Selection:
    """Select the `top` best completed trials of a study, or with `pareto` all on its front of accuracy and cost.

    Trials that differ in their seed alone are one candidate. Raises `StudyError` if the study cannot be read, has no
    completed trial, has no folder on this machine, or has used the test set; `RunFolderError` for a damaged trial.
    """
    (location,) = find_locations(name, storage, warn=lambda _: None)
    with StorageReader(location.url) as reader:
        study = reader.read(lambda storage: _load(storage, location))
        title, goal = study.study_name, reader.read(lambda _: Goal.of(study))
        folder = restored_folder(reader, location, study)
        trials = reader.read(lambda _: study.get_trials(deepcopy=False))
    if folder is None:
        raise StudyError(f"the trials' configs must be on this machine, but study {name} has no folder here")
    completed = [t for t in trials if t.state is TrialState.COMPLETE and DUPLICATE not in t.user_attrs]
    ranked = front_trials(trials, goal) if pareto else sorted(completed, key=goal.order)
    if completed and not ranked:
        raise StudyError(f"a front needs trials with a known size, but study {title} has none: leave out --pareto")
    if not ranked:
        raise StudyError(f"a confirmation needs a completed trial, but study {title} has none: run the search first")
    found = (_candidate(trial_folder(folder, t), f"trial-{t.number}", t.number) for t in ranked)
    candidates = list(itertools.islice(_distinct(found), None if pareto else top))
    return Selection(
        name=title,
        study=folder,
        folder=folder,
        candidates=candidates,
        used_seeds=frozenset(_seeds_of_study(folder, trials)),
    )


def select_runs(folders: Sequence[Path]) -> Selection:
    """Select the configs of given runs. Raises `RunFolderError` for a folder without a completed run, or on test images."""
    # A folder given twice, for example with and without a slash, is one run.
    paths = list(dict.fromkeys(display_path(folder) for folder in folders))
    names: list[str] = []
    for path in paths:
        name = _slug(path)
        names.append(name if name not in names else f"{name}-{len(names)}")
    candidates = list(_distinct(_candidate(RunFolder(p), n, None) for p, n in zip(paths, names, strict=True)))
    used = {candidate.conf.seed for candidate in candidates}
    for parent in {path.absolute().parent for path in paths}:
        if (parent / "search.yaml").exists():
            used.update(_seeds_of_study(parent, []))
    identity = hashlib.sha256("\n".join(sorted(str(path.absolute()) for path in paths)).encode()).hexdigest()
    name = names[0] if len(names) == 1 else f"{names[0]}-and-{len(names) - 1}-more-{identity[:8]}"
    # In the runs' own outputs/, whatever the working folder: there the openings are logged.
    folder = display_path(log_path(paths[0]).parent / CONFIRMATIONS / name)
    return Selection(name=name, study=None, folder=folder, candidates=candidates, used_seeds=frozenset(used))


def _load(storage: BaseStorage, location: StudyLocation) -> optuna.Study:
    return optuna.load_study(study_name=study_name(storage, location), storage=storage)


def _candidate(files: RunFolder, name: str, trial: int | None) -> Candidate:
    if not files.path.is_dir():
        raise RunFolderError(
            f"a confirmation needs the folder of each of its runs, but {display_path(files.path)} is missing: restore it, or "
            "confirm other runs by their folders"
        )
    try:
        conf, result = files.read_config(), files.read_result()
    except ConfigError as error:
        raise RunFolderError(
            f"a confirmation needs runs of sweeper, but the config of {display_path(files.path)} is none: {error}"
        ) from error
    if result is None:
        raise RunFolderError(
            f"a confirmation needs a complete run, but {display_path(files.path)} has no result.json: run it to its end, or "
            "give another"
        )
    if conf.data.validation != "split":
        raise RunFolderError(
            f"{display_path(files.path)} was validated on the test set (data.validation=test), which cannot confirm what "
            "was chosen on it: search with data.validation=split"
        )
    return Candidate(name=name, trial=trial, folder=files.path, conf=conf, result=result)


def _distinct(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates without those whose config differs from an earlier one in the seed alone."""
    seen: list[dict[str, Any]] = []
    for candidate in candidates:
        key = {**asdict(candidate.conf), "seed": None}
        if key not in seen:
            seen.append(key)
            yield candidate


def _seeds_of_study(folder: Path, trials: Sequence[FrozenTrial]) -> Iterator[int]:
    """Yield every seed that a study names: in its configs, its trials' values and its search space."""
    files = StudyFolder(folder)
    search = read_yaml(files.search)
    configs = [read_yaml(path) for path in folder.glob("*/.hydra/config.yaml")]
    values = [lookup(config, "seed") for config in configs] + [lookup(search, "base", "seed")]
    values += [trial.params.get("seed") for trial in trials]
    for key, distribution in read_space(search).items():
        if key.lstrip("+") == "seed" and isinstance(distribution, CategoricalDistribution):
            values += distribution.choices
    for value in values:
        if str(value).isdigit():
            yield int(str(value))


def _slug(path: Path) -> str:
    """Return a run's name that can be a folder's: its last two parts, which for a run are date and time."""
    parts = path.absolute().parts[-2:]
    return re.sub(r"[^\w.-]+", "-", "-".join(parts)).strip("-.") or "run"

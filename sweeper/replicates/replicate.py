"""Replicates and their folders: which are complete, and whether a folder's run has the config that is asked for."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from sweeper.config.loading import dotted
from sweeper.config.schema import ExperimentConf
from sweeper.errors import RunFolderError, SweeperError
from sweeper.run.folder import RunFolder
from sweeper.terminal.console import display_path

RESOLVED: Final = ("device", "precision", "threads")
"""Keys whose value ``auto`` a run replaces by this machine's."""
IRRELEVANT: Final = ("data.root", "logging.name")
"""Keys that do not change what is trained."""
UNFINISHED: Final = ".unfinished-"
"""Start of the name of a folder in which a run is being trained; it gets its own name once the run is complete."""


@dataclass(frozen=True, kw_only=True)
class NamedConfig:
    """A config to train with several seeds."""

    name: str
    """For display, and as the name of the folder of its runs: ``trial-3``."""
    conf: ExperimentConf
    """Its seed is replaced."""


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """One run: a config with one seed."""

    name: str
    """The name of its config."""
    conf: ExperimentConf
    folder: Path
    """The run's folder, which exists if and only if the run is complete."""

    @property
    def label(self) -> str:
        """For example ``trial-3 seed 1001``."""
        return f"{self.name} seed {self.conf.seed}"

    @property
    def unfinished(self) -> Path:
        """The folder in which it is trained."""
        return self.folder.with_name(UNFINISHED + self.folder.name)

    def is_complete(self) -> bool:
        """Whether the run was trained to its last epoch."""
        return self.folder.is_dir()

    def differs(self) -> bool:
        """Whether the complete run has another config than asked for, or none that can be read."""
        try:
            self.check()
        except RunFolderError:
            return True
        return False

    def check(self) -> None:
        """Raise `RunFolderError` if the run is complete, but its config is another one than asked for."""
        try:
            saved = RunFolder(self.folder).read_config()
        except SweeperError as error:
            raise RunFolderError(f"{error}; delete {display_path(self.folder)} to train it again") from error
        differences = [f"{key} is {there} there and {here} here" for key, there, here in _differences(saved, self.conf)]
        if differences:
            raise RunFolderError(
                f"{display_path(self.folder)} holds a run of another config: {'; '.join(differences)}: "
                f"delete {display_path(self.folder)}, or move it away"
            )


def make_replicates(folder: Path, configs: Sequence[NamedConfig], seeds: Sequence[int]) -> list[Replicate]:
    """Return a run for each seed and config, in folders ``<name>/seed-<seed>``; every config's first seed comes first.

    So an interrupted command has trained all configs equally often.
    """
    return [
        Replicate(name=each.name, conf=replace(each.conf, seed=seed), folder=folder / each.name / f"seed-{seed}")
        for seed in seeds
        for each in configs
    ]


def complete_replicates(folder: Path, config: NamedConfig) -> list[Replicate]:
    """Return a config's complete runs, whatever their seeds, by seed; those that hold another config are left out."""
    names = [path.name.removeprefix("seed-") for path in (folder / config.name).glob("seed-*")]
    seeds = sorted(int(name) for name in names if name.isdecimal())
    return [run for run in make_replicates(folder, [config], seeds) if run.is_complete() and not run.differs()]


def check_complete(runs: Sequence[Replicate]) -> None:
    """Raise `RunFolderError` if one of the complete runs has another config than asked for."""
    for run in runs:
        if run.is_complete():
            run.check()


def remove_unfinished(runs: Sequence[Replicate]) -> None:
    """Delete the folders of runs that were cut short. The caller must hold the folder's lock."""
    for run in runs:
        shutil.rmtree(run.unfinished, ignore_errors=True)


def _differences(saved: ExperimentConf, asked: ExperimentConf) -> Iterator[tuple[str, Any, Any]]:
    """Yield the keys that differ, each with both values; `saved` is resolved, `asked` may have ``auto``."""
    there, here = dict(dotted(asdict(saved))), dict(dotted(asdict(asked)))
    for key in dict.fromkeys([*there, *here]):
        if key in IRRELEVANT or (key in RESOLVED and here.get(key) == "auto"):
            continue
        if there.get(key) != here.get(key):
            yield key, there.get(key), here.get(key)

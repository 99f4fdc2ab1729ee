"""Which files a study keeps on disk beside its trials' folders, and whether a folder holds this search or another."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml

from sweeper.config.schema import dotted
from sweeper.errors import StudyError
from sweeper.run.folder import RunFolder, write_atomically
from sweeper.study.storage import exclusive


class StudyFolder:
    """A study's folder, one property per file; a trial's own folder is named by its number."""

    def __init__(self, path: Path) -> None:
        """Make the folder at `path`, unless it is there. Raises `StudyError` where that cannot be done."""
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"{self.path} cannot be made ({error.strerror}): name another hydra.sweep.dir") from error

    @property
    def journal(self) -> Path:
        """The storage, unless another is given."""
        return self.path / "journal.log"

    @property
    def search(self) -> Path:
        """What is searched, as `space.describe` has it."""
        return self.path / "search.yaml"

    @property
    def multirun(self) -> Path:
        """Hydra's config of the sweep, where other tools of Hydra look for it."""
        return self.path / "multirun.yaml"

    @property
    def best(self) -> Path:
        """A copy of the best trial's folder."""
        return self.path / "best"

    @property
    def best_config(self) -> Path:
        """The best trial's config."""
        return self.path / "best.yaml"

    @property
    def report(self) -> Path:
        """The study's page."""
        return self.path / "report.html"

    def trial(self, number: int) -> RunFolder:
        """Return a trial's folder."""
        return RunFolder(self.path / str(number))

    def holds_trials(self) -> bool:
        """Whether any trial has left a folder."""
        return any(entry.name.isdigit() for entry in self.path.iterdir())

    def turn(self) -> AbstractContextManager[None]:
        """Keep every other process off this study meanwhile; a killed one lets go."""
        return exclusive(self.path / ".turn")

    def write_report(self, page: Callable[[], str]) -> None:
        """Write the study's page. Of several processes whose searches end together the last also reads the study last.

        Raises `StudyError` where it cannot be written.
        """
        try:
            with exclusive(self.path / ".page"):
                write_atomically(self.report, page().encode())
        except OSError as error:
            raise StudyError(
                f"{self.report} cannot be written ({error.strerror}): write it with report --out FILE"
            ) from error

    def claim(self, name: str, described: Mapping[str, Any]) -> None:
        """Write what is searched, or refuse a folder that holds another search, saying what differs."""
        if not self.search.exists():
            write_atomically(self.search, yaml.safe_dump(dict(described), sort_keys=False).encode())
            return
        try:
            saved = yaml.safe_load(self.search.read_text())
            differences = list(_differences(saved, described))
        except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                f"{self.search} must say what study {name} searches, but it is damaged: restore it, or delete it to have "
                "it written anew from this command"
            ) from error
        if differences:
            raise StudyError(
                f"study {name} holds another search: {'; '.join(differences)}: give another hydra.sweeper.study_name, "
                "or none"
            )

    def keep_best(self, number: int) -> None:
        """Copy a trial's folder to ``best/``, and its config to ``best.yaml``; one that left no result is passed over."""
        source = self.trial(number)
        if not source.result.exists():
            return
        temporary = self.path / ".best.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.copytree(source.path, temporary)
        shutil.rmtree(self.best, ignore_errors=True)
        os.replace(temporary, self.best)
        write_atomically(self.best_config, RunFolder(self.best).config.read_bytes())


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two descriptions of a search, a phrase each."""
    for key in dict.fromkeys([*saved["space"], *now["space"]]):
        there, here = saved["space"].get(key), now["space"].get(key)
        if there != here:
            how = "differently" if there and here else "there, but not here" if there else "here, but not there"
            yield f"{key} is searched {how}"
    if saved["fixed"] != now["fixed"]:
        yield f"fixed overrides are {saved['fixed']} there and {now['fixed']} here"
    old, new = dict(dotted(saved["base"])), dict(dotted(now["base"]))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield f"{key} is {old.get(key)} there and {new.get(key)} here"

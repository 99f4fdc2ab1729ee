"""The files of a study's folder, and the check that a folder belongs to this search and not to another."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import yaml
from optuna.trial import FrozenTrial

from sweeper.config.loading import dotted, load
from sweeper.errors import StudyError, SweeperError
from sweeper.run.folder import RunFolder, write_atomically
from sweeper.study.attributes import DUPLICATE
from sweeper.study.locks import exclusive
from sweeper.untrusted import parse_yaml, read_text

BEST: Final = "best"
"""Name of the folder with a copy of the best trial."""
ELSEWHERE: Final = ("data.root",)
"""Keys that may differ between the hosts of one study."""
CONFIRM: Final = "confirm.json"
"""Name of the file that the command `confirm` leaves."""


class StudyFolder:
    """A study's folder, with one property per file. Trial n has the subfolder ``n``."""

    def __init__(self, path: Path) -> None:
        """Create the folder at `path` if it does not exist. Raises `StudyError` if that fails."""
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(
                f"{self.path} cannot be created ({error.strerror}): name another hydra.sweep.dir"
            ) from error

    @property
    def journal(self) -> Path:
        """The journal file, which is the study's storage if no other is configured."""
        return self.path / "journal.log"

    @property
    def search(self) -> Path:
        """The search, as `Search.record` describes it."""
        return self.path / "search.yaml"

    @property
    def multirun(self) -> Path:
        """Hydra's config of the sweep, under the name that Hydra's own sweepers use."""
        return self.path / "multirun.yaml"

    @property
    def best(self) -> Path:
        """A copy of the best trial's folder."""
        return self.path / BEST

    @property
    def best_config(self) -> Path:
        """The best trial's config."""
        return self.path / "best.yaml"

    @property
    def results(self) -> Path:
        """The best parameters and value, as hydra-optuna-sweeper writes them."""
        return self.path / "optimization_results.yaml"

    @property
    def report(self) -> Path:
        """The study's HTML page."""
        return self.path / "report.html"

    def trial(self, number: int) -> RunFolder:
        """Return a trial's folder."""
        return RunFolder(self.path / str(number))

    def trial_numbers(self) -> list[int]:
        """Return the numbers of the trials that have left a folder, the lowest first."""
        return sorted(int(entry.name) for entry in self.path.iterdir() if entry.name.isdecimal())

    @property
    def lock_file(self) -> Path:
        """The file whose lock excludes other processes, for a study whose storage is the journal."""
        return self.path / ".turn"  # the name in the first version, which may share the study

    def write_report(self, page: Callable[[], str]) -> None:
        """Write the study's page under a lock. If several processes end together, the last page written has all trials.

        Raises `StudyError` if the page cannot be written.
        """
        try:
            with exclusive(self.path / ".page"):
                write_atomically(self.report, page().encode())
        except OSError as error:
            raise StudyError(
                f"{self.report} cannot be written ({error.strerror}): write it with report --out FILE"
            ) from error

    def write_search(self, record: Mapping[str, Any]) -> None:
        """Write the search's record, unless the folder has one."""
        if not self.search.exists():
            write_atomically(self.search, yaml.safe_dump(dict(record), sort_keys=False).encode())

    def check_search(self, name: str, record: Mapping[str, Any]) -> None:
        """Raise `StudyError` if the folder holds another search, naming the differences."""
        if not self.search.exists():
            return
        try:
            saved = parse_yaml(read_text(self.search))
            check_same_search(name, saved, record)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                f"{self.search} must describe the search of study {name}, but it is damaged: restore it, or delete it "
                "so that this command writes it again"
            ) from error

    def keep_best(self, source: RunFolder) -> None:
        """Copy a completed trial's folder to ``best/`` and its config to ``best.yaml``, if they are on this machine."""
        if not source.config.exists():
            return
        temporary = self.path / ".best.tmp"
        with exclusive(self.path / ".best"):
            shutil.rmtree(temporary, ignore_errors=True)
            # TensorBoard would show the copy's event files as another run.
            shutil.copytree(source.path, temporary, ignore=shutil.ignore_patterns(source.tensorboard.name))
            shutil.rmtree(self.best, ignore_errors=True)
            os.replace(temporary, self.best)
            write_atomically(self.best_config, RunFolder(self.best).config.read_bytes())

    def write_results(self, best: Sequence[FrozenTrial]) -> None:
        """Write the best trial of one objective, or the front of two, as hydra-optuna-sweeper does."""
        if len(best[0].values) == 1:
            results: dict[str, Any] = {"best_params": best[0].params, "best_value": best[0].values[0]}
        else:
            results = {"solutions": [{"params": trial.params, "values": trial.values} for trial in best]}
        write_atomically(self.results, yaml.safe_dump({"name": "optuna", **results}, sort_keys=False).encode())


def check_same_search(name: str, saved: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Raise `StudyError`, naming the differences, if a study's saved search is another one than `record`.

    Raises KeyError, TypeError or AttributeError for a damaged one.
    """
    differences = list(_differences(saved, record))
    if differences:
        raise StudyError(
            f"study {name} holds another search: {'; '.join(differences)}: give another hydra.sweeper.study_name, "
            "or none"
        )


def trial_folder(study_folder: Path, trial: FrozenTrial) -> RunFolder:
    """Return the folder with a trial's files: its own, or if it repeats another trial's config, that trial's."""
    repeated = trial.user_attrs.get(DUPLICATE)
    # In another program's study this key may have any value.
    number = repeated if isinstance(repeated, int) and repeated >= 0 else trial.number
    return RunFolder(study_folder / str(number))


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between two records of a search, one phrase each."""
    for key in dict.fromkeys([*saved["space"], *now["space"]]):
        there, here = saved["space"].get(key), now["space"].get(key)
        if there != here:
            how = "differently" if there and here else "there, but not here" if there else "here, but not there"
            yield f"{key} is searched {how}"
    if _elsewhere_too(saved["fixed"]) != _elsewhere_too(now["fixed"]):
        yield f"fixed overrides are {saved['fixed']} there and {now['fixed']} here"
    goals = [record.get("goal") for record in (saved, now)]
    if goals[0] != goals[1]:
        had, has = (_goal_in_words(goal) for goal in goals)
        yield f"it is after {had} there and {has} here"
    old, new = (_compared(record) for record in (saved, now))
    for key in dict.fromkeys([*old, *new]):
        if key not in ELSEWHERE and old.get(key) != new.get(key):
            yield f"{key} is {old.get(key)} there and {new.get(key)} here"


def _compared(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a record by dotted key: of a network's, or of another application's with its name."""
    application = record.get("application")
    if application:
        return {"the application": application["name"], **dict(dotted(application["config"]))}
    return dict(dotted(_completed(record["base"])))


def _elsewhere_too(fixed: Sequence[str]) -> list[str]:
    """Return the overrides that all hosts share."""
    return [line for line in fixed if line.partition("=")[0] not in ELSEWHERE]


def _completed(base: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a saved base config with the defaults of keys that its version did not have; a damaged one unchanged."""
    try:
        conf = asdict(load(base)) if base else {}
    except SweeperError:
        return base
    return {key: value for key, value in conf.items() if key != "logging"}  # a search's record has no loggers


def _goal_in_words(goal: Mapping[str, Any] | None) -> str:
    if not goal:
        return "accuracy alone"
    return f"the fewest {goal['cost']} at the target" if goal["smallest"] else f"accuracy against {goal['cost']}"

"""The record of a run, read from its folder, and its baseline, the run or config that a report compares it with."""

import functools
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sweeper.config.composition import compose
from sweeper.config.loading import dotted
from sweeper.config.schema import ExperimentConf
from sweeper.design import Design, analyze
from sweeper.errors import RunFolderError, SweeperError
from sweeper.records import EpochRecord, Mistakes, RunResult
from sweeper.run.folder import RunFolder
from sweeper.terminal.console import display_path

MACHINE_KEYS: Final = ("data.root", "device", "precision", "threads", "logging.name")
"""Config keys of the machine and of logging, which are not part of the experiment."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The files of a run with at least one completed epoch, whether the run is complete or not."""

    folder: Path
    conf: ExperimentConf
    design: Design
    typed: tuple[str, ...]
    """The overrides of the command line."""
    from_command_line: bool
    """Whether composing `typed` gives the config. False for a run started from Python."""
    epochs: tuple[EpochRecord, ...]
    """At least one."""
    result: RunResult | None
    """None for a run that has not reached its last epoch."""
    mistakes: Mistakes | None

    @property
    def value(self) -> float:
        """The last epoch's validation accuracy, a fraction."""
        return self.epochs[-1].val_accuracy

    @property
    def best(self) -> EpochRecord:
        """The epoch with the highest validation accuracy, the first of equals."""
        return max(self.epochs, key=lambda epoch: epoch.val_accuracy)

    @property
    def evaluated_on(self) -> str:
        """The set on which accuracy other than training accuracy is measured: ``validation`` or ``test``."""
        return "test" if self.conf.data.validation == "test" else "validation"

    @property
    def images(self) -> int:
        """The number of images in that set, from the result, or from the config if there is no result."""
        return self.conf.data.validation_size if self.result is None else self.result.data.validation_images

    def command(self, *changes: str, sweep: bool = False) -> str:
        """Return the shell command that runs this again with other overrides; `sweep` adds ``-m``."""
        words = ["python", "-m", "sweeper"]
        if self.from_command_line:
            words += [word for word in self.typed if not _superseded(word, changes)]
        else:
            words += ["--config-path", str(RunFolder(self.folder.absolute()).config.parent), "--config-name", "config"]
        return shlex.join([*words[:3], *(["-m"] if sweep else []), *words[3:], *changes])


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The run or config that a run is compared with."""

    name: str
    conf: ExperimentConf
    record: RunRecord | None
    """None for the default experiment, which is only a config."""


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder.

    Raises `RunFolderError` if it is damaged or has no completed epoch, `ConfigError` if its config is not valid.
    """
    files = RunFolder(folder)
    conf = files.read_config()
    epochs = files.read_epochs()
    if not epochs:
        raise RunFolderError(f"a report needs a run with at least one epoch, but {folder} has none")
    return RunRecord(
        folder=folder,
        conf=conf,
        design=analyze(conf),
        typed=tuple(files.read_overrides()),
        from_command_line=files.hydra.exists(),
        epochs=epochs,
        result=files.read_result(),
        mistakes=files.read_mistakes(),
    )


def reproduce_command(folder: Path) -> str:
    """Return the shell command that runs a folder's config again and compares the results."""
    return shlex.join(["python", "-m", "sweeper", "reproduce", str(display_path(folder))])


def find_baseline(record: RunRecord) -> Baseline:
    """Return the baseline: for a trial the first readable earlier trial of its study, else the default experiment."""
    for folder in _earlier_trials(record.folder):
        try:
            first = _read_completed(folder) if RunFolder(folder).result.exists() else read_run(folder)
        except SweeperError:
            continue  # for example, stopped before its first epoch
        return Baseline(name=f"trial {folder.name}", conf=first.conf, record=first)
    return Baseline(name="the default", conf=compose(), record=None)


@functools.lru_cache(maxsize=1)
def _read_completed(folder: Path) -> RunRecord:
    """Read a completed run, cached: its folder no longer changes, and every later trial is compared with it."""
    return read_run(folder)


def differences(confs: Sequence[ExperimentConf]) -> dict[str, list[Any]]:
    """Return the keys whose values differ, each with one value per config, which is None if the config lacks the key.

    `MACHINE_KEYS` are left out.
    """
    flat = [dict(dotted(asdict(conf))) for conf in confs]
    keys = [key for key in dict.fromkeys(key for config in flat for key in config) if key not in MACHINE_KEYS]
    columns = {key: [config.get(key) for config in flat] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}


def _superseded(word: str, changes: Sequence[str]) -> bool:
    """Whether a change replaces the override or a group that contains it, or the override only applies to a search."""
    key = word.partition("=")[0].lstrip("+")
    changed = [change.partition("=")[0] for change in changes]
    return key == "search" or any(key == name or key.startswith(f"{name}.") for name in changed)


def _earlier_trials(folder: Path) -> list[Path]:
    """Return the folders of the earlier trials of its study, in order; empty for a run that is not a trial."""
    folder = folder.absolute()
    if not folder.name.isdigit() or not (folder.parent / "search.yaml").exists():
        return []
    numbers = sorted(int(entry.name) for entry in folder.parent.iterdir() if entry.name.isdigit())
    return [folder.parent / str(number) for number in numbers if number < int(folder.name)]

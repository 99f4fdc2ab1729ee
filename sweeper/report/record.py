"""The record of a run, read from its folder, and its baseline, the run or config that a report compares it with."""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sweeper.config.composition import compose
from sweeper.config.schema import ExperimentConf
from sweeper.data.catalogue import DATASETS
from sweeper.design import Design, analyze
from sweeper.errors import RunFolderError, SweeperError
from sweeper.records import EpochRecord, Mistakes, RunResult
from sweeper.report.run_command import Composition, make_command, read_composition
from sweeper.run.folder import RunFolder
from sweeper.shell import path_word, sweeper_command
from sweeper.terminal.console import display_path
from sweeper.untrusted import open_regular

LOG_TAIL: Final = 65_536
"""Number of bytes at the end of a log that are searched for the reason of an early end."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The files of a run with at least one completed epoch, whether the run is complete or not."""

    folder: Path
    conf: ExperimentConf
    design: Design
    composition: Composition
    epochs: tuple[EpochRecord, ...]
    """At least one."""
    result: RunResult | None
    """None for a run that has not reached its last epoch."""
    mistakes: Mistakes | None
    ending: str | None = None
    """The reason why it stopped before its last epoch, as its log has it; None if it has none, as after a kill."""

    @property
    def name(self) -> str:
        """A short name: the folder's last part, or for a number or a time the last two."""
        folder = self.folder.absolute()
        is_number = re.fullmatch(r"[\d-]+", folder.name)
        return f"{folder.parent.name}/{folder.name}" if is_number else folder.name

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
        if self.result is not None:
            return self.result.data.validation_images
        is_test = self.evaluated_on == "test"
        return DATASETS.facts(self.conf.data.name).test_images if is_test else self.conf.data.validation_size

    @property
    def has_dropout(self) -> bool:
        """Whether any convolution of the network drops activations."""
        return self.design.plan.has_dropout

    def command(self, *changes: str, sweep: bool = False) -> str:
        """Return the shell command that runs this again with other overrides; `sweep` adds ``-m``."""
        return make_command(self.composition, self.folder, self.conf, changes, sweep=sweep)


def during_and_after(*, has_dropout: bool) -> tuple[str, str]:
    """Return what a training accuracy is called that was measured while training, and one measured after it."""
    return ("dropout on", "dropout off") if has_dropout else ("while training", "after training")


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
    if conf.data.validation == "none":
        raise RunFolderError(
            f"a report needs a run with validation, but {folder} has none: its test accuracy is in confirm.json, and on "
            "the study's page"
        )
    epochs = files.read_epochs()
    if not epochs:
        raise RunFolderError(f"a report needs a run with at least one epoch, but {folder} has none")
    return RunRecord(
        folder=folder,
        conf=conf,
        design=analyze(conf),
        composition=read_composition(files, conf),
        epochs=epochs,
        result=files.read_result(),
        mistakes=files.read_mistakes(),
        ending=_read_ending(files.log),
    )


def reproduce_command(folder: Path) -> str:
    """Return the shell command that runs a folder's config again and compares the results."""
    return sweeper_command("reproduce", path_word(display_path(folder)))


def confirm_command(folder: Path) -> str:
    """Return the shell command that trains a folder's config with fresh seeds and measures it on the test set."""
    return sweeper_command("confirm", path_word(display_path(folder)))


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


def _read_ending(log: Path) -> str | None:
    """Return the reason in the log's last message about an early end; None if there is none, or no log."""
    try:
        with open_regular(log) as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    return next(iter(re.findall(r": ended after \d+ of \d+ epochs: (.*)$", text, re.MULTILINE)[-1:]), None)


def _earlier_trials(folder: Path) -> list[Path]:
    """Return the folders of the earlier trials of its study, in order; empty for a run that is not a trial."""
    folder = folder.absolute()
    if not folder.name.isdigit() or not (folder.parent / "search.yaml").exists():
        return []
    numbers = sorted(int(entry.name) for entry in folder.parent.iterdir() if entry.name.isdigit())
    return [folder.parent / str(number) for number in numbers if number < int(folder.name)]

"""What is known of a run afterwards, read from its folder; and the run it is held against."""

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

CIRCUMSTANCES: Final = ("data.root", "device", "precision", "threads", "logging.name")
"""Keys of the machine and of who watched: they say nothing of the experiment."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that has ended, at its last epoch or before."""

    folder: Path
    conf: ExperimentConf
    design: Design
    typed: tuple[str, ...]
    """Its overrides."""
    from_command_line: bool
    """Whether these overrides make its config; those of a run from Python do not."""
    epochs: tuple[EpochRecord, ...]
    """At least one."""
    result: RunResult | None
    """None for a run that was pruned or stopped."""
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
    def judges(self) -> str:
        """What the accuracies are of: ``validation`` or ``test``."""
        return "test" if self.conf.data.validation == "test" else "validation"

    def command(self, *changes: str, sweep: bool = False) -> str:
        """Return the command that runs this again with these overrides changed, as one types it."""
        words = ["python", "-m", "sweeper"]
        if self.from_command_line:
            words += [word for word in self.typed if not _superseded(word, changes)]
        else:
            words += ["--config-path", str(RunFolder(self.folder.absolute()).config.parent), "--config-name", "config"]
        return shlex.join([*words[:3], *(["-m"] if sweep else []), *words[3:], *changes])


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a run is held against."""

    name: str
    conf: ExperimentConf
    record: RunRecord | None
    """None for the default, which is a config only."""


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder. Raises `RunFolderError` for one that is damaged or has no epoch, `ConfigError`."""
    files = RunFolder(folder)
    conf = files.read_config()
    epochs = files.read_epochs()
    if not epochs:
        raise RunFolderError(f"a run must have at least one epoch to be written up, but {folder} has none")
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
    """Return the command that runs a folder's config again."""
    return shlex.join(["python", "-m", "sweeper", "reproduce", str(display_path(folder))])


def baseline(record: RunRecord) -> Baseline:
    """Return a study's first trial for a later one of its trials; else the default experiment."""
    for folder in _earlier_trials(record.folder):
        try:
            first = _read_whole(folder) if RunFolder(folder).result.exists() else read_run(folder)
        except SweeperError:
            continue  # cut short before its first epoch, say: the next one is the first that can be compared
        return Baseline(name=f"trial {folder.name}", conf=first.conf, record=first)
    return Baseline(name="the default", conf=compose(), record=None)


@functools.lru_cache(maxsize=1)
def _read_whole(folder: Path) -> RunRecord:
    """Read a run that reached its end, once: its folder does not change, and every trial is held against the first."""
    return read_run(folder)


def differences(confs: Sequence[ExperimentConf]) -> dict[str, list[Any]]:
    """Return the keys in which configs differ, with each one's value; None where a config has no such key.

    Circumstances, as where the data lie, are left out.
    """
    flat = [dict(dotted(asdict(conf))) for conf in confs]
    keys = [key for key in dict.fromkeys(key for config in flat for key in config) if key not in CIRCUMSTANCES]
    columns = {key: [config.get(key) for config in flat] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}


def _superseded(word: str, changes: Sequence[str]) -> bool:
    """Whether an override is changed, by itself or as a part of what is changed, or means nothing to one run."""
    key = word.partition("=")[0].lstrip("+")
    changed = [change.partition("=")[0] for change in changes]
    return key == "search" or any(key == name or key.startswith(f"{name}.") for name in changed)


def _earlier_trials(folder: Path) -> list[Path]:
    """Return the folders of the study's trials with lower numbers, in order; none for a run that is no trial."""
    folder = folder.absolute()
    if not folder.name.isdigit() or not (folder.parent / "search.yaml").exists():
        return []
    numbers = sorted(int(entry.name) for entry in folder.parent.iterdir() if entry.name.isdigit())
    return [folder.parent / str(number) for number in numbers if number < int(folder.name)]

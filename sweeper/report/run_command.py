"""Decides which command line runs a saved run's config again with changes, so that it can be pasted as it is printed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sweeper.config.composition import compose
from sweeper.config.initialized import OWN
from sweeper.config.loading import dotted
from sweeper.config.origin import Origin
from sweeper.config.schema import ExperimentConf
from sweeper.errors import SweeperError
from sweeper.run.changing import as_values
from sweeper.run.folder import RunFolder
from sweeper.search.repeating import Repeated, repeatable
from sweeper.shell import path_word, sweeper_command
from sweeper.terminal.console import display_path
from sweeper.untrusted import parse_yaml, read_text

MACHINE_KEYS: Final = ("data.root", "device", "precision", "threads", "logging.name")
"""Config keys of the machine and of logging, which are not part of the experiment."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """How a run's config was composed, as far as its folder tells."""

    typed: Repeated
    """The overrides of the command line, as another may repeat them."""
    origin: Origin | None = OWN
    """Where composing `typed` gives the config; None if it does not, for example for a run started from Python."""


def read_composition(files: RunFolder, conf: ExperimentConf) -> Composition:
    """Read how a run's config was composed. Raises `RunFolderError` if its overrides are damaged."""
    typed = repeatable(files.read_overrides())
    settings = _read_settings(files.hydra)
    origin = None if typed.left_out or _has_other_configs(settings) else Origin.saved(settings, files.path)
    if origin is None or origin.here().config_dir != origin.config_dir:
        return Composition(typed=typed, origin=None)
    if origin.config_path is None:
        return Composition(typed=typed, origin=origin)
    # Composed from other files, or by a sweeper that was installed elsewhere: composing conf/ takes longer, but tells. A
    # folder that the run's files name is not read here: they may be a stranger's.
    if origin == Origin(config_path=origin.config_path) and _composes(typed.kept, conf):
        return Composition(typed=typed)
    return Composition(typed=typed, origin=origin if origin.here() == origin else None)


def make_command(
    composition: Composition, folder: Path, conf: ExperimentConf, changes: Sequence[str], *, sweep: bool
) -> str:
    """Return the shell command that runs a folder's config, `conf`, with other overrides; `sweep` adds ``-m``."""
    multirun = ["-m"] if sweep else []
    if composition.origin is not None:
        kept = [word for word in composition.typed.kept if not is_superseded(word, changes)]
        return sweeper_command(*multirun, *composition.origin.options, *kept, *changes)
    if not sweep:
        # Without a change, it would be a comparison, as far as the run came.
        words = changes or [f"training.epochs={conf.training.epochs}"]
        return sweeper_command("reproduce", path_word(display_path(folder)), *words)
    # Hydra takes a relative path as relative to the program, not to the working directory.
    saved = Origin(config_path=str(RunFolder(folder.absolute()).config.parent))
    values = [word for change in changes for word in as_values(change, conf)]
    return sweeper_command("-m", *saved.options, "hydra/sweeper=study", *values)


def differences(confs: Sequence[ExperimentConf]) -> dict[str, list[Any]]:
    """Return the keys whose values differ, each with one value per config, which is None if the config lacks the key.

    `MACHINE_KEYS` are left out.
    """
    flat = [dict(dotted(asdict(conf))) for conf in confs]
    keys = [key for key in dict.fromkeys(key for config in flat for key in config) if key not in MACHINE_KEYS]
    columns = {key: [config.get(key) for config in flat] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}


def _read_settings(path: Path) -> Any:
    """Return Hydra's settings of a run; None if they are missing or damaged."""
    try:
        return parse_yaml(read_text(path))["hydra"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return None


def _has_other_configs(settings: Any) -> bool:
    """Whether an override gave Hydra more folders of configs, which no option names."""
    try:
        return any("searchpath" in str(line) for line in settings["overrides"]["hydra"])
    except (KeyError, TypeError):
        return False


def _composes(overrides: Sequence[str], conf: ExperimentConf) -> bool:
    try:
        return not differences([compose(overrides), conf])
    except SweeperError:
        return False


def is_superseded(word: str, changes: Sequence[str]) -> bool:
    """Whether a change replaces the override or a group that contains it, or the override only applies to a search."""
    key = word.partition("=")[0].lstrip("+")
    changed = [change.partition("=")[0] for change in changes]
    return key == "search" or any(key == name or key.startswith(f"{name}.") for name in changed)

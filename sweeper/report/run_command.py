"""Decides which command line runs a saved run's config again with changes, so that it can be pasted as it is printed."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sweeper.config.composition import compose
from sweeper.config.loading import dotted
from sweeper.config.origin import CONFIG_NAME, conf_dir
from sweeper.config.schema import ExperimentConf
from sweeper.errors import SweeperError
from sweeper.run.folder import RunFolder
from sweeper.terminal.console import display_path
from sweeper.untrusted import parse_yaml, read_text

MACHINE_KEYS: Final = ("data.root", "device", "precision", "threads", "logging.name")
"""Config keys of the machine and of logging, which are not part of the experiment."""
PROGRAM: Final = ("python", "-m", "sweeper")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """How a run's config was composed, as far as its folder tells."""

    typed: tuple[str, ...]
    """The overrides of the command line."""
    config_dirs: tuple[str, ...] = ()
    """The folders of configs given with ``--config-dir``."""
    is_repeatable: bool = True
    """Whether composing `typed` gives the config. False, for example, for a run started from Python."""


def read_composition(files: RunFolder, conf: ExperimentConf) -> Composition:
    """Read how a run's config was composed. Raises `RunFolderError` if its overrides are damaged."""
    typed = tuple(files.read_overrides())
    settings = _read_settings(files.hydra)
    if settings is None:
        return Composition(typed=typed, is_repeatable=False)
    sources, name = settings
    dirs = tuple(path for provider, path in sources if provider == "command-line")
    if (name, ("main", str(conf_dir()))) == (CONFIG_NAME, next((s for s in sources if s[0] == "main"), None)):
        return Composition(typed=typed, config_dirs=dirs)
    # Composed from other files, or by a sweeper that was installed elsewhere: composing takes longer, but tells.
    try:
        is_repeatable = not dirs and not differences([compose(typed), conf])
    except SweeperError:
        is_repeatable = False
    return Composition(typed=typed, is_repeatable=is_repeatable)


def make_command(
    composition: Composition, folder: Path, conf: ExperimentConf, changes: Sequence[str], *, sweep: bool
) -> str:
    """Return the shell command that runs a folder's config, `conf`, with other overrides; `sweep` adds ``-m``."""
    words = [*PROGRAM, *(["-m"] if sweep else [])]
    if composition.is_repeatable:
        for path in composition.config_dirs:
            words += ["--config-dir", str(display_path(Path(path)))]
        words += [word for word in composition.typed if not _superseded(word, changes)]
        return shlex.join([*words, *changes])
    # Hydra takes a relative path as relative to the program, not to the working directory.
    words += ["--config-path", str(RunFolder(folder.absolute()).config.parent), "--config-name", "config"]
    return shlex.join([*words, *(word for change in changes for word in _without_groups(change, conf))])


def differences(confs: Sequence[ExperimentConf]) -> dict[str, list[Any]]:
    """Return the keys whose values differ, each with one value per config, which is None if the config lacks the key.

    `MACHINE_KEYS` are left out.
    """
    flat = [dict(dotted(asdict(conf))) for conf in confs]
    keys = [key for key in dict.fromkeys(key for config in flat for key in config) if key not in MACHINE_KEYS]
    columns = {key: [config.get(key) for config in flat] for key in keys}
    return {key: values for key, values in columns.items() if any(value != values[0] for value in values)}


def _read_settings(path: Path) -> tuple[list[tuple[str, str]], str] | None:
    """Return the provider and path of each source of Hydra's configs, and the config's name; None if unknown."""
    try:
        saved = parse_yaml(read_text(path))
        settings = saved["hydra"]
        sources = [(str(source["provider"]), str(source["path"])) for source in settings["runtime"]["config_sources"]]
        return sources, str(settings["job"]["config_name"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return None


def _superseded(word: str, changes: Sequence[str]) -> bool:
    """Whether a change replaces the override or a group that contains it, or the override only applies to a search."""
    key = word.partition("=")[0].lstrip("+")
    changed = [change.partition("=")[0] for change in changes]
    return key == "search" or any(key == name or key.startswith(f"{name}.") for name in changed)


def _without_groups(change: str, conf: ExperimentConf) -> list[str]:
    """Return a change as overrides of the saved `conf`, which has keys, but no groups to choose from."""
    group = change.partition("=")[0]
    if group not in {"augment", "optimizer", "scheduler"}:
        return [change]
    before, after = (dotted(asdict(of)[group], group) for of in (conf, compose([change])))
    old, new = dict(before), dict(after)
    return [*(f"~{key}" for key in old if key not in new), *(f"++{key}={value}" for key, value in new.items())]

"""Initializes Hydra on conf/ for a block, and lists its config groups and keys."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from sweeper.config.search_path import StudyConfigs

CONFIG_NAME = "config"
JOB_NAME = "sweeper"


def conf_dir() -> Path:
    """Return the absolute path of conf/: inside the installed package or, in a checkout, next to the package."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


@contextmanager
def initialized() -> Iterator[ConfigLoader]:
    """Initialize Hydra on conf/ for the block, then restore its global state: this also works in a Hydra job."""
    Plugins.instance().register(StudyConfigs)  # an entry point does it where the package is installed
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name=JOB_NAME):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra.config_loader
    finally:
        GlobalHydra.instance().hydra = before


def options(group: str) -> list[str]:
    """Return the names of a config group's options; none for a group that does not exist."""
    with initialized() as loader:
        return list(loader.get_group_options(group))


@functools.cache
def groups() -> list[str]:
    """Return every config group, Hydra's own included: ``model``, ``hydra/sweeper/sampler``."""

    def below(parent: str) -> Iterator[str]:
        for name in loader.list_groups(parent):
            path = f"{parent}/{name}" if parent else name
            yield path
            yield from below(path)

    with initialized() as loader:
        return sorted(below(""))


def keys(overrides: Sequence[str]) -> list[str]:
    """Return every dotted key of the config with the options that these overrides choose, Hydra's own keys included.

    Overrides that do not compose are left out.
    """
    chosen = [line for line in overrides if line.lstrip("+").partition("=")[0].partition("@")[0] in groups()]
    # Unresolved: an interpolation may refer to an environment variable that is not set.
    for choices in (chosen, *([line] for line in chosen), []):
        try:
            with initialized():
                config = compose(CONFIG_NAME, overrides=list(choices), return_hydra_config=True)
        except Exception:  # noqa: BLE001, S112 - one of them may be what is wrong
            continue
        return sorted(_paths(OmegaConf.to_container(config, resolve=False, enum_to_str=True), ""))
    return []


def _paths(node: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted path of every key of nested dictionaries, inner nodes as well as leaves."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield f"{prefix}{key}"
            yield from _paths(child, f"{prefix}{key}.")

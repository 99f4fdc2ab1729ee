"""Initializes Hydra on conf/, or on what an origin names, for a block, and lists the config groups and keys there."""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from hydra import compose, initialize_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from sweeper.config.origin import CONFIG_NAME, PACKAGE, Origin, conf_dir
from sweeper.config.search_path import StudyConfigs

JOB_NAME = "sweeper"
OWN: Final = Origin()
"""The origin of the configs in conf/ alone."""


@contextmanager
def initialized(origin: Origin = OWN) -> Iterator[ConfigLoader]:
    """Initialize Hydra for the block, then restore its global state: this also works in a Hydra job.

    Raises `CompositionError` for a folder that does not exist.
    """
    origin = origin.checked()
    Plugins.instance().register(StudyConfigs)  # an entry point does it where the package is installed
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    paths = [origin.config_path or str(conf_dir()), *([origin.config_dir] if origin.config_dir else [])]
    folders = [path if path.startswith(PACKAGE) else f"file://{path}" for path in paths]
    try:
        with initialize_config_search_path(folders, job_name=JOB_NAME):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra.config_loader
    finally:
        GlobalHydra.instance().hydra = before


def options(group: str, origin: Origin = OWN) -> list[str]:
    """Return the names of a config group's options; none for a group that does not exist."""
    with initialized(origin) as loader:
        return list(loader.get_group_options(group))


@functools.cache
def groups(origin: Origin = OWN) -> list[str]:
    """Return every config group, Hydra's own included: ``model``, ``hydra/sweeper/sampler``."""

    def below(parent: str) -> Iterator[str]:
        for name in loader.list_groups(parent):
            path = f"{parent}/{name}" if parent else name
            yield path
            yield from below(path)

    with initialized(origin) as loader:
        return sorted(below(""))


def keys(overrides: Sequence[str], origin: Origin = OWN) -> list[str]:
    """Return every dotted key of the config with the options that these overrides choose, Hydra's own keys included.

    Overrides that do not compose are left out.
    """
    chosen = [line for line in overrides if line.lstrip("+").partition("=")[0].partition("@")[0] in groups(origin)]
    # Unresolved: an interpolation may refer to an environment variable that is not set.
    for choices in (chosen, *([line] for line in chosen), []):
        try:
            with initialized(origin):
                config = compose(origin.config_name or CONFIG_NAME, overrides=list(choices), return_hydra_config=True)
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

"""Which of Hydra's settings were typed; refuses those that change nothing in a search."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from sweeper.errors import StudyError
from sweeper.search.definition import Search

SWEEPER = "hydra.sweeper."


def check_options(search: Search, settings: Sequence[str]) -> None:
    """Raise `StudyError` for an override of Hydra's settings, among those typed, that changes nothing.

    Those of another application are left alone: its commands were written for another sweeper.
    """
    if search.base is None:
        return
    for line in settings:
        key, _, value = line.lstrip("+").partition("=")
        why = _why_idle(search, key, value)
        if why is not None:
            raise StudyError(f"{key} changes nothing here, but got {value}: {why}: leave it out")


def _why_idle(search: Search, key: str, value: str) -> str | None:
    name = key.removeprefix(SWEEPER)
    if search.is_grid:
        if key == f"{SWEEPER}n_trials":
            return "a grid runs each of its points, as many as its lists give"
        if key == f"{SWEEPER}stop_at_target" and value.lower() == "true":
            return "a grid runs all its points"
        if key == "hydra/sweeper/sampler" or name.startswith("sampler."):
            return "a grid has no sampler, it runs all its points"
        return None
    if key == f"{SWEEPER}stop_at_target" and value.lower() == "true" and search.target is None:
        return "a search with a cost, or for the lowest accuracy, does not end at the target"
    return None


def typed_settings(config: DictConfig) -> list[str]:
    """Return the command line's overrides of Hydra settings, unresolved: a password in a variable is not copied."""
    lines = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    assert isinstance(lines, list)
    return [str(line) for line in lines]

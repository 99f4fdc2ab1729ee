"""Decides what a saved config becomes under overrides: values and whole groups of it change, everything else stays."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sweeper.config.composition import compose, compose_dict
from sweeper.config.initialized import OWN, options
from sweeper.config.loading import dotted
from sweeper.config.origin import CONFIG_NAME, Origin
from sweeper.config.schema import ExperimentConf
from sweeper.errors import CompositionError
from sweeper.run.folder import RunFolder

WHOLE: tuple[str, ...] = ("experiment", "search")
"""The config groups whose options set keys of other groups."""


def change(conf: ExperimentConf, overrides: Sequence[str], origin: Origin = OWN) -> ExperimentConf:
    """Return a saved config under overrides. A group, as in ``model=gap``, is composed from `origin`.

    Raises `ConfigError` for an override that does not compose, that breaks a rule, or that is not of the experiment.
    """
    plain = asdict(conf)
    values = []
    for override in overrides:
        parsed = _parsed(override)
        if parsed is not None and _is_of_hydra(parsed):
            raise CompositionError(
                f"the overrides of a saved run must be of its config, but {override} is Hydra's: leave it out"
            )
        if parsed is not None and parsed.is_sweep_override():
            raise CompositionError(
                f"a saved run is changed into one run, but {override} gives several values: for a list use brackets"
            )
        if parsed is None or "." in parsed.key_or_group or not options(parsed.key_or_group, origin):
            values.append(override)
        elif parsed.key_or_group in WHOLE:
            raise CompositionError(
                f"the overrides of a saved run change some of its keys, but {override} chooses all: give single keys"
            )
        else:
            place = (parsed.package or parsed.key_or_group).split(".")
            chosen = None if parsed.is_delete() else _at(_composed(override, origin), place)
            try:
                _put(plain, place, chosen)
            except (KeyError, TypeError) as error:
                raise CompositionError(
                    f"an option is put in a place of the config, but {override} names one that this config lacks: correct it"
                ) from error
    with TemporaryDirectory() as folder:
        # As a config of its own, whose keys Hydra's overrides name.
        files = RunFolder(Path(folder))
        files.config.parent.mkdir()
        files.config.write_text(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))
        return compose(values, Origin(config_path=str(files.config.parent), config_name=CONFIG_NAME))


def as_values(override: str, conf: ExperimentConf) -> list[str]:
    """Return an override as overrides of the saved `conf`, which has keys, but no groups to choose from."""
    group = override.partition("=")[0]
    if group not in {"augment", "optimizer", "scheduler"}:
        return [override]
    old, new = (dict(dotted(asdict(of)[group], group)) for of in (conf, compose([override])))
    return [*(f"~{key}" for key in old if key not in new), *(f"++{key}={value}" for key, value in new.items())]


def _composed(override: str, origin: Origin) -> Any:
    """Return a config with a group chosen, whose other keys may still lack values."""
    return OmegaConf.to_container(compose_dict([override], origin), resolve=True, throw_on_missing=False)


def _parsed(override: str) -> Override | None:
    """Return an override as Hydra reads it; None if it cannot, which composing explains."""
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def _is_of_hydra(parsed: Override) -> bool:
    return "hydra" in {parsed.key_or_group.replace("/", ".").split(".")[0], (parsed.package or "").split(".")[0]}


def _at(tree: Any, place: Iterable[str]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def _put(tree: Any, place: Sequence[str], value: Any) -> None:
    """Set the value at a path of keys in nested mappings, or delete it with None."""
    *path, last = place
    inner = _at(tree, path)
    if value is None:
        inner.pop(last, None)
    else:
        inner[last] = value

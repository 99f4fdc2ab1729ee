"""Converts a composed or saved config to typed dataclasses (`load`) and back to YAML (`dump`)."""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from sweeper.config.explaining import missing_key, unknown_key, wrong_type
from sweeper.config.schema import AdamwConf, ExperimentConf, OneCycleConf, SchedulerConf, SgdConf, StepConf
from sweeper.errors import ConfigError

VARIANTS: Final[dict[str, dict[str, type]]] = {
    "optimizer": {"sgd": SgdConf, "adamw": AdamwConf},
    "scheduler": {"constant": SchedulerConf, "step": StepConf, "onecycle": OneCycleConf},
}
"""The dataclass of a section, by the section's `name`."""
DEFAULT_MOMENTUM: Final = 0.9
"""SGD's momentum and AdamW's first beta in the options of conf/optimizer."""
_LAST_DUMPED: Final[dict[str, ExperimentConf]] = {}
"""The config that `dump` returned last, by its values as JSON. Each trial saves its config and reads it for its report;
checking it again would take 25 ms."""


def load(cfg: DictConfig | Mapping[str, Any]) -> ExperimentConf:
    """Check a composed or saved config against the schema and return it as dataclasses.

    Raises `ConfigError` with the key, the rule and the value.
    """
    if not isinstance(cfg, DictConfig) and (known := _LAST_DUMPED.get(_as_json(cfg))) is not None:
        return known
    config = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
    schema = _schema()
    try:
        chosen = {}
        for section, variants in VARIANTS.items():
            name = OmegaConf.select(config, f"{section}.name")
            if not isinstance(name, str) or name not in variants:
                rule = f"{section}.name must be one of {', '.join(variants)}, but got {name}"
                raise ConfigError(f"{rule}: choose with {section}=...")
            chosen[section] = str(name)
        schema = _schema(**chosen)
        merged = OmegaConf.merge(schema, config)
        _check_booleans(schema, config, merged)
        conf = _to_dataclasses(merged)
    except MissingMandatoryValue as error:
        raise ConfigError(missing_key(str(error.full_key))) from error
    except ConfigKeyError as error:
        raise ConfigError(unknown_key(schema, str(error.full_key))) from error
    except InterpolationResolutionError as error:
        reason = re.sub(r"^.*?while resolving interpolation: ", "", str(error).splitlines()[0]).strip('"')
        raise ConfigError(f"{error.full_key} refers to something that is missing ({reason}): give a value") from error
    except TypeError as error:  # OmegaConf's merge of a list with a mapping
        raise ConfigError("a list must be given whole, as in model.groups.block1.channels=[8,16]") from error
    except OmegaConfBaseException as error:
        raise ConfigError(wrong_type(schema, config, str(error.full_key), str(error))) from error
    if isinstance(cfg, DictConfig):
        check_disabled(conf)
    return conf


def dump(conf: ExperimentConf) -> str:
    """Return the config as YAML; parsed and passed to `load`, it gives an equal config."""
    plain = asdict(conf)
    _LAST_DUMPED.clear()
    _LAST_DUMPED[_as_json(plain)] = conf
    return str(OmegaConf.to_yaml(OmegaConf.create(plain)))


@functools.cache
def _schema(**names: str) -> DictConfig:
    """Return the schema with the dataclasses of the sections' names; a merge copies it."""
    schema: DictConfig = OmegaConf.structured(ExperimentConf)
    for section, name in names.items():
        schema[section] = OmegaConf.structured(VARIANTS[section][name])
    return schema


def _check_booleans(schema: DictConfig, config: DictConfig, merged: Any) -> None:
    """Raise `ConfigError` for a boolean that was not given as one: OmegaConf takes 2 and ``on`` for true."""
    for key, value in dotted(OmegaConf.to_container(merged, throw_on_missing=False)):
        given = OmegaConf.select(config, key, default=None) if isinstance(value, bool) else None
        if given is not None and str(given).lower() not in {"true", "false"}:
            raise ConfigError(wrong_type(schema, config, key, f"true or false, but got {given}"))


def check_disabled(conf: ExperimentConf) -> None:
    """Raise `ConfigError` for a value that another section ignores or replaces."""
    _check_affine(conf)
    _check_cycled(conf)


def _check_affine(conf: ExperimentConf) -> None:
    """Raise `ConfigError` for affine values that ``augment=none`` ignores.

    Configs that earlier versions saved may have them.
    """
    for name in ("rotation", "shift", "scale"):
        value = getattr(conf.augment, name)
        if conf.augment.name == "none" and value:
            raise ConfigError(f"augment.{name} needs augment=affine, elastic, erasing or flip, but got {name}={value}")


def _check_cycled(conf: ExperimentConf) -> None:
    """Raise `ConfigError` for a momentum that ``scheduler=onecycle`` replaces: it would change nothing.

    SGD without any momentum keeps none. Configs that earlier versions saved may have others.
    """
    key = "beta1" if isinstance(conf.optimizer, AdamwConf) else "momentum"
    value = getattr(conf.optimizer, key)
    if (
        isinstance(conf.scheduler, OneCycleConf)
        and value != DEFAULT_MOMENTUM
        and not (key == "momentum" and value == 0)
    ):
        raise ConfigError(
            f"optimizer.{key} changes nothing under scheduler=onecycle, which sets it for each step, but got {value:g}: "
            "leave it out, or choose scheduler=constant or step"
        )


def _as_json(plain: Mapping[str, Any]) -> str:
    return json.dumps(plain, default=repr)


def dotted(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings with its dotted key, in order; a list counts as one value.

    >>> dict(dotted({"model": {"dropout": 0.1, "groups": {}}, "seed": 1}))
    {'model.dropout': 0.1, 'seed': 1}
    """
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for key, child in node.items():
        yield from dotted(child, f"{prefix}.{key}" if prefix else str(key))


def _to_dataclasses(merged: Any) -> ExperimentConf:
    """Build the dataclasses; a `ConfigError` raised by one of them gets the full key of its section."""
    try:
        conf = OmegaConf.to_object(merged)
    except ConfigError:
        for prefix, section in _sections(merged, ""):
            try:
                OmegaConf.to_object(section)
            except ConfigError as error:
                raise ConfigError(f"{prefix}{error}") from error
        raise
    assert isinstance(conf, ExperimentConf)
    return conf


def _sections(node: Any, prefix: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield every mapping, the root included, with its dotted prefix, deepest first."""
    for key in node:
        child = node[key]
        if isinstance(child, DictConfig):
            yield from _sections(child, f"{prefix}{key}.")
    yield prefix, node

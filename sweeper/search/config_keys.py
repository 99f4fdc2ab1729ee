"""Dotted keys of the typed config: the type a key accepts, reading its value, setting another."""

import functools
from collections.abc import Hashable
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from sweeper.config.model import GroupConf, HeadConf
from sweeper.config.schema import ExperimentConf
from sweeper.errors import ConfigError
from sweeper.search.space import Value

EPOCHS: Final = "training.epochs"


def takes_integers(conf: ExperimentConf, key: str) -> bool:
    """Whether a key of the typed config accepts integers but no fractions."""
    return is_number_in(conf, key, 1) and not is_number_in(conf, key, 1.5)


def value_at(conf: ExperimentConf, key: str) -> Value:
    """Return the number, boolean or string at a key; None for any other value and for a key that does not exist."""
    try:
        parent, name = _parent(conf, key.lstrip("+"))
        value = _get(parent, name)
    except (AttributeError, KeyError, IndexError, ValueError):
        return None
    if isinstance(parent, GroupConf) and value is None:
        return value_at(conf, f"model.{name}")  # a group inherits the model-wide value
    # A section of the config is chosen by its name, as in augment=affine.
    value = getattr(value, "name", value)
    return value if isinstance(value, str | int | float | bool) else None


def is_number_in(conf: ExperimentConf, key: str, value: Value) -> bool:
    """Whether a key of the typed config holds a number and accepts this value's type; bounds are not checked."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        parent, name = _parent(conf, key)
        _get(parent, name)
    except (AttributeError, KeyError, IndexError, ValueError):
        return False
    kinds = {int} if isinstance(parent, list) else _kinds(type(parent), name)  # type: ignore[arg-type]  # a class is hashable
    return float in kinds or (int in kinds and isinstance(value, int))


def can_be_set(conf: ExperimentConf, key: str, value: Value) -> bool:
    """Whether a value can be set on the typed config: a number, or an option or boolean of the network.

    A section's name cannot: it chooses which other keys the section has.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return is_number_in(conf, key, value)
    try:
        parent, name = _parent(conf, key)
        _get(parent, name)
    except (AttributeError, KeyError, IndexError, ValueError):
        return False
    if not key.startswith("model.") or isinstance(parent, list | HeadConf):
        return False
    kinds = _kinds(type(parent), name)  # type: ignore[arg-type]  # a class is hashable
    return bool in kinds if isinstance(value, bool) else any(value in get_args(kind) for kind in kinds)


@functools.cache
def _kinds(dataclass: Hashable, name: str) -> set[Any]:
    """Return the types that a field of a dataclass accepts."""
    hint = get_type_hints(dataclass).get(name)
    return {hint} if isinstance(hint, type) or get_origin(hint) is Literal else set(get_args(hint))


def _parent(conf: Any, key: str) -> tuple[Any, str]:
    """Return the parent object of a dotted key, and the key's last part."""
    *path, name = key.split(".")
    for part in path:
        conf = _get(conf, part)
    return conf, name


def _get(parent: Any, name: str) -> Any:
    if isinstance(parent, dict):
        return parent[name]
    return parent[int(name)] if isinstance(parent, list) else getattr(parent, name)


def set_neutral(conf: ExperimentConf, key: str, value: object) -> None:
    """Set the value of an attribute in place, without any check: of a config that is compared, not trained."""
    parent, name = _parent(conf, key)
    setattr(parent, name, value)


def set_value(conf: ExperimentConf, key: str, value: Value) -> None:
    """Set a value in place, one that `can_be_set`, and validate the dataclass that contains it.

    Raises `ConfigError` if it is out of bounds, or if another value has replaced the part of the config with this key.
    """
    try:
        parent, name = _parent(conf, key)
        _get(parent, name)
    except (AttributeError, KeyError, IndexError) as error:
        raise ConfigError(f"the config with the other values has no key {key}") from error
    path = key.rpartition(".")[0]
    if isinstance(parent, list):
        parent[int(name)] = value
        parent, path = _parent(conf, path)[0], path.rpartition(".")[0]
    else:
        setattr(parent, name, float(value) if float in _kinds(type(parent), name) else value)  # type: ignore[arg-type]
    try:
        if hasattr(parent, "__post_init__"):  # some sections have no bounds
            parent.__post_init__()
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}" if path else str(error)) from error

"""The typed config by dotted key: which numbers it has, what types they take, reading and setting them."""

import functools
from collections.abc import Hashable
from typing import Any, get_args, get_type_hints

from sweeper.config.schema import ExperimentConf
from sweeper.errors import ConfigError
from sweeper.search.space import Value


def takes_integers(conf: ExperimentConf, key: str) -> bool:
    """Whether a key of the typed config takes integers alone."""
    return is_number_in(conf, key, 1) and not is_number_in(conf, key, 1.5)


def value_at(conf: ExperimentConf, key: str) -> Value:
    """Return the number or string at a key of the config; None for anything else."""
    try:
        value = _get(*_owner(conf, key.lstrip("+")))
    except (AttributeError, KeyError, IndexError, ValueError):
        return None
    return value if isinstance(value, str | int | float | bool) else None


def is_number_in(conf: ExperimentConf, key: str, value: Value) -> bool:
    """Whether a key of the typed config is a number, and the value has a type it takes."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        owner, name = _owner(conf, key)
        _get(owner, name)
    except (AttributeError, KeyError, IndexError, ValueError):
        return False
    kinds = {int} if isinstance(owner, list) else _kinds(type(owner), name)  # type: ignore[arg-type]  # a class is hashable
    return float in kinds or (int in kinds and isinstance(value, int))


@functools.cache
def _kinds(owner: Hashable, name: str) -> set[type]:
    """Return the types that a field of a dataclass may have."""
    hint = get_type_hints(owner).get(name)
    return {hint} if isinstance(hint, type) else set(get_args(hint))


def _owner(conf: Any, key: str) -> tuple[Any, str]:
    """Return the parent object of a dotted key, and the key's last part."""
    *path, name = key.split(".")
    for part in path:
        conf = _get(conf, part)
    return conf, name


def _get(owner: Any, name: str) -> Any:
    if isinstance(owner, dict):
        return owner[name]
    return owner[int(name)] if isinstance(owner, list) else getattr(owner, name)


def set_number(conf: ExperimentConf, key: str, value: Value) -> None:
    """Set a number, and validate the part of the config that contains it."""
    owner, name = _owner(conf, key)
    path = key.rpartition(".")[0]
    if isinstance(owner, list):
        owner[int(name)] = value
        owner, path = _owner(conf, path)[0], path.rpartition(".")[0]
    else:
        setattr(owner, name, float(value) if float in _kinds(type(owner), name) else value)  # type: ignore[arg-type]
    try:
        owner.__post_init__()
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}" if path else str(error)) from error

"""Dotted keys of the typed config: the type a key accepts, reading its value, setting a number."""

import functools
from collections.abc import Hashable
from typing import Any, get_args, get_type_hints

from sweeper.config.schema import ExperimentConf
from sweeper.errors import ConfigError
from sweeper.search.space import Value


def takes_integers(conf: ExperimentConf, key: str) -> bool:
    """Whether a key of the typed config accepts integers but no fractions."""
    return is_number_in(conf, key, 1) and not is_number_in(conf, key, 1.5)


def value_at(conf: ExperimentConf, key: str) -> Value:
    """Return the number, boolean or string at a key; None for any other value and for a key that does not exist."""
    try:
        value = _get(*_parent(conf, key.lstrip("+")))
    except (AttributeError, KeyError, IndexError, ValueError):
        return None
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


@functools.cache
def _kinds(dataclass: Hashable, name: str) -> set[type]:
    """Return the types that a field of a dataclass accepts."""
    hint = get_type_hints(dataclass).get(name)
    return {hint} if isinstance(hint, type) else set(get_args(hint))


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


def set_number(conf: ExperimentConf, key: str, value: Value) -> None:
    """Set a number in place and validate the dataclass that contains it.

    Raises `ConfigError` if the number is out of bounds.
    """
    parent, name = _parent(conf, key)
    path = key.rpartition(".")[0]
    if isinstance(parent, list):
        parent[int(name)] = value
        parent, path = _parent(conf, path)[0], path.rpartition(".")[0]
    else:
        setattr(parent, name, float(value) if float in _kinds(type(parent), name) else value)  # type: ignore[arg-type]
    try:
        parent.__post_init__()
    except ConfigError as error:
        raise ConfigError(f"{path}.{error}" if path else str(error)) from error

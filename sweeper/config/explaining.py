"""Error messages for a config that does not fit the schema: the key, the rule, the value, the nearest valid name."""

import difflib
import re
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from sweeper.config.model import GroupConf
from sweeper.config.schema import RULE, ExperimentConf

TYPE_NAMES: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list[int]: "a list of whole numbers such as [8,16]",
    NoneType: "null",
}
"""A field's type as messages name it."""


def nearest(name: str, choices: list[str]) -> str:
    """Return `` (did you mean a, b?)`` with up to three similar choices, or an empty string without any.

    >>> nearest("gpa", ["gap", "deep"])
    ' (did you mean gap?)'
    """
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.6)
    return f" (did you mean {', '.join(close)}?)" if close else ""


def missing_key(key: str) -> str:
    """Return the message for a required key that is missing."""
    group = re.fullmatch(r"model\.groups\.(\w+)\.kernel_size", key)
    if group:
        name = f"model.groups.{group[1]}"
        return f"{key} must be given, but it is missing: delete a group with ~{name}, add one with +group@{name}=conv"
    return f"{key} must be given, but it is missing: add {key}=..."


def unknown_key(schema: DictConfig, key: str) -> str:
    """Return the message for a key that the schema lacks; it lists the keys at that level."""
    parent, _, name = key.rpartition(".")
    allowed = list(getattr(_owner(schema, parent), "__dataclass_fields__", ()))
    return f"{parent or 'the config'} has no key {name!r}{nearest(name, allowed)}: it has {', '.join(allowed)}"


def wrong_type(schema: DictConfig, config: DictConfig, key: str, reason: str) -> str:
    """Return the message for a value of the wrong type; OmegaConf's `reason` serves types without a name."""
    option = "head" if key == "model.head" else "group" if _is_group(key) else None
    if option is not None:
        got = _shown(OmegaConf.select(config, key))
        return f"{key} must be a mapping of keys, but got {got}: choose an option with {option}@{key}=NAME"
    parent, _, name = re.sub(r"\[\d+\]$", "", key).rpartition(".")
    owner = _owner(schema, parent)
    rule = type_rule(owner, name) if isinstance(owner, type) else None
    if rule is None and "not Optional" in reason:
        return f"{key} must be a mapping of keys, but got null: leave it out"
    if rule is None:
        return f"{key}: {reason.splitlines()[0]}"
    path = f"{parent}.{name}" if parent else name
    return f"{path} must be {rule}, but got {_shown(OmegaConf.select(config, path))}"


def _shown(value: object) -> str:
    """Return a value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value).replace("None", "null")


def type_rule(owner: type, name: str) -> str | None:
    """Return what a dataclass's field must be, such as ``a whole number or null``; None if its type has no name."""
    field = getattr(owner, "__dataclass_fields__", {}).get(name)
    if field is not None and RULE in field.metadata:
        return str(field.metadata[RULE])
    hint = get_type_hints(owner).get(name)
    kinds = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    if not all(_names(kind) for kind in kinds):
        return None
    names = [name for kind in kinds for name in _names(kind)]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _names(kind: Any) -> list[str]:
    """Return what messages call a type, or the values of a `Literal`; nothing for another type."""
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return [TYPE_NAMES[kind]] if kind in TYPE_NAMES else []


def _owner(schema: DictConfig, key: str) -> Any:
    """Return the class of the config's section at a key; another object for a key that is none."""
    # Group names are free, so the schema lists none; all groups have the same keys.
    if _is_group(key):
        return GroupConf
    owner: Any = ExperimentConf
    for depth, name in enumerate(key.split(".") if key else ()):
        chosen = OmegaConf.get_type(schema, name) if depth == 0 else None  # such as SgdConf
        owner = chosen or (get_type_hints(owner).get(name) if isinstance(owner, type) else None)
    return owner


def _is_group(key: str) -> bool:
    return re.fullmatch(r"model\.groups\.\w+", key) is not None

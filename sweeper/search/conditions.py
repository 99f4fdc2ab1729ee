"""Which parameters of a point exist: a convolution has a width only if its group is that deep."""

import re
from collections.abc import Mapping
from typing import Final

from optuna.distributions import BaseDistribution

WIDTH: Final = re.compile(r"(model\.groups\.\w+)\.channels\.(\d+)")
"""The override key of one convolution's width: its group, and its index there."""


def depth_key(group: str) -> str:
    """Return the override key of a layer group's depth.

    >>> depth_key("block1")
    'model.groups.block1.depth'
    """
    return f"model.groups.{group}.depth"


def is_active(key: str, params: Mapping[str, object]) -> bool:
    """Whether a key has an effect beside the other values: the width of a convolution beyond its group's depth has not."""
    width = WIDTH.fullmatch(key)
    depth = params.get(f"{width[1]}.depth") if width else None
    return width is None or not isinstance(depth, int) or int(width[2]) < depth


def active(params: Mapping[str, object]) -> list[str]:
    """Return the keys of a point that have an effect, in its order."""
    return [key for key in params if is_active(key, params)]


def in_order(distributions: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """Return the distributions with every depth before the widths that it decides about."""
    return dict(sorted(distributions.items(), key=lambda item: WIDTH.fullmatch(item[0]) is not None))


def width_before(key: str) -> str | None:
    """Return the key of the width one convolution earlier in the same group; None for any other key and the first.

    >>> width_before("model.groups.block1.channels.2")
    'model.groups.block1.channels.1'
    """
    width = WIDTH.fullmatch(key)
    return f"{width[1]}.channels.{int(width[2]) - 1}" if width and int(width[2]) else None

"""The space of architectures around a model: how deep each group is, where to pool, kernels, paddings, and all widths."""

from typing import Final, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from sweeper.config.model import ConvKind, GroupConf, ModelConf
from sweeper.network.repair import WIDEST, WIDTH_REACH
from sweeper.search.conditions import depth_key

DEEPER: Final = 2
"""Convolutions that a group may have beyond its own."""
LEAST_DEPTH_REACH: Final = 4
"""Every group with a kernel of more than a pixel may grow to this depth."""
KERNELS: Final = (3, 5)
"""Sides of the kernels to choose from, pixels, and the group's own."""
PADDINGS: Final = (0, 1)
"""Zeros on each side to choose from, pixels, and the group's own."""
POOLS: Final = (1, 2)
"""Sides of the pooling windows to choose from, pixels, and the group's own."""
NARROWEST: Final = 2
"""Least width, in channels, unless the model has a narrower one."""


def extended(model: ModelConf) -> list[str]:
    """Return overrides that make room in every group's `channels` for the widths of a deeper one, and state its depth.

    The network stays the same.
    """
    overrides = []
    for name, group in model.groups.items():
        depth = len(group.widths)
        reach = _greatest_depth(group, model)
        widths = [*group.widths, *[_filler(model, name)] * (reach - depth)]
        overrides += [f"model.groups.{name}.channels=[{','.join(map(str, widths))}]", f"{depth_key(name)}={depth}"]
    return overrides


def architecture_distributions(model: ModelConf) -> dict[str, BaseDistribution]:
    """Return the distributions of an extended model's architecture, by override key.

    A group with kernels of one pixel may vanish but for its pooling, except the first. A width reaches from `NARROWEST`
    to twice the group's greatest.
    """
    found: dict[str, BaseDistribution] = {}
    for number, (name, group) in enumerate(model.groups.items()):
        kernel = model.kernel_size if group.kernel_size is None else group.kernel_size
        least = 0 if kernel == 1 and number else 1
        found[depth_key(name)] = IntDistribution(least, len(group.channels))
        key = f"model.groups.{name}"
        found[f"{key}.pool"] = _choices(POOLS, model.pool if group.pool is None else group.pool)
        if kernel > 1:
            found[f"{key}.kernel_size"] = _choices(KERNELS, kernel)
            found[f"{key}.conv"] = CategoricalDistribution(get_args(ConvKind))
            found[f"{key}.padding"] = _choices(PADDINGS, model.padding if group.padding is None else group.padding)
    greatest = max(WIDTH_REACH, *(int(WIDEST * width) for group in model.groups.values() for width in group.widths))
    narrowest = min(NARROWEST, *(width for group in model.groups.values() for width in group.widths))
    for name, group in model.groups.items():
        for index in range(len(group.channels)):
            found[f"model.groups.{name}.channels.{index}"] = IntDistribution(narrowest, greatest)
    return found


def _greatest_depth(group: GroupConf, model: ModelConf) -> int:
    kernel = model.kernel_size if group.kernel_size is None else group.kernel_size
    if kernel == 1:
        return max(1, len(group.widths))
    return max(LEAST_DEPTH_REACH, len(group.widths) + DEEPER)


def _filler(model: ModelConf, name: str) -> int:
    group = model.groups[name]
    return group.widths[-1] if group.widths else group.channels[-1]


def _choices(usual: tuple[int, ...], own: int) -> CategoricalDistribution:
    return CategoricalDistribution(sorted({*usual, own}))

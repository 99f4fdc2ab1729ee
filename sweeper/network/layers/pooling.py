"""Pooling before a group: it makes the feature map smaller and has no weights."""

from dataclasses import dataclass
from typing import ClassVar, Final

from sweeper.config.model import ModelConf, PoolKind
from sweeper.errors import ConfigError
from sweeper.network.layers.base import BaseLayer, Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool(BaseLayer):
    """Pooling to one value per window; pixels at the right and bottom edge that fill no window are dropped."""

    kind: ClassVar[str] = "pool"
    operation: ClassVar[str]
    """The pooling, as the table of layers names it."""
    group: str
    channels: int
    size: int
    """Side and stride of the window, pixels."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return channels, height and width of the output. Raises `ConfigError` if no window fits."""
        channels, height, width = shape
        if min(height, width) < self.size:
            raise ConfigError(
                f"{self.name} needs a feature map of at least {self.size} pixels, but its input is {height}×{width}: "
                f"lower model.groups.{self.group}.pool, or pool and convolve less before it"
            )
        return channels, height // self.size, width // self.size

    def window(self, shape: Shape) -> int:  # noqa: ARG002 - the same for every shape
        """Return the window's side."""
        return self.size

    @property
    def step(self) -> int:
        """The window's side."""
        return self.size

    @property
    def label(self) -> str:
        """The pooling and its size: ``max pool 2×2``."""
        return f"{self.operation} {self.size}×{self.size}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MaxPool(Pool):
    """The greatest value of each window."""

    operation: ClassVar[str] = "max pool"


@dataclass(frozen=True, kw_only=True, slots=True)
class AvgPool(Pool):
    """The mean of each window."""

    operation: ClassVar[str] = "average pool"


@dataclass(frozen=True, kw_only=True, slots=True)
class BlurPool(Pool):
    """Max pooling against aliasing (Zhang, 2019): maxima at every pixel, smoothed, then one of each window.

    The filter is a triangle of 2 · size - 1 pixels, [1, 2, 1] / 4 for size 2; at the edges, the mean of what exists.
    The output has the size of max pooling.
    """

    operation: ClassVar[str] = "blur pool"

    def window(self, shape: Shape) -> int:  # noqa: ARG002 - the same for every shape
        """Return the side of the maxima's window, widened by the filter."""
        return self.size + 2 * (self.size - 1)


Pooling = MaxPool | AvgPool | BlurPool
POOLINGS: Final[dict[PoolKind, type[Pooling]]] = {"max": MaxPool, "avg": AvgPool, "blur": BlurPool}
"""The layer of each `GroupConf.pool_kind`."""


def pooling(conf: ModelConf, *, group: str, channels: int) -> Pooling | None:
    """Return the pooling before a group, or None; `conf` has the group's values as its model-wide ones."""
    if conf.pool == 1:
        return None
    return POOLINGS[conf.pool_kind](name=f"{group}.pool", group=group, channels=channels, size=conf.pool)

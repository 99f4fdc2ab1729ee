"""Heads: the last layer, from a feature map to one logit per class."""

from dataclasses import dataclass
from typing import ClassVar, Final

from sweeper.config.model import HeadConf
from sweeper.errors import ConfigError
from sweeper.network.layers.base import BaseLayer, Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Head(BaseLayer):
    """The last layer: one linear map of its features to the logits."""

    kind: ClassVar[str] = "head"
    in_channels: int
    classes: int
    bias: bool

    def output_shape(self, shape: Shape) -> tuple[int]:  # noqa: ARG002 - the same for every shape
        """Return ``(classes,)``. Raises `ConfigError` if the head does not fit its input."""
        return (self.classes,)

    @property
    def parameters(self) -> int:
        """Weights and biases of the linear map."""
        return self.classes * (self.in_channels + self.bias)

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 - the same for every shape
        """Return those of the linear map."""
        return self.classes * self.in_channels

    def window(self, shape: Shape) -> int:
        """Return the feature map's side: each logit depends on all of it."""
        return max(shape[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvHead(Head):
    """A bare 1×1 convolution on a 1×1 feature map."""

    def output_shape(self, shape: Shape) -> tuple[int]:
        """Return ``(classes,)``. Raises `ConfigError` unless the feature map is 1×1."""
        _, height, width = shape
        if (height, width) != (1, 1):
            raise ConfigError(
                f"head=conv needs a 1×1 feature map, but the last group leaves {height}×{width}: "
                "use head@model.head=gap, or pool and convolve more before it"
            )
        return (self.classes,)

    @property
    def label(self) -> str:
        """The convolution."""
        return "conv 1×1"


@dataclass(frozen=True, kw_only=True, slots=True)
class GapHead(Head):
    """Global average pooling and a linear layer."""

    @property
    def label(self) -> str:
        """Both operations."""
        return "average → linear"


HeadLayer = ConvHead | GapHead
HEADS: Final[dict[str, type[HeadLayer]]] = {"conv": ConvHead, "gap": GapHead}
"""The head of each `HeadConf.name`."""


def head(conf: HeadConf, *, in_channels: int, classes: int) -> HeadLayer:
    """Return the head of the config."""
    return HEADS[conf.name](name="head", in_channels=in_channels, classes=classes, bias=conf.bias)

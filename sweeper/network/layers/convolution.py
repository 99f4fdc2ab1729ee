"""Convolutions with what follows each of them: normalization, activation and dropout."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from sweeper.config.model import Activation, DropoutKind, ModelConf, Norm, Order
from sweeper.errors import ConfigError
from sweeper.network.layers.base import BaseLayer, Shape

NORM_PARAMETERS: Final[dict[Norm, int]] = {"batch": 2, "none": 0}
"""Learned values per channel: batch norm has a scale and a shift."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv(BaseLayer):
    """A convolution with its activation, normalization and dropout."""

    kind: ClassVar[str] = "conv"
    group: str
    """The group's name in the config."""
    in_channels: int
    out_channels: int
    kernel_size: int
    """Side of the square kernel, pixels."""
    padding: int
    """Zeros added on each side, pixels."""
    bias: bool
    norm: Norm
    activation: Activation
    order: Order
    dropout: float
    """Probability of dropping a channel or element, as `dropout_kind` says; 0 means no dropout."""
    dropout_kind: DropoutKind

    @property
    @abstractmethod
    def operation(self) -> str:
        """The convolution itself, as the table of layers names it."""

    @property
    @abstractmethod
    def weights(self) -> int:
        """Weights of the convolution itself."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return channels, height and width of the output. Raises `ConfigError` if the kernel does not fit."""
        _, height, width = shape
        if self.padding >= self.kernel_size:
            raise ConfigError(
                f"{self.name} must pad by less than its kernel's {self.kernel_size} pixels, but pads by {self.padding}, "
                f"so that windows at the edge hold only zeros: lower model.groups.{self.group}.padding"
            )
        grown = 2 * self.padding + 1 - self.kernel_size
        if min(height, width) + grown < 1:
            raise ConfigError(
                f"{self.name} needs a feature map of at least {self.kernel_size - 2 * self.padding} pixels for its "
                f"{self.kernel_size}×{self.kernel_size} kernel, but its input is {height}×{width}: "
                f"raise model.groups.{self.group}.padding, or pool and convolve less before it"
            )
        return self.out_channels, height + grown, width + grown

    @property
    def parameters(self) -> int:
        """Weights, biases and normalization."""
        return self.weights + self.out_channels * (self.bias + NORM_PARAMETERS[self.norm])

    def macs(self, shape: Shape) -> int:
        """Return those of the convolution: each weight is used once for every pixel of the output."""
        _, height, width = self.output_shape(shape)
        return self.weights * height * width

    def window(self, shape: Shape) -> int:  # noqa: ARG002 - the same for every shape
        """Return the kernel's side."""
        return self.kernel_size

    @property
    def label(self) -> str:
        """The convolution and what follows it, in order: ``conv 3×3, norm, relu, drop 0.1``."""
        norm = ["norm"] if self.norm == "batch" else []
        parts = [*norm, self.activation] if self.order == "conv_norm_act" else [self.activation, *norm]
        if self.dropout:
            parts.append(f"drop {self.dropout:g}")
        return ", ".join([self.operation, *parts])

    @property
    def widths(self) -> Mapping[str, int]:
        """The number of output channels."""
        return {f"model.groups.{self.group}.channels.{self.name.rpartition('.')[2]}": self.out_channels}

    def erasure(self, shape: Shape) -> float:
        """Return the probability that dropout erases the whole output: all of k independent units, p^k."""
        if not self.dropout:
            return 0.0
        units = self.out_channels if self.dropout_kind == "channel" else math.prod(self.output_shape(shape))
        return float(self.dropout**units)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainConv(Conv):
    """A convolution of all input channels with a kernel for each pair of channels."""

    @property
    def operation(self) -> str:
        """The kernel's size."""
        return f"conv {self.kernel_size}×{self.kernel_size}"

    @property
    def weights(self) -> int:
        """One kernel for each pair of an input and an output channel."""
        return self.out_channels * self.in_channels * self.kernel_size**2


Convolution = PlainConv


def convolution(conf: ModelConf, *, group: str, index: int, in_channels: int, out_channels: int) -> Convolution:
    """Return the convolution at an index of a group; `conf` has the group's values as its model-wide ones."""
    return PlainConv(
        name=f"{group}.{index}",
        group=group,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=conf.kernel_size,
        padding=conf.padding,
        bias=conf.bias,
        norm=conf.norm,
        activation=conf.activation,
        order=conf.order,
        dropout=conf.dropout,
        dropout_kind=conf.dropout_kind,
    )

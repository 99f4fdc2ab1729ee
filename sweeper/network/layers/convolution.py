"""Convolution units: a convolution with what follows it, up to the shortcut around it."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from sweeper.config.model import Activation, ConvKind, DropoutKind, ModelConf, Norm, Order
from sweeper.errors import ConfigError
from sweeper.network.layers.base import BaseLayer, Shape

NORM_PARAMETERS: Final[dict[Norm, int]] = {"batch": 2, "none": 0}
"""Learned values per channel: batch norm has a scale and a shift."""
ACTIVATION_PARAMETERS: Final[dict[Activation, int]] = {"relu": 0, "leaky_relu": 0, "silu": 0, "gelu": 0, "prelu": 1}
"""Learned values per channel: PReLU has a slope (He et al., 2015)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv(BaseLayer):
    """A convolution, its activation and normalization, squeeze-and-excitation, dropout and shortcut, in this order."""

    kind: ClassVar[str] = "conv"
    group: str
    """The group's name in the config."""
    in_channels: int
    out_channels: int
    kernel_size: int
    """Side of the square kernel, pixels."""
    padding: int
    """Zeros added on each side, pixels."""
    stride: int
    """Distance of two windows, pixels."""
    bias: bool
    norm: Norm
    activation: Activation
    order: Order
    squeeze_excite: int
    """Channels per hidden unit; 0 means no squeeze-and-excitation."""
    dropout: float
    """Probability of dropping a channel or element, as `dropout_kind` says; 0 means no dropout."""
    dropout_kind: DropoutKind
    residual: bool
    """Whether the config asks for a shortcut; see `shortcut`."""

    @property
    @abstractmethod
    def operation(self) -> str:
        """The convolution itself, as the table of layers names it."""

    @property
    @abstractmethod
    def weights(self) -> int:
        """Weights of the convolution itself; each is used once for every pixel of the output."""

    @property
    def shortcut(self) -> bool:
        """Whether the input is added to the output, without weights: option A of He et al., 2016.

        Missing channels count as zeros. Where the convolution does not pad, the input is cropped centrally. A stride or
        fewer channels than before need weights: such a convolution has no shortcut.
        """
        return self.residual and self.stride == 1 and self.out_channels >= self.in_channels

    @property
    def hidden(self) -> int:
        """Hidden units of the squeeze-and-excitation."""
        return max(1, self.out_channels // self.squeeze_excite) if self.squeeze_excite else 0

    def output_shape(self, shape: Shape) -> Shape:
        """Return channels, height and width of the output. Raises `ConfigError` if the kernel does not fit."""
        _, height, width = shape
        if self.padding >= self.kernel_size:
            raise ConfigError(
                f"{self.name} must pad by less than the side of its {self.kernel_size}×{self.kernel_size} kernel, but pads by "
                f"{self.padding}, so that windows at the edge hold only zeros: lower model.groups.{self.group}.padding"
            )
        if self.stride > self.kernel_size:
            raise ConfigError(
                f"{self.name} must have a stride of at most the side of its {self.kernel_size}×{self.kernel_size} kernel, but has "
                f"{self.stride}, so that no window sees the pixels between two: lower model.groups.{self.group}.stride"
            )
        spare = 2 * self.padding - self.kernel_size
        if min(height, width) + spare < 0:
            raise ConfigError(
                f"{self.name} needs a feature map of at least {-spare} pixels for its "
                f"{self.kernel_size}×{self.kernel_size} kernel, but its input is {height}×{width}: "
                f"raise model.groups.{self.group}.padding, or pool and convolve less before it"
            )
        return self.out_channels, (height + spare) // self.stride + 1, (width + spare) // self.stride + 1

    @property
    def parameters(self) -> int:
        """Weights, biases, normalization, slopes and squeeze-and-excitation; a shortcut has none."""
        per_channel = self.bias + NORM_PARAMETERS[self.norm] + ACTIVATION_PARAMETERS[self.activation]
        return self.weights + self.out_channels * (per_channel + 2 * self.hidden)

    def macs(self, shape: Shape) -> int:
        """Return those of the convolution, and of squeeze-and-excitation's two linear layers."""
        _, height, width = self.output_shape(shape)
        return self.weights * height * width + 2 * self.hidden * self.out_channels

    def window(self, shape: Shape) -> int:  # noqa: ARG002 - the same for every shape
        """Return the kernel's side. Squeeze-and-excitation only scales what the window holds, and is left out."""
        return self.kernel_size

    @property
    def step(self) -> int:
        """The stride."""
        return self.stride

    @property
    def label(self) -> str:
        """The convolution and what follows it, in order: ``conv 3×3, norm, relu, drop 0.1``."""
        norm = ["norm"] if self.norm == "batch" else []
        parts = [*norm, self.activation] if self.order == "conv_norm_act" else [self.activation, *norm]
        stride = f" /{self.stride}" if self.stride > 1 else ""
        if self.squeeze_excite:
            parts.append(f"excite {self.hidden}")
        if self.dropout:
            parts.append(f"drop {self.dropout:g}")
        if self.shortcut:
            parts.append("+ input")
        return ", ".join([f"{self.operation}{stride}", *parts])

    @property
    def widths(self) -> Mapping[str, int]:
        """The number of output channels."""
        return {f"model.groups.{self.group}.channels.{self.name.rpartition('.')[2]}": self.out_channels}

    def erasure(self, shape: Shape) -> float:
        """Return the probability that dropout erases the image's whole signal: all of k independent units, p^k.

        A shortcut is added after dropout, so the signal survives in it.
        """
        if not self.dropout or self.shortcut:
            return 0.0
        units = self.out_channels if self.dropout_kind == "channel" else math.prod(self.output_shape(shape))
        return float(self.dropout**units)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainConv(Conv):
    """A convolution with a kernel for each pair of an input and an output channel."""

    @property
    def operation(self) -> str:
        """The kernel's size."""
        return f"conv {self.kernel_size}×{self.kernel_size}"

    @property
    def weights(self) -> int:
        """One kernel for each pair of channels."""
        return self.out_channels * self.in_channels * self.kernel_size**2


@dataclass(frozen=True, kw_only=True, slots=True)
class SeparableConv(Conv):
    """A depthwise separable convolution (Chollet, 2017): one kernel for each input channel, then a 1×1 convolution.

    Nothing is between the two; only the 1×1 convolution has a bias.
    """

    @property
    def operation(self) -> str:
        """The kernel's size."""
        return f"separable {self.kernel_size}×{self.kernel_size}"

    @property
    def weights(self) -> int:
        """One kernel for each input channel, and one weight for each pair of channels."""
        return self.in_channels * (self.kernel_size**2 + self.out_channels)


Convolution = PlainConv | SeparableConv
CONVOLUTIONS: Final[dict[ConvKind, type[Convolution]]] = {"plain": PlainConv, "separable": SeparableConv}
"""The layer of each `GroupConf.conv`."""


def convolution(conf: ModelConf, *, group: str, index: int, in_channels: int, out_channels: int) -> Convolution:
    """Return the convolution at an index of a group; `conf` has the group's values as its model-wide ones.

    A separable 1×1 convolution is a plain one: its kernels are single weights, which the convolution after them has too.
    """
    kind = CONVOLUTIONS[conf.conv] if conf.kernel_size > 1 else PlainConv
    settings: dict[str, Any] = {name: getattr(conf, name) for name in _SETTINGS}
    return kind(
        name=f"{group}.{index}",
        group=group,
        in_channels=in_channels,
        out_channels=out_channels,
        stride=conf.stride if index == 0 else 1,
        **settings,
    )


_SETTINGS: Final = {*Conv.__dataclass_fields__} & {*ModelConf.__dataclass_fields__} - {"stride"}
"""The values that a convolution takes from the config as they are."""

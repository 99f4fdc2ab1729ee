"""Schema of the network config: layer groups, a head, and the model-wide values that groups inherit."""

import re
from dataclasses import dataclass
from typing import Literal

from omegaconf import MISSING

from sweeper.config.bounds import require

DropoutKind = Literal["channel", "element"]
Norm = Literal["batch", "none"]
Activation = Literal["relu", "leaky_relu", "silu", "gelu", "prelu"]
Order = Literal["conv_norm_act", "conv_act_norm"]
ConvKind = Literal["plain", "separable"]
PoolKind = Literal["max", "avg", "blur"]


@dataclass(kw_only=True)
class GroupConf:
    """One named group of convolutions, such as a block or a transition; ``None`` inherits the model-wide value."""

    channels: list[int] = MISSING
    """Output channels of each convolution, in order."""
    depth: int | None = None
    """Number of convolutions: the first of `channels`, and 0 leaves only the pooling; ``None`` means all of them."""
    kernel_size: int | None = MISSING
    """Side of the square kernel, pixels. This key is required, like `channels`: without it, the values that
    ``~group@model.groups.NAME`` leaves behind would pass for a group."""
    padding: int | None = None
    """Zeros added on each side, pixels."""
    pool: int | None = None
    """Side and stride of the pooling before the first convolution; 1 means no pooling."""
    dropout: float | None = None
    """Probability of dropping a channel or element after each convolution."""
    dropout_kind: DropoutKind | None = None
    """Whether dropout drops whole channels (Dropout2d) or single elements."""
    bias: bool | None = None
    """Whether the convolutions have a bias."""
    norm: Norm | None = None
    """Normalization of each convolution's output."""
    activation: Activation | None = None
    """Nonlinearity after each convolution."""
    order: Order | None = None
    """Whether the normalization precedes or follows the activation."""
    conv: ConvKind | None = None
    """`plain`, or `separable`: a convolution of each channel, then a 1×1 convolution (Chollet, 2017)."""
    stride: int | None = None
    """Stride of the group's first convolution, pixels."""
    residual: bool | None = None
    """Whether each convolution's input is added to its output (He et al., 2016), where a shortcut needs no weights."""
    squeeze_excite: int | None = None
    """Channels per hidden unit of a squeeze-and-excitation (Hu et al., 2018) after each activation; 0 means none."""
    pool_kind: PoolKind | None = None
    """`max`, `avg`, or `blur`: max pooling that is smoothed before it is subsampled (Zhang, 2019)."""

    def __post_init__(self) -> None:
        require(bool(self.channels), "channels must list at least one convolution", self.channels)
        require(all(c > 0 for c in self.channels), "channels must be positive", self.channels)
        require(
            self.depth is None or 0 <= self.depth <= len(self.channels),
            f"depth must be in [0, {len(self.channels)}], the number of channels",
            self.depth,
        )
        _check_layer(self)

    @property
    def widths(self) -> list[int]:
        """Output channels of the convolutions that are applied: the first `depth`."""
        return self.channels[: self.depth]


@dataclass(kw_only=True)
class HeadConf:
    """The classification head: from the last feature map to logits."""

    name: Literal["conv", "gap"] = MISSING
    """`conv`: a 1×1 convolution on a 1×1 feature map. `gap`: global average pooling and a linear layer."""
    bias: bool = True
    """Whether the head's layer has a bias."""


@dataclass(kw_only=True)
class ModelConf:
    """Layer groups in the order they are applied, a head, and the values that groups inherit."""

    kernel_size: int = MISSING
    """Model-wide `GroupConf.kernel_size`."""
    padding: int = MISSING
    """Model-wide `GroupConf.padding`."""
    pool: int = MISSING
    """Model-wide `GroupConf.pool`."""
    dropout: float = MISSING
    """Model-wide `GroupConf.dropout`."""
    dropout_kind: DropoutKind = MISSING
    """Model-wide `GroupConf.dropout_kind`."""
    bias: bool = MISSING
    """Model-wide `GroupConf.bias`."""
    norm: Norm = MISSING
    """Model-wide `GroupConf.norm`."""
    activation: Activation = MISSING
    """Model-wide `GroupConf.activation`."""
    order: Order = MISSING
    """Model-wide `GroupConf.order`."""
    conv: ConvKind = "plain"
    """Model-wide `GroupConf.conv`. This key and those below have a default: older saved configs lack them."""
    stride: int = 1
    """Model-wide `GroupConf.stride`."""
    residual: bool = False
    """Model-wide `GroupConf.residual`."""
    squeeze_excite: int = 0
    """Model-wide `GroupConf.squeeze_excite`."""
    pool_kind: PoolKind = "max"
    """Model-wide `GroupConf.pool_kind`."""
    groups: dict[str, GroupConf] = MISSING
    """The groups by name; the order of the mapping is the order of the layers."""
    head: HeadConf = MISSING
    """The last layer."""

    def __post_init__(self) -> None:
        require(bool(self.groups), "groups must hold at least one group", "{}")
        for name in self.groups:
            require(
                re.fullmatch(r"[A-Za-z_]\w*", name) is not None and name != "head",
                "groups must have names of letters, digits and _, none of them 'head'",
                repr(name),
            )
        require(
            any(group.widths for group in self.groups.values()), "groups must hold at least one convolution", "depth 0"
        )
        _check_layer(self)


def _check_layer(layer: GroupConf | ModelConf) -> None:
    """Check the bounds shared by a group's own values and the model-wide ones."""
    for name, low in (("kernel_size", 1), ("padding", 0), ("pool", 1), ("stride", 1), ("squeeze_excite", 0)):
        value = getattr(layer, name)
        require(value is None or value >= low, f"{name} must be at least {low}", value)
    require(layer.dropout is None or 0 <= layer.dropout < 1, "dropout must be in [0, 1)", layer.dropout)

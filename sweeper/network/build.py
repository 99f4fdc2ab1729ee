"""Builds the torch module of a plan: one submodule per group, and in it one per convolution or pooling."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, assert_never

import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn

from sweeper.network.cpu import fused
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, FastPaths
from sweeper.network.cpu.fused import ConvUnit
from sweeper.network.heads import ConvHead, GapHead
from sweeper.network.layers import Conv, Layer, convolution, head, pooling
from sweeper.network.plan import Plan

ACTIVATIONS: Final[dict[str, Callable[[int], nn.Module]]] = {
    "relu": lambda _: nn.ReLU(),
    "leaky_relu": lambda _: nn.LeakyReLU(),
    "silu": lambda _: nn.SiLU(),
    "gelu": lambda _: nn.GELU(),
    "prelu": lambda channels: PRelu(channels),  # noqa: PLW0108 - defined below
}
"""The module of each activation, given the number of channels."""
DROPOUTS: Final[dict[str, type[nn.Module]]] = {"channel": nn.Dropout2d, "element": nn.Dropout}

HEADS: Final = {head.ConvHead: ConvHead, head.GapHead: GapHead}


def build(plan: Plan, fast_paths: FastPaths = ALL_FAST_PATHS) -> nn.Sequential:
    """Build the network: normalized images ``[b, c, h, w]`` to logits ``[b, classes]``.

    Initial weights are drawn from torch's global generator. Submodules have the plan's names: ``block1.0.conv``.
    `fast_paths` selects hand-written CPU paths; neither the names nor the initial weights depend on it.
    """
    groups: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in plan.layers:
        module = _module(layer, fast_paths)
        group, _, name = layer.name.rpartition(".")
        if group:
            groups.setdefault(group, nn.Sequential()).add_module(name, module)
        else:
            groups[name] = module
    return nn.Sequential(groups)


def _module(layer: Layer, fast_paths: FastPaths) -> nn.Module:
    match layer:
        case convolution.PlainConv():
            conv = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,
                stride=layer.stride,
                padding=layer.padding,
                bias=layer.bias,
            )
            return _conv(layer, OrderedDict(), conv, fast_paths)
        case convolution.SeparableConv():
            depthwise = nn.Conv2d(
                layer.in_channels,
                layer.in_channels,
                layer.kernel_size,
                stride=layer.stride,
                padding=layer.padding,
                groups=layer.in_channels,
                bias=False,
            )
            pointwise = nn.Conv2d(layer.in_channels, layer.out_channels, 1, bias=layer.bias)
            return _conv(layer, OrderedDict(depthwise=depthwise), pointwise, fast_paths)
        case pooling.MaxPool():
            return fused.MaxPool(layer.size) if fast_paths.max_pool else nn.MaxPool2d(layer.size)
        case pooling.AvgPool():
            return nn.AvgPool2d(layer.size)
        case pooling.BlurPool():
            return _blur_pool(layer.size)
        case head.ConvHead() | head.GapHead():
            return HEADS[type(layer)](layer.in_channels, layer.classes, bias=layer.bias)
        case _:
            assert_never(layer)


def _conv(layer: Conv, before: OrderedDict[str, nn.Module], conv: nn.Conv2d, fast_paths: FastPaths) -> nn.Module:
    """Return the unit of a convolution and what follows it; `before` are the modules that come first.

    A unit with nothing around it is itself the layer's module; otherwise it is a submodule ``unit`` among the others.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    activation = ("activation", ACTIVATIONS[layer.activation](layer.out_channels))
    norm = [("norm", nn.BatchNorm2d(layer.out_channels))] if layer.norm == "batch" else []
    parts.update([*norm, activation] if layer.order == "conv_norm_act" else [activation, *norm])
    after: OrderedDict[str, nn.Module] = OrderedDict()
    if layer.squeeze_excite:
        after["squeeze_excite"] = SqueezeExcite(layer.out_channels, layer.hidden)
    if layer.dropout > 0:
        (after or parts)["dropout"] = DROPOUTS[layer.dropout_kind](layer.dropout)
    is_fusible = (
        layer.norm == "batch"
        and layer.activation == "relu"
        and ("dropout" not in parts or layer.dropout_kind == "channel")
    )
    unit = ConvUnit(parts) if is_fusible and fast_paths.conv_unit else nn.Sequential(parts)
    if layer.shortcut:
        return Residual(OrderedDict([*before.items(), ("unit", unit), *after.items()]))
    if before or after:
        return nn.Sequential(OrderedDict([*before.items(), ("unit", unit), *after.items()]))
    return unit


def _blur_pool(size: int) -> nn.Sequential:
    """Return max pooling at every pixel, then the triangle filter with a stride, as two means over windows.

    Both pad, by size - 1 in all, and count no padding.
    """
    return nn.Sequential(
        OrderedDict(
            maximum=nn.MaxPool2d(size, stride=1),
            smooth=nn.AvgPool2d(size, stride=1, padding=size // 2, count_include_pad=False),
            subsample=nn.AvgPool2d(size, padding=(size - 1) // 2, count_include_pad=False),
        )
    )


class PRelu(nn.PReLU):
    """PReLU with a slope per channel, in a sixth of the time of torch's kernel on channels-last bfloat16 maps."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Map ``[n, c, h, w]`` to the same shape."""
        rows_nhr, slope_c = _rows(input), self.weight.to(input.dtype)
        positive = rows_nhr.relu()
        return _map(positive.addcmul(rows_nhr - positive, slope_c.repeat(input.shape[3])), input)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: scales each channel by a gate computed from all channels' means (Hu et al., 2018)."""

    def __init__(self, channels: int, hidden: int) -> None:
        """Make the two linear layers, without biases as in equation 3 of the paper."""
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to the same shape."""
        # In channels-last format this mean and its gradient take a third of AdaptiveAvgPool2d's time.
        mean_nc = map_nchw.permute(0, 2, 3, 1).flatten(1, 2).mean(1)
        gate_nc: Tensor = self.excite(F.relu(self.squeeze(mean_nc))).sigmoid().to(map_nchw.dtype)
        return _map(_rows(map_nchw) * gate_nc.repeat(1, map_nchw.shape[3])[:, None], map_nchw)


class Residual(nn.Sequential):
    """Modules with a shortcut: the input is added to their output, which has at least as many channels."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``; the centres of both maps are added."""
        output: Tensor = super().forward(input)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        (_, c, h, w), (_, out_c, out_h, out_w) = input.shape, output.shape
        top, left = (out_h - h) // 2, (out_w - w) // 2  # negative where the map shrinks
        sides = (left, out_w - w - left, top, out_h - h - top, 0, out_c - c)
        # Padding and adding whole maps takes a quarter of the time of adding to a part of the output's channels.
        return output + F.pad(input.to(output.dtype), sides)


def _rows(map_nchw: Tensor) -> Tensor:
    """View a feature map as ``[n, h, w * c]``: torch's loops over the channels of one pixel are slow."""
    return map_nchw.permute(0, 2, 3, 1).flatten(2)


def _map(rows_nhr: Tensor, like_nchw: Tensor) -> Tensor:
    """View rows as a feature map of a given shape."""
    n, c, h, w = like_nchw.shape
    return rows_nhr.view(n, h, w, c).permute(0, 3, 1, 2)

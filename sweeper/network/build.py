"""Builds the torch module of a plan: one submodule per group, and in it one per convolution or pooling."""

from collections import OrderedDict
from typing import Final, assert_never

from torch import nn

from sweeper.network.cpu import fused
from sweeper.network.cpu.fast_paths import ALL_FAST_PATHS, FastPaths
from sweeper.network.cpu.fused import ConvUnit
from sweeper.network.heads import ConvHead, GapHead
from sweeper.network.layers import Conv, Layer, MaxPool, PlainConv, head
from sweeper.network.plan import Plan

ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
DROPOUTS: Final[dict[str, type[nn.Module]]] = {"channel": nn.Dropout2d, "element": nn.Dropout}


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
        case PlainConv():
            return _conv(layer, fast_paths)
        case MaxPool():
            return fused.MaxPool(layer.size) if fast_paths.max_pool else nn.MaxPool2d(layer.size)
        case head.ConvHead():
            return ConvHead(layer.in_channels, layer.classes, bias=layer.bias)
        case head.GapHead():
            return GapHead(layer.in_channels, layer.classes, bias=layer.bias)
        case _:
            assert_never(layer)


def _conv(layer: Conv, fast_paths: FastPaths) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["conv"] = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding, bias=layer.bias
    )
    activation = ("activation", ACTIVATIONS[layer.activation]())
    norm = [("norm", nn.BatchNorm2d(layer.out_channels))] if layer.norm == "batch" else []
    parts.update([*norm, activation] if layer.order == "conv_norm_act" else [activation, *norm])
    if layer.dropout > 0:
        parts["dropout"] = DROPOUTS[layer.dropout_kind](layer.dropout)
    is_fusible = (
        layer.norm == "batch" and layer.activation == "relu" and (layer.dropout == 0 or layer.dropout_kind == "channel")
    )
    return ConvUnit(parts, fast_paths) if is_fusible and fast_paths.conv_unit else nn.Sequential(parts)

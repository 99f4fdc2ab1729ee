"""How a plan becomes a trainable module: one submodule per group, one per convolution in it."""

from collections import OrderedDict
from typing import Final

from torch import nn

from sweeper.network.cpu.fused import ConvUnit, MaxPool
from sweeper.network.heads import ConvHead, GapHead
from sweeper.network.plan import Conv, Head, Plan, Pool

ACTIVATIONS: Final[dict[str, type[nn.Module]]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}
DROPOUTS: Final[dict[str, type[nn.Module]]] = {"channel": nn.Dropout2d, "element": nn.Dropout}


def build(plan: Plan) -> nn.Sequential:
    """Make the network: images ``[b, c, h, w]`` to class scores (logits) ``[b, classes]``.

    Weights are drawn from torch's global generator. Submodules carry the plan's names: ``block1.0.conv``.
    """
    groups: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in plan.layers:
        match layer:
            case Conv() | Pool():
                group = groups.setdefault(layer.group, nn.Sequential())
                group.add_module(
                    layer.name.rpartition(".")[2], _conv(layer) if isinstance(layer, Conv) else _pool(layer)
                )
            case Head():
                groups[layer.name] = _head(layer)
    return nn.Sequential(groups)


def _conv(layer: Conv) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["conv"] = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding, bias=layer.bias
    )
    activation = ("activation", ACTIVATIONS[layer.activation]())
    norm = [("norm", nn.BatchNorm2d(layer.out_channels))] if layer.norm == "batch" else []
    parts.update([*norm, activation] if layer.order == "conv_norm_act" else [activation, *norm])
    if layer.dropout > 0:
        parts["dropout"] = DROPOUTS[layer.dropout_kind](layer.dropout)
    fusible = (
        layer.norm == "batch" and layer.activation == "relu" and (layer.dropout == 0 or layer.dropout_kind == "channel")
    )
    return ConvUnit(parts) if fusible else nn.Sequential(parts)


def _pool(layer: Pool) -> nn.MaxPool2d:
    return MaxPool(layer.size)


def _head(layer: Head) -> nn.Module:
    kind = ConvHead if layer.kind == "conv" else GapHead
    return kind(layer.in_channels, layer.classes, bias=layer.bias)

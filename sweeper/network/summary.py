"""Computes each layer's output shape, parameters, MACs, receptive field and jump in closed form, without weights."""

from dataclasses import dataclass
from typing import Final

from sweeper.errors import ConfigError
from sweeper.network.plan import Conv, Head, Plan, Pool

BATCH_NORM_PARAMETERS: Final = 2
"""Learned values per channel: a scale and a shift."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSummary:
    """The size and cost of one layer.

    Receptive field and jump follow Dumoulin and Visin, *A guide to convolution arithmetic* (2016): a window of k
    pixels widens the field by (k - 1) times the current jump, and a stride multiplies the jump.
    """

    name: str
    kind: str
    """``conv`` (with its normalization), ``pool`` or ``head``."""
    input_shape: tuple[int, int, int]
    """Channels, height, width."""
    output_shape: tuple[int, ...]
    """Channels, height, width; ``(classes,)`` for the head."""
    parameters: int
    """Learned values: weights, biases, normalization."""
    macs: int
    """Multiply-accumulates for one image; counted in convolutions and the head."""
    receptive_field: int
    """Side of the input square that one output value depends on, pixels. Includes padding, so may exceed the image."""
    jump: int
    """Distance of two neighbouring output values in input pixels: the cumulative stride."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """All layers' summaries and their totals."""

    layers: tuple[LayerSummary, ...]
    """One per layer of the plan, in its order."""
    parameters: int
    macs: int
    """Multiply-accumulates for one image."""


def summarize(plan: Plan) -> Summary:
    """Summarize every layer in one pass.

    Raises `ConfigError` if a feature map is smaller than its kernel or pooling window, if padding is not less than the
    kernel's size, or if the last feature map does not fit the head.
    """
    layers: list[LayerSummary] = []
    shape = plan.input_shape
    receptive_field = jump = 1
    for layer in plan.layers:
        match layer:
            case Conv():
                summary = _conv(layer, shape, receptive_field, jump)
            case Pool():
                summary = _pool(layer, shape, receptive_field, jump)
            case Head():
                summary = _head(layer, shape, receptive_field, jump)
        layers.append(summary)
        receptive_field, jump = summary.receptive_field, summary.jump
        if len(summary.output_shape) == len(shape):
            channels, height, width = summary.output_shape
            shape = (channels, height, width)
    return Summary(
        layers=tuple(layers),
        parameters=sum(summary.parameters for summary in layers),
        macs=sum(summary.macs for summary in layers),
    )


def _conv(layer: Conv, shape: tuple[int, int, int], receptive_field: int, jump: int) -> LayerSummary:
    _, height, width = shape
    if layer.padding >= layer.kernel_size:
        raise ConfigError(
            f"{layer.name} must pad by less than its kernel's {layer.kernel_size} pixels, but pads by {layer.padding}, "
            f"so that windows at the edge hold only zeros: lower model.groups.{layer.group}.padding"
        )
    grown = 2 * layer.padding + 1 - layer.kernel_size
    out_height, out_width = height + grown, width + grown
    if min(out_height, out_width) < 1:
        raise ConfigError(
            f"{layer.name} needs a feature map of at least {layer.kernel_size - 2 * layer.padding} pixels for its "
            f"{layer.kernel_size}×{layer.kernel_size} kernel, but its input is {height}×{width}: "
            f"raise model.groups.{layer.group}.padding, or pool and convolve less before it"
        )
    weights = layer.out_channels * layer.in_channels * layer.kernel_size**2
    bias = layer.out_channels if layer.bias else 0
    norm = BATCH_NORM_PARAMETERS * layer.out_channels if layer.norm == "batch" else 0
    return LayerSummary(
        name=layer.name,
        kind="conv",
        input_shape=shape,
        output_shape=(layer.out_channels, out_height, out_width),
        parameters=weights + bias + norm,
        macs=weights * out_height * out_width,
        receptive_field=receptive_field + (layer.kernel_size - 1) * jump,
        jump=jump,
    )


def _pool(layer: Pool, shape: tuple[int, int, int], receptive_field: int, jump: int) -> LayerSummary:
    channels, height, width = shape
    if min(height, width) < layer.size:
        raise ConfigError(
            f"{layer.name} needs a feature map of at least {layer.size} pixels, but its input is {height}×{width}: "
            f"lower model.groups.{layer.group}.pool, or pool and convolve less before it"
        )
    return LayerSummary(
        name=layer.name,
        kind="pool",
        input_shape=shape,
        output_shape=(channels, height // layer.size, width // layer.size),
        parameters=0,
        macs=0,
        receptive_field=receptive_field + (layer.size - 1) * jump,
        jump=jump * layer.size,
    )


def _head(layer: Head, shape: tuple[int, int, int], receptive_field: int, jump: int) -> LayerSummary:
    _, height, width = shape
    if layer.kind == "conv" and (height, width) != (1, 1):
        raise ConfigError(
            f"head=conv needs a 1×1 feature map, but the last group leaves {height}×{width}: "
            "use head@model.head=gap, or pool and convolve more before it"
        )
    weights = layer.in_channels * layer.classes
    return LayerSummary(
        name=layer.name,
        kind="head",
        input_shape=shape,
        output_shape=(layer.classes,),
        parameters=weights + (layer.classes if layer.bias else 0),
        macs=weights,
        # Global pooling is one window of the feature map's size; on a 1×1 feature map it adds nothing.
        receptive_field=receptive_field + (max(height, width) - 1) * jump,
        jump=jump,
    )

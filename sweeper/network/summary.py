"""Sums up a plan: each layer's output shape, parameters, MACs, receptive field and jump, without weights."""

from dataclasses import dataclass

from sweeper.errors import ConfigError
from sweeper.network.layers import Conv, Layer
from sweeper.network.layers.base import Shape
from sweeper.network.plan import Plan


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
    """Learned values: weights, biases, normalization, slopes of activations."""
    macs: int
    """Multiply-accumulates for one image; counted in convolutions and linear layers."""
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
    """Ask every layer, in order, for its size and cost.

    Raises `ConfigError` if a layer does not fit its input: a feature map smaller than its kernel or pooling window,
    padding that is not less than the kernel's side, a stride beyond it, a last feature map that does not fit the head.
    """
    layers: list[LayerSummary] = []
    shape = plan.input_shape
    receptive_field = jump = 1
    for layer in plan.layers:
        try:
            output_shape = layer.output_shape(shape)
        except ConfigError as error:
            strided = [conv for conv in plan.layers[: len(layers)] if isinstance(conv, Conv) and conv.stride > 1]
            if not strided or not _fits(layer, (shape[0], *plan.input_shape[1:])):
                raise
            keys = dict.fromkeys(f"model.groups.{conv.group}.stride, which is {conv.stride}" for conv in strided)
            raise ConfigError(f"{error}, or lower {' and '.join(keys)}") from error
        receptive_field += (layer.window(shape) - 1) * jump
        jump *= layer.step
        layers.append(
            LayerSummary(
                name=layer.name,
                kind=layer.kind,
                input_shape=shape,
                output_shape=output_shape,
                parameters=layer.parameters,
                macs=layer.macs(shape),
                receptive_field=receptive_field,
                jump=jump,
            )
        )
        match output_shape:
            case (channels, height, width):
                shape = (channels, height, width)
    return Summary(
        layers=tuple(layers),
        parameters=sum(summary.parameters for summary in layers),
        macs=sum(summary.macs for summary in layers),
    )


def _fits(layer: Layer, shape: Shape) -> bool:
    try:
        layer.output_shape(shape)
    except ConfigError:
        return False
    return True

"""Expands a model config into a plan: the ordered list of layers that summary, budget, diagnosis and build read."""

from dataclasses import dataclass
from typing import TypeVar

from sweeper.config.model import Activation, DropoutKind, GroupConf, HeadConf, ModelConf, Norm, Order

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv:
    """A convolution of stride 1 with its activation, normalization and dropout."""

    name: str
    """The group and the index in it: ``block1.0``."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Max pooling before a group; pixels at the right and bottom edge that fill no window are dropped."""

    name: str
    """The group and ``pool``: ``transition1.pool``."""
    group: str
    channels: int
    size: int
    """Side and stride of the window, pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The last layer: a feature map to one logit per class."""

    name: str
    kind: str
    """``conv`` or ``gap``."""
    in_channels: int
    classes: int
    bias: bool


Layer = Conv | Pool | Head


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A network as a list of layers, without weights."""

    input_shape: tuple[int, int, int]
    """Channels, height, width of an image."""
    classes: int
    layers: tuple[Layer, ...]
    """In order of application; the head is last."""


def make_plan(model: ModelConf, *, input_shape: tuple[int, int, int], classes: int) -> Plan:
    """List the layers of all groups; a group's null values inherit the model-wide ones.

    Feature map sizes are not checked here: `summary.summarize` computes them and raises `ConfigError` if a layer does
    not fit its input.
    """
    layers: list[Layer] = []
    channels = input_shape[0]
    for name, group in model.groups.items():
        layers.extend(_group_layers(name, group, model, channels))
        channels = group.channels[-1]
    layers.append(_head(model.head, channels, classes))
    return Plan(input_shape=input_shape, classes=classes, layers=tuple(layers))


def _group_layers(name: str, group: GroupConf, model: ModelConf, in_channels: int) -> list[Layer]:
    layers: list[Layer] = []
    pool = _own_or(group.pool, model.pool)
    if pool > 1:
        layers.append(Pool(name=f"{name}.pool", group=name, channels=in_channels, size=pool))
    for index, out_channels in enumerate(group.channels):
        layers.append(
            Conv(
                name=f"{name}.{index}",
                group=name,
                in_channels=in_channels,
                out_channels=out_channels,
                kernel_size=_own_or(group.kernel_size, model.kernel_size),
                padding=_own_or(group.padding, model.padding),
                bias=_own_or(group.bias, model.bias),
                norm=_own_or(group.norm, model.norm),
                activation=_own_or(group.activation, model.activation),
                order=_own_or(group.order, model.order),
                dropout=_own_or(group.dropout, model.dropout),
                dropout_kind=_own_or(group.dropout_kind, model.dropout_kind),
            )
        )
        in_channels = out_channels
    return layers


def _head(head: HeadConf, in_channels: int, classes: int) -> Head:
    return Head(name="head", kind=head.name, in_channels=in_channels, classes=classes, bias=head.bias)


def _own_or(own: T | None, model_wide: T) -> T:
    return model_wide if own is None else own

"""Which layers a model config means, in order: the single source that `summary` reads and `build` makes."""

from dataclasses import dataclass
from typing import TypeVar

from sweeper.config.model import Activation, DropoutKind, GroupConf, HeadConf, ModelConf, Norm, Order

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv:
    """One convolution with its activation, normalisation and dropout; stride 1."""

    name: str
    """Group and position in it: ``block1.0``."""
    group: str
    """The group's name in the config."""
    in_channels: int
    out_channels: int
    kernel_size: int
    """Side of the square kernel, pixels."""
    padding: int
    """Zeros on each side, pixels."""
    bias: bool
    norm: Norm
    activation: Activation
    order: Order
    dropout: float
    """Probability of dropping a channel or element."""
    dropout_kind: DropoutKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Max pooling before a group; a remainder at the right and bottom edge is cut off."""

    name: str
    """Group and ``pool``: ``transition1.pool``."""
    group: str
    channels: int
    size: int
    """Side and stride of the window, pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The last layer: from a map to one score per class."""

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
    """In the order they are applied; the head is the last."""


def make_plan(model: ModelConf, *, input_shape: tuple[int, int, int], classes: int) -> Plan:
    """Lay the groups out as layers, each unset value taken from the model.

    Says nothing about sizes of maps: `summary.summarize` computes them and refuses what does not fit.
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
    pool = _either(group.pool, model.pool)
    if pool > 1:
        layers.append(Pool(name=f"{name}.pool", group=name, channels=in_channels, size=pool))
    for index, out_channels in enumerate(group.channels):
        layers.append(
            Conv(
                name=f"{name}.{index}",
                group=name,
                in_channels=in_channels,
                out_channels=out_channels,
                kernel_size=_either(group.kernel_size, model.kernel_size),
                padding=_either(group.padding, model.padding),
                bias=_either(group.bias, model.bias),
                norm=_either(group.norm, model.norm),
                activation=_either(group.activation, model.activation),
                order=_either(group.order, model.order),
                dropout=_either(group.dropout, model.dropout),
                dropout_kind=_either(group.dropout_kind, model.dropout_kind),
            )
        )
        in_channels = out_channels
    return layers


def _head(head: HeadConf, in_channels: int, classes: int) -> Head:
    return Head(name="head", kind=head.name, in_channels=in_channels, classes=classes, bias=head.bias)


def _either(own: T | None, model_wide: T) -> T:
    return model_wide if own is None else own

"""Expands a model config into a plan: the ordered list of layers that summary, budget, diagnosis and build read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from sweeper.config.model import GroupConf, ModelConf
from sweeper.errors import ConfigError
from sweeper.network.layers import Conv, Layer
from sweeper.network.layers.base import Shape
from sweeper.network.layers.convolution import convolution
from sweeper.network.layers.head import head
from sweeper.network.layers.pooling import pooling


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A network as a list of layers, without weights."""

    input_shape: Shape
    """Channels, height, width of an image."""
    classes: int
    layers: tuple[Layer, ...]
    """In order of application; the head is last."""

    @property
    def has_dropout(self) -> bool:
        """Whether any convolution drops activations."""
        return any(isinstance(layer, Conv) and layer.dropout > 0 for layer in self.layers)


def make_plan(model: ModelConf, *, input_shape: Shape, classes: int) -> Plan:
    """List the layers of all groups; a group's null values inherit the model-wide ones.

    Feature map sizes are not checked here: `summary.summarize` computes them and raises `ConfigError` if a layer does
    not fit its input. Raises `ConfigError` if shortcuts are asked for and no convolution can have one.
    """
    layers: list[Layer] = []
    channels = input_shape[0]
    for name, group in model.groups.items():
        layers.extend(_group_layers(name, group, _inherited(model, group), channels))
        channels = group.widths[-1] if group.widths else channels
    _check_shortcuts(model, layers)
    layers.append(head(model.head, in_channels=channels, classes=classes))
    return Plan(input_shape=input_shape, classes=classes, layers=tuple(layers))


def _inherited(model: ModelConf, group: GroupConf) -> ModelConf:
    """Return the model with the group's own values as the model-wide ones: the values that hold in the group."""
    names = {field.name for field in fields(model)} & {field.name for field in fields(group)}
    own = {name: value for name in names if (value := getattr(group, name)) is not None}
    return replace(model, **own)


def _check_shortcuts(model: ModelConf, layers: Sequence[Layer]) -> None:
    """Raise `ConfigError` for a `residual` that does nothing: a group's own, or the model-wide one."""
    having = {layer.group for layer in layers if isinstance(layer, Conv) and layer.shortcut}
    places = {f"model.groups.{name}": {name} for name, group in model.groups.items() if group.residual and group.widths}
    heirs = {name for name, group in model.groups.items() if group.residual is None}
    for place, groups in {**({"model": heirs} if model.residual and heirs else {}), **places}.items():
        if not groups & having:
            raise ConfigError(
                f"{place}.residual=true needs a convolution with stride 1 and at least as many channels as its input, "
                f"but there is none: widen one or set {place}.residual=false"
            )


def _group_layers(name: str, group: GroupConf, conf: ModelConf, in_channels: int) -> Iterator[Layer]:
    pool = pooling(conf, group=name, channels=in_channels)
    if pool is not None:
        yield pool
    for index, out_channels in enumerate(group.widths):
        yield convolution(conf, group=name, index=index, in_channels=in_channels, out_channels=out_channels)
        in_channels = out_channels

"""What every layer of a plan can tell about itself, without weights."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

Shape = tuple[int, int, int]
"""Channels, height, width of a feature map."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseLayer(ABC):
    """One layer of a plan. What depends on the feature map's size takes the shape of its input."""

    kind: ClassVar[str]
    """The family: ``conv``, ``pool`` or ``head``."""
    name: str
    """The group and the name in it: ``block1.0``."""

    @abstractmethod
    def output_shape(self, shape: Shape) -> tuple[int, ...]:
        """Return channels, height and width of the output; ``(classes,)`` for a head.

        Raises `ConfigError` if the layer does not fit its input.
        """

    @property
    def parameters(self) -> int:
        """Learned values: weights, biases, normalization, slopes of activations."""
        return 0

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 - layers with weights use it
        """Return the multiply-accumulates for one image; those of convolutions and linear layers count."""
        return 0

    @abstractmethod
    def window(self, shape: Shape) -> int:
        """Return the side of the square of its input that one output value depends on."""

    @property
    def step(self) -> int:
        """Distance of two neighbouring output values in values of the input."""
        return 1

    @property
    @abstractmethod
    def label(self) -> str:
        """The operation as the table of layers names it."""

    @property
    def widths(self) -> Mapping[str, int]:
        """The numbers of channels that a search may change, by override key: ``model.groups.block1.channels.0``."""
        return {}

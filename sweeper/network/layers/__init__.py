"""The layers of a plan, one file per family: each knows its shape, costs, receptive field, label and width keys."""

from sweeper.network.layers.convolution import Conv, Convolution
from sweeper.network.layers.head import GapHead, HeadLayer
from sweeper.network.layers.pooling import Pooling

Layer = Convolution | Pooling | HeadLayer
"""Every kind of layer; `mypy` reports a `match` over it that misses one."""

__all__ = ["Conv", "GapHead", "Layer"]

"""The layers of a plan, one file per family: each knows its shape, costs, receptive field, label and width keys."""

from sweeper.network.layers.convolution import Conv, Convolution, PlainConv, SeparableConv
from sweeper.network.layers.head import ConvHead, GapHead, Head, HeadLayer
from sweeper.network.layers.pooling import AvgPool, BlurPool, MaxPool, Pool, Pooling

Layer = Convolution | Pooling | HeadLayer
"""Every kind of layer; `mypy` reports a `match` over it that misses one."""

__all__ = [
    "AvgPool",
    "BlurPool",
    "Conv",
    "ConvHead",
    "Convolution",
    "GapHead",
    "Head",
    "HeadLayer",
    "Layer",
    "MaxPool",
    "PlainConv",
    "Pool",
    "Pooling",
    "SeparableConv",
]

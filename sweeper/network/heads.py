"""How the last map becomes class scores: in float32 whatever precision the rest has, and as few operations as can be."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn


class ConvHead(nn.Module):
    """A 1×1 convolution of a 1×1 map."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, classes, kernel_size=1, bias=bias)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, 1, 1]`` to ``[n, classes]``."""
        with _float32(map_nchw):
            return F.linear(map_nchw.flatten(1).float(), self.conv.weight.flatten(1), self.conv.bias)


class GapHead(nn.Module):
    """The mean of all pixels (global average pooling), and a linear layer."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes, bias=bias)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to ``[n, classes]``."""
        with _float32(map_nchw):
            # Channels are last in memory: the mean of their rows, and its gradient, take a third of AdaptiveAvgPool2d's time.
            pixels_npc = map_nchw.permute(0, 2, 3, 1).flatten(1, 2)
            return self.linear(pixels_npc.float().mean(1))  # type: ignore[no-any-return]  # torch leaves it untyped


def _float32(like: Tensor) -> Any:
    return torch.autocast(like.device.type, enabled=False)

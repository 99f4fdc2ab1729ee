"""The classification heads: last feature map to logits, in float32 even under bfloat16 autocast, in few operations."""

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn


class ConvHead(nn.Module):
    """A 1×1 convolution on a 1×1 feature map, computed as a linear layer."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, classes, kernel_size=1, bias=bias)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, 1, 1]`` to logits ``[n, classes]``."""
        weight, bias = self.conv.weight, self.conv.bias
        with torch.autocast(map_nchw.device.type, enabled=False):
            return F.linear(map_nchw.flatten(1).to(weight.dtype), weight.flatten(1), bias)


class GapHead(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes, bias=bias)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to logits ``[n, classes]``."""
        weight, bias = self.linear.weight, self.linear.bias
        with torch.autocast(map_nchw.device.type, enabled=False):
            # In channels-last format this mean and its gradient take a third of AdaptiveAvgPool2d's time.
            pixels_npc = map_nchw.permute(0, 2, 3, 1).flatten(1, 2)
            return F.linear(pixels_npc.to(weight.dtype).mean(1), weight, bias)

"""The classification heads: last feature map to logits, in float32 even under bfloat16 autocast, in few operations."""

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn


class PixelConv(nn.Conv2d):
    """A 1×1 convolution on a 1×1 feature map, computed as a linear layer."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Map ``[n, c, 1, 1]`` to ``[n, c', 1, 1]``."""
        return F.linear(input.flatten(1), self.weight.flatten(1), self.bias)[:, :, None, None]


class ConvHead(nn.Module):
    """A 1×1 convolution on a 1×1 feature map."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = PixelConv(channels, classes, kernel_size=1, bias=bias)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, 1, 1]`` to logits ``[n, classes]``."""
        with torch.autocast(map_nchw.device.type, enabled=False):
            logits_nk11: Tensor = self.conv(map_nchw.to(self.conv.weight.dtype))
        return logits_nk11.flatten(1)


class GapHead(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes, bias=bias)

    def forward(self, map_nchw: Tensor) -> Tensor:
        """Map ``[n, c, h, w]`` to logits ``[n, classes]``."""
        with torch.autocast(map_nchw.device.type, enabled=False):
            # In channels-last format this mean and its gradient take a third of AdaptiveAvgPool2d's time.
            pixels_npc = map_nchw.permute(0, 2, 3, 1).flatten(1, 2)
            logits_nk: Tensor = self.linear(pixels_npc.to(self.linear.weight.dtype).mean(1))
        return logits_nk

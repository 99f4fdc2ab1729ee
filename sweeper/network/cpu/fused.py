"""What a small network is made of, trained on a CPU as single operations: torch's numbers, in fewer passes.

Between two convolutions `kernels` does it all, on maps with their channels last in memory.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.network.cpu import kernels
from sweeper.network.cpu.convolution import convolve, convolve_backward
from sweeper.network.cpu.layout import LAST, pixels, rows

LARGEST_POOL: Final = 16
"""A window's places are counted in a byte."""


class Fused(nn.Module):
    """A module that has a faster way for training on a CPU. Otherwise, and with `fused` unset, it is torch's."""

    fused: bool = True
    """Whether the faster way is used."""

    def _is_fused(self, images: Tensor) -> bool:
        # torch refuses to norm the single number a channel that one image may have.
        return self.fused and self.training and images.device.type == "cpu" and len(images) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What a unit's modules are set to: asking them at each step takes a while."""

    padding: int
    momentum: float
    eps: float
    relu_first: bool
    dropout: float


class ConvUnit(Fused, nn.Sequential):
    """`conv`, `norm`, `activation` (in either order) and perhaps `dropout` as one operation.

    Made of torch's modules, whose parameters and buffers it uses.
    """

    def __init__(self, parts: OrderedDict[str, nn.Module]) -> None:
        """Join these parts: Conv2d of stride 1, BatchNorm2d, ReLU, Dropout2d."""
        super().__init__(parts)
        conv, norm, dropout = parts["conv"], parts["norm"], parts.get("dropout")
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(conv.padding[0], int)
        assert norm.momentum is not None
        self._facts = _Facts(
            padding=conv.padding[0],
            momentum=norm.momentum,
            eps=norm.eps,
            relu_first=list(parts).index("activation") < list(parts).index("norm"),
            dropout=dropout.p if isinstance(dropout, nn.Dropout2d) else 0.0,
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``."""
        if not self._is_fused(input):
            return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
        conv, norm = self._modules["conv"], self._modules["norm"]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return _ConvUnit.apply(input, conv.weight, conv.bias, norm.weight, norm.bias, norm, self._facts)  # type: ignore[no-any-return]  # torch leaves it untyped


class MaxPool(Fused, nn.MaxPool2d):
    """Max pooling of windows side by side."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Map ``[n, c, h, w]`` to ``[n, c, h // size, w // size]``."""
        assert isinstance(self.kernel_size, int)
        if not (self._is_fused(input) and self.kernel_size <= LARGEST_POOL):
            return super().forward(input)  # type: ignore[no-any-return]  # torch leaves it untyped
        return _MaxPool.apply(input, self.kernel_size)  # type: ignore[no-any-return]  # torch leaves it untyped


class _ConvUnit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input_nchw: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gain_c: Tensor,
        shift_c: Tensor,
        norm: nn.BatchNorm2d,
        facts: _Facts,
    ) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input_nchw.dtype
        input_nchw, kernel = input_nchw.to(dtype), weight.to(dtype)
        map_nchw = convolve(input_nchw, kernel, None if bias is None else bias.to(dtype), facts.padding)
        out = torch.empty_like(map_nchw, memory_format=LAST)
        gain = gain_c.detach().numpy()
        norm_4c = np.empty((4, len(gain)), gain.dtype)
        norm_4c[0], norm_4c[1] = gain, shift_c.detach().numpy()
        if facts.dropout == 0:
            kept_nc = np.ones(map_nchw.shape[:2], norm_4c.dtype)
        else:
            # PageFigure as Dropout2d draws, one for each image and channel.
            kept_nc = torch.empty(map_nchw.shape[:2], dtype=gain_c.dtype).bernoulli_(1 - facts.dropout).numpy()
            kept_nc /= 1 - facts.dropout
        kernels.normalise(
            rows(map_nchw),
            rows(out),
            kept_nc,
            norm_4c,
            norm.running_mean.numpy(),
            norm.running_var.numpy(),
            facts.momentum,
            facts.eps,
            facts.relu_first,
        )
        norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(input_nchw, kernel)
        ctx.map_nchw, ctx.kept_nc, ctx.norm_4c = map_nchw, kept_nc, norm_4c
        ctx.facts, ctx.dtype = facts, weight.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor | None, ...]:
        input_nchw, kernel = ctx.saved_tensors
        facts: _Facts = ctx.facts
        # The map becomes its own gradient: memory that is still in the cache, and no second time.
        map_nchw, ctx.map_nchw = ctx.map_nchw, None
        grads_3c = torch.empty(3, map_nchw.shape[1], dtype=ctx.dtype)
        grad_nchw = grad_nchw.contiguous(memory_format=LAST)
        kernels.normalise_backward(
            rows(map_nchw), rows(grad_nchw), ctx.kept_nc, ctx.norm_4c, grads_3c.numpy(), facts.relu_first
        )
        grad_gain, grad_shift, grad_bias = grads_3c.unbind()
        grad_input, grad_weight = convolve_backward(
            map_nchw, input_nchw, kernel, facts.padding, needs_input=ctx.needs_input_grad[0]
        )
        return (
            grad_input,
            grad_weight.to(ctx.dtype),
            grad_bias if ctx.needs_input_grad[2] else None,
            grad_gain,
            grad_shift,
            None,
            None,
        )


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_nchw: Tensor, size: int) -> Tensor:
        n, c, h, w = input_nchw.shape
        input_nchw = input_nchw.contiguous(memory_format=LAST)
        out = torch.empty((n, c, h // size, w // size), dtype=input_nchw.dtype, memory_format=LAST)
        ctx.shape, ctx.size = input_nchw.shape, size
        ctx.chosen = np.empty((n, h // size, w // size, c), np.uint8)
        kernels.max_pool(rows(input_nchw), pixels(out), ctx.chosen, size)
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor, None]:
        grad_nchw = grad_nchw.contiguous(memory_format=LAST)
        grad_input = torch.empty(ctx.shape, dtype=grad_nchw.dtype, memory_format=LAST)
        kernels.max_pool_backward(pixels(grad_nchw), ctx.chosen, rows(grad_input), ctx.size)
        return grad_input, None

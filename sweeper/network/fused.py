"""What a small network is made of, trained on a CPU as single operations: torch's numbers, in fewer passes.

Convolutions are torch's; what lies between them is done by `kernels`, on maps with their channels last in memory.
"""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.network import kernels
from sweeper.network.kernels import Array

LAST: Final = torch.channels_last
LARGEST_POOL: Final = 16
"""A window's places are counted in a byte."""


class Fused(nn.Module):
    """A module that has a faster way for training on a CPU. Otherwise, and with `fused` unset, it is torch's."""

    fused: bool = True
    """Whether the faster way is used."""

    def _is_fused(self, images: Tensor) -> bool:
        # torch refuses to norm the single number a channel that one image may have.
        return self.fused and self.training and images.device.type == "cpu" and len(images) > 1


class ConvUnit(Fused, nn.Sequential):
    """`conv`, `norm`, `activation` (in either order) and perhaps `dropout` as one operation.

    Made of torch's modules, whose parameters and buffers it uses.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``."""
        if not self._is_fused(input):
            return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
        parts = self._modules
        conv, norm, dropout = parts["conv"], parts["norm"], parts.get("dropout")
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        relu_first = list(parts).index("activation") < list(parts).index("norm")
        p = dropout.p if isinstance(dropout, nn.Dropout2d) else 0.0
        return _ConvUnit.apply(input, conv.weight, conv.bias, norm.weight, norm.bias, conv, norm, relu_first, p)  # type: ignore[no-any-return]  # torch leaves it untyped


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
        conv: nn.Conv2d,
        norm: nn.BatchNorm2d,
        relu_first: bool,
        dropout: float,
    ) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input_nchw.dtype
        input_nchw, kernel = input_nchw.to(dtype), weight.to(dtype)
        map_nchw = torch.conv2d(input_nchw, kernel, None if bias is None else bias.to(dtype), padding=conv.padding)
        map_nchw = map_nchw.contiguous(memory_format=LAST)
        out = torch.empty_like(map_nchw, memory_format=LAST)
        # Drawn as Dropout2d draws, one for each image and channel.
        kept_nc = torch.empty(map_nchw.shape[:2], dtype=gain_c.dtype).bernoulli_(1 - dropout).numpy()
        kept_nc /= 1 - dropout
        facts_4c = np.empty((4, map_nchw.shape[1]), kept_nc.dtype)
        facts_4c[0], facts_4c[1] = gain_c.detach().numpy(), shift_c.detach().numpy()
        running = (norm.running_mean.numpy(), norm.running_var.numpy())
        kernels.normalise(_rows(map_nchw), _rows(out), kept_nc, facts_4c, *running, norm.momentum, norm.eps, relu_first)
        norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(input_nchw, kernel)
        ctx.map_nchw, ctx.kept_nc, ctx.facts_4c, ctx.relu_first = map_nchw, kept_nc, facts_4c, relu_first
        ctx.conv, ctx.dtype = conv, weight.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor | None, ...]:
        input_nchw, kernel = ctx.saved_tensors
        # The map becomes its own gradient: memory that is still in the cache, and no second time.
        map_nchw, ctx.map_nchw = ctx.map_nchw, None
        grads_3c = torch.empty(3, map_nchw.shape[1], dtype=ctx.dtype)
        kernels.normalise_backward(
            _rows(map_nchw), _rows(grad_nchw), ctx.kept_nc, ctx.facts_4c, grads_3c.numpy(), ctx.relu_first
        )
        grad_gain, grad_shift, grad_bias = grads_3c.unbind()
        grad_input, grad_weight, _ = torch.ops.aten.convolution_backward(
            map_nchw,
            input_nchw,
            kernel,
            None,
            ctx.conv.stride,
            ctx.conv.padding,
            ctx.conv.dilation,
            False,
            (0, 0),
            1,
            (ctx.needs_input_grad[0], True, False),
        )
        return (
            grad_input,
            grad_weight.to(ctx.dtype),
            grad_bias if ctx.conv.bias is not None else None,
            grad_gain,
            grad_shift,
            *(None,) * 4,
        )


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_nchw: Tensor, size: int) -> Tensor:
        n, c, h, w = input_nchw.shape
        out = torch.empty((n, c, h // size, w // size), dtype=input_nchw.dtype, memory_format=LAST)
        ctx.shape, ctx.size = input_nchw.shape, size
        ctx.chosen = np.empty((n, h // size, w // size, c), np.uint8)
        kernels.max_pool(_rows(input_nchw), _pixels(out), ctx.chosen, size)
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor, None]:
        grad_input = torch.empty(ctx.shape, dtype=grad_nchw.dtype, memory_format=LAST)
        kernels.max_pool_backward(_pixels(grad_nchw), ctx.chosen, _rows(grad_input), ctx.size)
        return grad_input, None


def _pixels(map_nchw: Tensor) -> Array:
    """Return the map as ``[n, h, w, c]``, the same memory if its channels are last; bfloat16 as its bits."""
    map_nhwc = map_nchw.contiguous(memory_format=LAST).permute(0, 2, 3, 1)
    return map_nhwc.view(torch.uint16).numpy() if map_nhwc.dtype == torch.bfloat16 else map_nhwc.numpy()


def _rows(map_nchw: Tensor) -> Array:
    """Return the map as ``[n, h, w * c]``, likewise."""
    n, c, h, w = map_nchw.shape
    return _pixels(map_nchw).reshape(n, h, w * c)

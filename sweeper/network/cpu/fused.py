"""Modules that train on a CPU as single operations: the results of torch's modules in fewer passes over memory.

Between two convolutions one compiled kernel does all the work, on channels-last feature maps.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.network.cpu import kernels
from sweeper.network.cpu.convolution import convolve_backward
from sweeper.network.cpu.fast_paths import FastPaths
from sweeper.network.cpu.layout import LAST, pixels, rows

LARGEST_POOL: Final = 16
"""Side of the largest pooling window, pixels: a position in it is stored in one byte."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """The settings of a `ConvUnit`'s modules; reading them from the modules at every step is slow."""

    padding: int
    momentum: float
    eps: float
    relu_first: bool
    dropout: float
    pads_gradient: bool


class ConvUnit(nn.Sequential):
    """`conv`, `norm`, `activation` (the last two in either order) and an optional `dropout` as one operation.

    It consists of torch's modules and uses their parameters and buffers. In evaluation, on other devices and for a
    batch of one image it runs as torch's `Sequential`.
    """

    def __init__(self, parts: OrderedDict[str, nn.Module], fast_paths: FastPaths) -> None:
        """Join a Conv2d of stride 1, a BatchNorm2d, a ReLU and an optional Dropout2d."""
        super().__init__(parts)
        conv, norm, dropout = parts["conv"], parts["norm"], parts.get("dropout")
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(conv.padding[0], int)
        assert norm.momentum is not None
        self._settings = _Settings(
            padding=conv.padding[0],
            momentum=norm.momentum,
            eps=norm.eps,
            relu_first=list(parts).index("activation") < list(parts).index("norm"),
            dropout=dropout.p if isinstance(dropout, nn.Dropout2d) else 0.0,
            pads_gradient=fast_paths.padded_gradient,
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``."""
        if not _trains_on_cpu(self, input):
            return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
        conv, norm = self._modules["conv"], self._modules["norm"]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        return _ConvUnit.apply(input, conv.weight, conv.bias, norm.weight, norm.bias, norm, self._settings)  # type: ignore[no-any-return]  # torch leaves it untyped


class MaxPool(nn.MaxPool2d):
    """Max pooling of windows that do not overlap: the stride is the window's side."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Map ``[n, c, h, w]`` to ``[n, c, h // size, w // size]``."""
        assert isinstance(self.kernel_size, int)
        if not (_trains_on_cpu(self, input) and self.kernel_size <= LARGEST_POOL):
            return super().forward(input)  # type: ignore[no-any-return]  # torch leaves it untyped
        return _MaxPool.apply(input, self.kernel_size)  # type: ignore[no-any-return]  # torch leaves it untyped


def _trains_on_cpu(module: nn.Module, images: Tensor) -> bool:
    # In a batch of one image a channel may have a single value. torch's batch norm raises an error for it; so must we.
    return module.training and images.device.type == "cpu" and len(images) > 1


class _ConvUnit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input_nchw: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scale_c: Tensor,
        shift_c: Tensor,
        norm: nn.BatchNorm2d,
        settings: _Settings,
    ) -> Tensor:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input_nchw.dtype
        input_nchw, kernel = input_nchw.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
        map_nchw = torch.conv2d(input_nchw, kernel, bias, padding=settings.padding).contiguous(memory_format=LAST)
        out = torch.empty_like(map_nchw, memory_format=LAST)
        scale = scale_c.detach().numpy()
        norm_4c = np.empty((4, len(scale)), scale.dtype)
        norm_4c[0], norm_4c[1] = scale, shift_c.detach().numpy()
        if settings.dropout == 0:
            kept_nc = np.ones(map_nchw.shape[:2], norm_4c.dtype)
        else:
            # The same draws as Dropout2d makes: one per image and channel.
            kept_nc = torch.empty(map_nchw.shape[:2], dtype=scale_c.dtype).bernoulli_(1 - settings.dropout).numpy()
            kept_nc /= 1 - settings.dropout
        kernels.normalise(
            rows(map_nchw),
            rows(out),
            kept_nc,
            norm_4c,
            norm.running_mean.numpy(),
            norm.running_var.numpy(),
            settings.momentum,
            settings.eps,
            settings.relu_first,
        )
        norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(input_nchw, kernel)
        ctx.map_nchw, ctx.kept_nc, ctx.norm_4c = map_nchw, kept_nc, norm_4c
        ctx.settings, ctx.dtype = settings, weight.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor | None, ...]:
        input_nchw, kernel = ctx.saved_tensors
        settings: _Settings = ctx.settings
        # The map is overwritten with its own gradient: that memory is still in cache. So backward can run only once.
        map_nchw, ctx.map_nchw = ctx.map_nchw, None
        grads_3c = torch.empty(3, map_nchw.shape[1], dtype=ctx.dtype)
        grad_nchw = grad_nchw.contiguous(memory_format=LAST)
        kernels.normalise_backward(
            rows(map_nchw), rows(grad_nchw), ctx.kept_nc, ctx.norm_4c, grads_3c.numpy(), settings.relu_first
        )
        grad_scale, grad_shift, grad_bias = grads_3c.unbind()
        grad_input, grad_weight = convolve_backward(
            map_nchw,
            input_nchw,
            kernel,
            settings.padding,
            needs_input=ctx.needs_input_grad[0],
            pads_gradient=settings.pads_gradient,
        )
        return (
            grad_input,
            grad_weight.to(ctx.dtype),
            grad_bias if ctx.needs_input_grad[2] else None,
            grad_scale,
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
        ctx.argmax = np.empty((n, h // size, w // size, c), np.uint8)
        kernels.max_pool(rows(input_nchw), pixels(out), ctx.argmax, size)
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor, None]:
        grad_nchw = grad_nchw.contiguous(memory_format=LAST)
        grad_input = torch.empty(ctx.shape, dtype=grad_nchw.dtype, memory_format=LAST)
        kernels.max_pool_backward(pixels(grad_nchw), ctx.argmax, rows(grad_input), ctx.size)
        return grad_input, None

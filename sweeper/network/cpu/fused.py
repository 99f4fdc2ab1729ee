"""Modules that train on a CPU as single operations: the results of torch's modules in fewer passes over memory.

Between two convolutions one compiled kernel does all the work, on channels-last feature maps. Whatever `plain` does not
recognise, such as hooks or a frozen norm, runs as torch's own modules.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn

from sweeper.network.cpu import kernels, pooling
from sweeper.network.cpu.layout import LAST, pixels, rows
from sweeper.network.cpu.plain import PlainUnit, is_plain_pool, plain_unit
from sweeper.network.cpu.torch_private import is_wrapped


class ConvUnit(nn.Sequential):
    """`conv`, `norm`, `activation` (the last two in either order) and an optional `dropout` as one operation.

    It consists of torch's modules, a Conv2d, a BatchNorm2d, a ReLU and an optional Dropout2d, and uses their
    parameters, buffers and settings.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Sequential's name for it
        """Map ``[n, c, h, w]`` to ``[n, c', h', w']``."""
        unit = plain_unit(self._modules, input) if self.training else None
        if unit is None:
            return super().forward(input)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped
        conv, norm = unit.conv, unit.norm
        return _ConvUnit.apply(input, conv.weight, conv.bias, norm.weight, norm.bias, unit)  # type: ignore[no-any-return]  # torch leaves it untyped


class MaxPool(nn.MaxPool2d):
    """Max pooling of windows that do not overlap: the stride is the window's side."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Map ``[n, c, h, w]`` to ``[n, c, h // size, w // size]``."""
        if not (self.training and is_plain_pool(self, input)):
            return super().forward(input)  # type: ignore[no-any-return]  # torch leaves it untyped
        return _MaxPool.apply(input, self.kernel_size)  # type: ignore[no-any-return]  # torch leaves it untyped


class _ConvUnit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        input_nchw: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scale_c: Tensor,
        shift_c: Tensor,
        unit: PlainUnit,
    ) -> Tensor:
        norm, dtype = unit.norm, unit.dtype
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        assert norm.momentum is not None
        converted = input_nchw.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        ctx.geometry = unit.conv.stride, unit.conv.padding, unit.conv.dilation, unit.conv.groups
        map_nchw = torch.conv2d(*converted, *ctx.geometry).contiguous(memory_format=LAST)
        out = torch.empty_like(map_nchw, memory_format=LAST)
        scale = scale_c.detach().numpy()
        norm_5c = np.empty((5, len(scale)), scale.dtype)
        norm_5c[0], norm_5c[1] = scale, shift_c.detach().numpy()
        if unit.dropout == 0:
            kept_nc = np.ones(map_nchw.shape[:2], norm_5c.dtype)
        else:
            # The same draws as Dropout2d makes: one per image and channel.
            kept_nc = torch.empty(map_nchw.shape[:2], dtype=scale_c.dtype).bernoulli_(1 - unit.dropout).numpy()
            kept_nc /= 1 - unit.dropout
        kernels.normalise(
            rows(map_nchw),
            rows(out),
            kept_nc,
            norm_5c,
            norm.running_mean.numpy(),
            norm.running_var.numpy(),
            norm.momentum,
            norm.eps,
            unit.relu_first,
        )
        norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(input_nchw, weight, bias, scale_c, shift_c, *converted)
        ctx.map_nchw, ctx.kept_nc, ctx.norm_5c = map_nchw, kept_nc, norm_5c
        ctx.relu_first, ctx.eps = unit.relu_first, norm.eps
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, input_nchw, kernel, bias = ctx.saved_tensors
        if torch.is_grad_enabled() or is_wrapped(grad_nchw):  # create_graph=True, or many gradients at once
            return *_gradients_by_torch(ctx, inputs, kernel.dtype, grad_nchw), None
        # The map is overwritten with its own gradient: that memory is still in cache. A second backward, which
        # retain_graph=True allows, needs it again.
        map_nchw, ctx.map_nchw = ctx.map_nchw, None
        if map_nchw is None:
            map_nchw = torch.conv2d(input_nchw, kernel, bias, *ctx.geometry).contiguous(memory_format=LAST)
        weight = inputs[1]
        grads_3c = torch.empty(3, map_nchw.shape[1], dtype=weight.dtype)
        grad_nchw = grad_nchw.contiguous(memory_format=LAST)
        kernels.normalise_backward(
            rows(map_nchw), rows(grad_nchw), ctx.kept_nc, ctx.norm_5c, grads_3c.numpy(), ctx.relu_first
        )
        stride, padding, dilation, groups = ctx.geometry
        needs_input, needs_weight = ctx.needs_input_grad[:2]
        grad_input, grad_weight, _ = torch.ops.aten.convolution_backward(
            map_nchw,
            input_nchw,
            kernel,
            None,  # without a bias
            stride,
            padding,
            dilation,
            False,  # transposed
            (0, 0),  # output padding
            groups,
            (needs_input, needs_weight, False),
        )
        grad_scale, grad_shift, grad_bias = grads_3c.unbind()
        return (
            None if grad_input is None else grad_input.to(inputs[0].dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if bias is None else grad_bias,
            grad_scale,
            grad_shift,
            None,
        )


def _gradients_by_torch(
    ctx: Any, inputs: list[Tensor | None], dtype: torch.dtype, grad_nchw: Tensor
) -> list[Tensor | None]:
    """Return the gradients of a unit's inputs by torch's operations, which can be differentiated again."""
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        input_nchw, weight, bias, scale_c, shift_c = inputs
        assert input_nchw is not None
        assert weight is not None
        converted = input_nchw.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        out = torch.conv2d(*converted, *ctx.geometry)
        out = out.relu() if ctx.relu_first else out
        out = F.batch_norm(out, None, None, scale_c, shift_c, training=True, eps=ctx.eps)
        out = out if ctx.relu_first else out.relu()
        out = out * torch.from_numpy(ctx.kept_nc)[:, :, None, None].to(dtype)
        needed = [x for x, is_needed in zip(inputs, ctx.needs_input_grad, strict=False) if x is not None and is_needed]
        found = iter(torch.autograd.grad(out, needed, grad_nchw, create_graph=True))
    return [next(found) if is_needed else None for is_needed in ctx.needs_input_grad[:5]]


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_nchw: Tensor, size: int) -> Tensor:
        n, c, h, w = input_nchw.shape
        last_nchw = input_nchw.contiguous(memory_format=LAST)
        out = torch.empty((n, c, h // size, w // size), dtype=input_nchw.dtype, memory_format=LAST)
        argmax = torch.empty((n, h // size, w // size, c), dtype=torch.uint8)
        pooling.max_pool(rows(last_nchw), pixels(out), argmax.numpy(), size)
        ctx.save_for_backward(argmax)
        ctx.shape, ctx.size = input_nchw.shape, size
        return out

    @staticmethod
    def backward(ctx: Any, grad_nchw: Tensor) -> tuple[Tensor, None]:
        (argmax,) = ctx.saved_tensors
        if torch.is_grad_enabled() or is_wrapped(grad_nchw):  # as in `_ConvUnit`
            return _unpool(grad_nchw, argmax, ctx.shape, ctx.size), None
        grad_nchw = grad_nchw.contiguous(memory_format=LAST)
        grad_input = torch.empty(ctx.shape, dtype=grad_nchw.dtype, memory_format=LAST)
        pooling.max_pool_backward(pixels(grad_nchw), argmax.numpy(), rows(grad_input), ctx.size)
        return grad_input, None


def _unpool(grad_nchw: Tensor, argmax_nhwc: Tensor, shape: torch.Size, size: int) -> Tensor:
    """Return the gradient of the pooling's input by torch's operations, which can be differentiated again."""
    h, w = shape[2:]
    position = argmax_nhwc.permute(0, 3, 1, 2).long()
    row = torch.arange(h // size)[:, None] * size + position // size
    column = torch.arange(w // size) * size + position % size
    return F.max_unpool2d(grad_nchw, row * w + column, [size, size], output_size=[h, w])

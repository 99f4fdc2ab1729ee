"""Convolutions of a training step on a CPU: torch's, except where a matrix product or a compiled loop is faster.

Times in comments are for the notebook's network, 64 images, on one thread of an AMD EPYC with AVX512-BF16.
"""

from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor

from sweeper.network.cpu import kernels
from sweeper.network.cpu.fast_paths import FastPaths
from sweeper.network.cpu.layout import LAST, rows

SMALL: Final = 2**20
"""Multiply-accumulates below which a matrix product beats the equivalent convolution, in float32 too."""


def convolve(
    input_nchw: Tensor, kernel_oihw: Tensor, bias_o: Tensor | None, padding: int, fast_paths: FastPaths
) -> Tensor:
    """Convolve ``[n, i, h, w]`` with stride 1; return ``[n, o, h', w']``, channels-last."""
    if fast_paths.matrix_product and _is_small_product(input_nchw, kernel_oihw, padding):
        out_po = F.linear(_windows(input_nchw, kernel_oihw), _windows(kernel_oihw, kernel_oihw), bias_o)
        n, _, *sides = input_nchw.shape
        return _as_map(out_po, n, *(side - kernel_oihw.shape[2] + 1 for side in sides))
    return torch.conv2d(input_nchw, kernel_oihw, bias_o, padding=padding).contiguous(memory_format=LAST)


def convolve_backward(
    grad_nohw: Tensor,
    input_nchw: Tensor,
    kernel_oihw: Tensor,
    padding: int,
    fast_paths: FastPaths,
    *,
    needs_input: bool,
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of the input (None unless `needs_input`) and of the kernel, given the output's gradient.

    All arguments and results are channels-last.
    """
    if fast_paths.matrix_product and _is_small_product(input_nchw, kernel_oihw, padding):
        # A 3×3 kernel on a 3×3 map, forward and backward: 60 µs instead of 190 in bf16, 20 µs instead of 180 in fp32.
        grad_po = grad_nohw.permute(0, 2, 3, 1).reshape(-1, len(kernel_oihw))
        o, _, *sides = kernel_oihw.shape
        grad_kernel = _as_map(grad_po.t() @ _windows(input_nchw, kernel_oihw), o, *sides)
        if not needs_input:
            return None, grad_kernel
        n, _, *sides = input_nchw.shape
        return _as_map(grad_po @ _windows(kernel_oihw, kernel_oihw), n, *sides), grad_kernel
    border = kernel_oihw.shape[2] - 1 - padding
    fast = _fast_input_gradient(grad_nohw, input_nchw, kernel_oihw, border, fast_paths) if needs_input else None
    grad_input, grad_kernel = _torch_backward(
        grad_nohw, input_nchw, kernel_oihw, padding, (needs_input and fast is None, True)
    )
    return fast if fast is not None else grad_input, grad_kernel


def _fast_input_gradient(
    grad_nohw: Tensor, input_nchw: Tensor, kernel_oihw: Tensor, border: int, fast_paths: FastPaths
) -> Tensor | None:
    """Return the gradient of the input if one of the two paths here is faster than torch, else None.

    Both pad the output's gradient with `border` zeros on each side and convolve it with the kernel rotated by 180
    degrees.
    """
    if fast_paths.one_channel_gradient and kernel_oihw.shape[1] == 1 and border >= 0:
        # 10 channels at 14×14 take 190 µs; torch takes 260 µs in bf16, 410 µs in fp32.
        grad_input = torch.empty_like(input_nchw, memory_format=LAST)
        dtype = torch.float64 if grad_nohw.dtype == torch.float64 else torch.float32
        taps_to = kernel_oihw.flatten(1).t().to(dtype).contiguous()
        kernels.convolve_transposed(rows(grad_nohw), taps_to.numpy(), rows(grad_input), border)
        return grad_input
    if fast_paths.framed_gradient and border > 1 and grad_nohw.dtype == torch.bfloat16:
        # Without padding, 10 channels at 12×12 of 128 images take 580 µs, torch 770 µs; in fp32 both are equally fast.
        padded = F.pad(grad_nohw, (border,) * 4)
        return torch.conv2d(padded, kernel_oihw.flip(2, 3).transpose(0, 1)).contiguous(memory_format=LAST)
    return None


def _torch_backward(
    grad_nohw: Tensor, input_nchw: Tensor, kernel_oihw: Tensor, padding: int, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor]:
    grad_input, grad_kernel, _ = torch.ops.aten.convolution_backward(
        grad_nohw,
        input_nchw,
        kernel_oihw,
        None,
        (1, 1),  # stride
        (padding, padding),
        (1, 1),  # dilation
        False,  # transposed
        (0, 0),  # output padding
        1,  # groups
        (*wanted, False),
    )
    return grad_input, grad_kernel


def _is_small_product(input_nchw: Tensor, kernel_oihw: Tensor, padding: int) -> bool:
    """Whether the convolution is a small matrix product: no two windows share a pixel, and it takes few MACs."""
    no_overlap = padding == 0 and (kernel_oihw.shape[2] == 1 or input_nchw.shape[2:] == kernel_oihw.shape[2:])
    return no_overlap and input_nchw.numel() * len(kernel_oihw) < SMALL


def _windows(map_nchw: Tensor, kernel_oihw: Tensor) -> Tensor:
    """Return the values under the kernel at each of its positions: ``[positions, h * w * c]``."""
    return map_nchw.permute(0, 2, 3, 1).reshape(-1, kernel_oihw[0].numel())


def _as_map(values: Tensor, n: int, h: int, w: int) -> Tensor:
    """View ``[n * h * w, c]`` values as a channels-last tensor ``[n, c, h, w]``."""
    return values.view(n, h, w, -1).permute(0, 3, 1, 2)

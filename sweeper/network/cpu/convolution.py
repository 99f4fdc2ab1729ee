"""A convolution's gradients on a CPU: torch's, except the input's where padding and convolving is faster in bf16."""

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor

from sweeper.network.cpu.layout import LAST


def convolve_backward(
    grad_nohw: Tensor,
    input_nchw: Tensor,
    kernel_oihw: Tensor,
    padding: int,
    *,
    needs_input: bool,
    pads_gradient: bool,
) -> tuple[Tensor | None, Tensor]:
    """Return the gradients of the input (None unless `needs_input`) and of the kernel, given the output's gradient.

    All arguments and results are channels-last; the stride is 1. `pads_gradient` allows the faster way.
    """
    border = kernel_oihw.shape[2] - 1 - padding
    # With padding, or in fp32, torch is as fast.
    is_padded = needs_input and pads_gradient and border > 1 and grad_nohw.dtype == torch.bfloat16
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
        (needs_input and not is_padded, True, False),
    )
    return _padded_gradient(grad_nohw, kernel_oihw, border) if is_padded else grad_input, grad_kernel


def _padded_gradient(grad_nohw: Tensor, kernel_oihw: Tensor, border: int) -> Tensor:
    """Return the input's gradient as a convolution: the padded gradient with the kernel rotated by 180 degrees.

    One of 10 channels at 12×12 for 128 images takes 580 µs on one thread of an AMD EPYC (Zen 4), torch's 770 µs.
    """
    padded = F.pad(grad_nohw, (border,) * 4)
    return torch.conv2d(padded, kernel_oihw.flip(2, 3).transpose(0, 1)).contiguous(memory_format=LAST)

"""Decides, anew at every step, whether the kernels may compute a module's training step; otherwise torch's modules do.

Modes, settings, hooks and submodules may change at any time. The check of a unit takes about 5 µs.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from sweeper.network.cpu.torch_private import calls_only_forward, is_transformed, own_tensors

_WHOLE: Final = frozenset((torch.float32, torch.float64))
"""Types of weights, and of feature maps without autocast."""
_MIXED: Final = frozenset((torch.float32, torch.bfloat16))
"""Types of feature maps under autocast."""
LARGEST_POOL: Final = 16
"""Side of the largest pooling window, pixels: a position in it is stored in one byte."""
_RELU_FIRST: Final[dict[tuple[str, ...], bool]] = {
    ("conv", "norm", "activation"): False,
    ("conv", "activation", "norm"): True,
}
"""By the names of a unit's first three modules: whether the ReLU comes before the norm."""
_TYPES: Final = {"conv": nn.Conv2d, "norm": nn.BatchNorm2d, "activation": nn.ReLU, "dropout": nn.Dropout2d}
"""Subclasses, such as quantized or parametrized modules, compute something else."""


class PlainUnit(NamedTuple):
    """What a training step of a unit computes."""

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    relu_first: bool
    dropout: float
    """Probability that a channel is dropped, below 1."""
    dtype: torch.dtype
    """Of feature maps and of the convolution: bfloat16 under autocast, otherwise that of the weights."""


def plain_unit(parts: Mapping[str, nn.Module | None], images: Tensor) -> PlainUnit | None:
    """Return what a training step of these modules computes, or None if torch's modules must compute it."""
    relu_first = _RELU_FIRST.get(tuple(parts)[:3])
    if relu_first is None or not _is_plain(images):
        return None
    for name, module in parts.items():
        if module is None or type(module) is not _TYPES.get(name) or not calls_only_forward(module):
            return None
    conv, norm, dropout = parts["conv"], parts["norm"], parts.get("dropout")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    p = dropout.p if isinstance(dropout, nn.Dropout2d) and dropout.training else 0.0
    weights = own_tensors(conv)
    weight, bias = weights.get("weight"), weights.get("bias")
    if type(weight) is not nn.Parameter:
        return None
    dtype = _map_dtype(weight.dtype, images.dtype)
    # In a batch of one image a channel may have a single value. torch's batch norm raises an error for it; so must we.
    if dtype is None or len(images) == 1 or not (0 <= p < 1 and _has_plain_settings(conv, norm)):
        return None
    return PlainUnit(conv, norm, relu_first, p, dtype) if _has_plain_tensors(weight, bias, own_tensors(norm)) else None


def is_plain_pool(pool: nn.MaxPool2d, images: Tensor) -> bool:
    """Return whether the kernels compute this pooling of these images: windows that neither overlap nor leave gaps."""
    size = pool.kernel_size
    return (
        type(size) is int
        and size <= LARGEST_POOL
        and pool.stride == size
        and pool.padding == 0
        and pool.dilation == 1
        and not pool.ceil_mode
        and not pool.return_indices
        and _is_plain(images)
        and min(images.shape[2:]) >= size
        and (images.dtype in _WHOLE or images.dtype is torch.bfloat16)
    )


def _is_plain(images: Tensor) -> bool:
    """Return whether these are values in memory, to be computed now, and nobody follows the computation."""
    return (
        type(images) is Tensor
        and images.is_cpu
        and images.layout is torch.strided
        and images.dim() == 4
        and images.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # documented
        and not is_transformed()
    )


def _map_dtype(weight: torch.dtype, images: torch.dtype) -> torch.dtype | None:
    """Return the type that a convolution computes in, or None if it is not one of ours, or torch would raise an error."""
    if torch.is_autocast_enabled("cpu"):
        is_ours = weight is torch.float32 and images in _MIXED
        return torch.bfloat16 if is_ours and torch.get_autocast_dtype("cpu") is torch.bfloat16 else None
    return weight if weight is images and weight in _WHOLE else None


def _has_plain_settings(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    return (
        norm.training
        and norm.track_running_stats
        and type(norm.momentum) is float  # None asks for a cumulative average
        and type(norm.eps) is float
        and conv.padding_mode == "zeros"
        and type(conv.padding) is tuple
    )


def _has_plain_tensors(weight: Tensor, bias: Tensor | None, norm: Mapping[str, Tensor | None]) -> bool:
    """Return whether parameters and buffers are plain tensors in memory, of one type and as long as they must be."""
    scale_c, shift_c = norm.get("weight"), norm.get("bias")
    mean_c, variance_c = norm.get("running_mean"), norm.get("running_var")
    return (
        type(scale_c) is type(shift_c) is nn.Parameter
        and type(mean_c) is type(variance_c) is type(norm.get("num_batches_tracked")) is Tensor
        and weight.is_cpu
        and (bias is None or (type(bias) is nn.Parameter and bias.dtype is weight.dtype))
        and scale_c.dtype is shift_c.dtype is mean_c.dtype is variance_c.dtype is weight.dtype
        and scale_c.is_cpu
        and shift_c.is_cpu
        and mean_c.is_cpu
        and variance_c.is_cpu
        and scale_c.numel() == shift_c.numel() == mean_c.numel() == variance_c.numel() == len(weight)
    )

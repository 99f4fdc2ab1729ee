"""Selects the hand-written CPU paths that a network trains with. ``bench --ablation`` measures the gain of each."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPaths:
    """The paths that replace torch's operations in a training step on a CPU. True selects the hand-written one."""

    conv_unit: bool = True
    """Normalization, activation and dropout in one pass: `fused.ConvUnit`. The last three paths need it."""
    max_pool: bool = True
    """Max pooling compiled by numba: `fused.MaxPool`."""
    matrix_product: bool = True
    """A small convolution without overlapping windows, such as a 1×1 kernel's, as one matrix product."""
    one_channel_gradient: bool = True
    """The gradient of a one-channel convolution input, compiled by numba."""
    framed_gradient: bool = True
    """The bf16 input gradient of a convolution with little padding, as a convolution of the zero-padded gradient."""


ALL_FAST_PATHS: Final = FastPaths()
NO_FAST_PATHS: Final = FastPaths(
    conv_unit=False, max_pool=False, matrix_product=False, one_channel_gradient=False, framed_gradient=False
)
"""Only torch's own operations."""

"""Which hand-made CPU paths a network trains with. All of them by default; `bench` measures what each is worth."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPaths:
    """The paths that replace torch's own operations in a training step on a CPU. True takes the hand-made one."""

    conv_unit: bool = True
    """Normalisation, activation and dropout in one pass: `fused.ConvUnit`. The three convolutions below need it."""
    max_pool: bool = True
    """Max pooling compiled by numba: `fused.MaxPool`."""
    matrix_product: bool = True
    """A small convolution without overlapping windows, such as a 1×1 kernel's, as one matrix product."""
    one_channel_gradient: bool = True
    """The input gradient of a one-channel map, compiled by numba."""
    framed_gradient: bool = True
    """The bf16 input gradient of a convolution that pads little, as a convolution of the zero-padded gradient."""


ALL_FAST_PATHS: Final = FastPaths()
NO_FAST_PATHS: Final = FastPaths(
    conv_unit=False, max_pool=False, matrix_product=False, one_channel_gradient=False, framed_gradient=False
)
"""torch's own modules alone."""

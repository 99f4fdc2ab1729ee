"""Selects the hand-written CPU paths that a network trains with. ``bench --ablation`` measures the gain of each."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class FastPaths:
    """The paths that replace torch's operations in a training step on a CPU. True selects the hand-written one."""

    conv_unit: bool = True
    """Normalization, activation and dropout in one pass: `fused.ConvUnit`."""
    max_pool: bool = True
    """Max pooling compiled by numba: `fused.MaxPool`."""


ALL_FAST_PATHS: Final = FastPaths()
NO_FAST_PATHS: Final = FastPaths(conv_unit=False, max_pool=False)
"""Only torch's own operations."""

"""How a map lies in memory, channels last, and the same memory as numpy sees it; bfloat16 as its bits."""

from typing import Final

import torch
from torch import Tensor

from sweeper.network.cpu.kernels import Array

LAST: Final = torch.channels_last


def rows(map_nchw: Tensor) -> Array:
    """Return a map that has its channels last in memory as ``[n, h, w * c]``."""
    n, c, h, w = map_nchw.shape
    return _seen(map_nchw.as_strided((n, h, w * c), (h * w * c, w * c, 1)))


def pixels(map_nchw: Tensor) -> Array:
    """Return a map that has its channels last in memory as ``[n, h, w, c]``."""
    return _seen(map_nchw.permute(0, 2, 3, 1))


def _seen(numbers: Tensor) -> Array:
    return (numbers.view(torch.uint16) if numbers.dtype == torch.bfloat16 else numbers).numpy()

"""Views a channels-last tensor as a numpy array, without copying; bfloat16 as uint16 bits."""

from typing import Final

import torch
from torch import Tensor

from sweeper.network.cpu.compiled import Array

LAST: Final = torch.channels_last
"""The memory format of all feature maps here."""


def rows(map_nchw: Tensor) -> Array:
    """View a channels-last feature map as ``[n, h, w * c]``: one row of pixels is contiguous."""
    n, c, h, w = map_nchw.shape
    return _as_numpy(map_nchw.as_strided((n, h, w * c), (h * w * c, w * c, 1)))


def pixels(map_nchw: Tensor) -> Array:
    """View a channels-last feature map as ``[n, h, w, c]``."""
    return _as_numpy(map_nchw.permute(0, 2, 3, 1))


def _as_numpy(values: Tensor) -> Array:
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()

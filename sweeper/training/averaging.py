"""Averages the weights of a network over its training steps: an exponential moving average, validated and saved."""

from typing import Final

import torch
from torch import Tensor, nn

WARM_UP: Final = (1, 10)
"""The decay of update n is at most (1 + n) / (10 + n), as in TensorFlow's `ExponentialMovingAverage`. The average then
spans about the last tenth of the steps while these are few, so that a decay too high for a short training does no harm:
without it, a decay of 0.999 keeps 37 % of the first weights after 1,000 steps."""


class WeightAverage:
    """An exponential moving average of a network's weights and of its normalization statistics.

    It starts as the weights after the first step, so it has no bias toward zero to correct. After a later step, the n-th
    of these: average ← d · average + (1 - d) · weights, with d = min(`decay`, (1 + n) / (10 + n)). The idea is Polyak and
    Juditsky's (1992), the exponential form with this warm-up TensorFlow's.
    """

    def __init__(self, network: nn.Module, weights: Tensor, decay: float) -> None:
        """Average `weights`, the one tensor that all of the network's parameters are views of, with this decay.

        The network's floating-point buffers become views of one tensor. With a decay of 0 there is no average: no method
        changes anything.
        """
        self._decay = decay
        self._current = [weights, *_flatten_buffers(network)] if decay > 0 else []
        self._average = [tensor.clone() for tensor in self._current]
        self._updates = 0
        self._is_applied = False

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights of the step that has just been made to the average."""
        n = self._updates
        first, second = WARM_UP
        decay = 0.0 if n == 0 else min(self._decay, (first + n) / (second + n))
        for average, current in zip(self._average, self._current, strict=True):
            average.lerp_(current, 1 - decay)
        self._updates += 1

    def apply(self) -> None:
        """Put the average into the network, for validating and saving."""
        if not self._is_applied:
            self._swap()

    def restore(self) -> None:
        """Put the weights of the last step back into the network, for training on."""
        if self._is_applied:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, current in zip(self._average, self._current, strict=True):
            before = current.clone()
            current.copy_(average)
            average.copy_(before)
        self._is_applied = not self._is_applied


def _flatten_buffers(network: nn.Module) -> list[Tensor]:
    """Make the floating-point buffers views of one tensor; return it in a list, which is empty without such buffers."""
    buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    if not buffers:
        return []
    flat = torch.cat([buffer.flatten() for buffer in buffers])
    offset = 0
    for buffer in buffers:
        buffer.data = flat[offset : offset + buffer.numel()].view(buffer.shape)
        offset += buffer.numel()
    return [flat]

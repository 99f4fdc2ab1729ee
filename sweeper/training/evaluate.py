"""How good a network is on given images: mean loss and accuracy, with dropout off."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import nn

from sweeper.data.datasets import LabelledImages

BATCH: Final = 500
"""Images at a time: activations of a small network stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Mean over images."""

    loss: float
    """Cross-entropy, nats; without label smoothing, so that runs compare."""
    accuracy: float
    """Fraction of images whose class is the top score."""


def evaluate(network: nn.Module, images: LabelledImages, *, autocast: torch.autocast) -> Score:
    """Score the network; it is left in evaluation mode."""
    network.eval()
    device = images.labels_b.device
    loss = torch.zeros((), device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)
    with torch.inference_mode(), autocast:
        for start in range(0, len(images), BATCH):
            pixels_bchw = images.normalise_(images.pixels(start, start + BATCH))
            logits_bk = network(pixels_bchw.contiguous(memory_format=torch.channels_last)).float()
            labels_b = images.labels_b[start : start + BATCH]
            loss += F.cross_entropy(logits_bk, labels_b, reduction="sum")
            correct += (logits_bk.argmax(1) == labels_b).sum()
    return Score(loss=loss.item() / len(images), accuracy=correct.item() / len(images))

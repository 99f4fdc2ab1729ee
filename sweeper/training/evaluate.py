"""Evaluates a network in evaluation mode: loss, accuracy, confusion matrix and worst mistakes."""

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import nn

from sweeper.data.images import LabelledImages
from sweeper.records import Mistake, Mistakes

BATCH: Final = 500
"""Images per batch: a small network's activations then stay in the processor's cache."""
WORST: Final = 25
"""Number of mistakes kept, those with the highest loss: five rows of five on a page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The result of an evaluation: loss and accuracy over all images, loss and prediction of each image."""

    loss: float
    """Mean cross-entropy, nats; without label smoothing, so that runs are comparable."""
    accuracy: float
    """Fraction of images whose largest logit is the true class's."""
    losses_n: torch.Tensor
    """float32 ``[n]``: each image's cross-entropy, nats."""
    predicted_n: torch.Tensor
    """int64 ``[n]``: the class of each image's largest logit."""


def evaluate(network: nn.Module, images: LabelledImages, *, autocast: torch.autocast) -> Score:
    """Evaluate the network on these images, on the same device; leaves it in evaluation mode.

    Without images, loss and accuracy are NaN.
    """
    network.eval()
    if len(images) == 0:
        nothing = torch.empty(0, device=images.labels_n.device)
        return Score(loss=math.nan, accuracy=math.nan, losses_n=nothing, predicted_n=nothing.long())
    losses, predicted = [], []
    with torch.inference_mode(), autocast:
        for start in range(0, len(images), BATCH):
            pixels_bchw = images.normalise_(images.pixels(start, start + BATCH))
            logits_bk = network(pixels_bchw.contiguous(memory_format=torch.channels_last)).float()
            losses.append(F.cross_entropy(logits_bk, images.labels_b[start : start + BATCH], reduction="none"))
            predicted.append(logits_bk.argmax(1))
        losses_n, predicted_n = torch.cat(losses), torch.cat(predicted)
        correct = (predicted_n == images.labels_b).sum()
    return Score(
        loss=losses_n.mean().item(),
        accuracy=correct.item() / len(images),
        losses_n=losses_n,
        predicted_n=predicted_n,
    )


def mistakes(score: Score, images: LabelledImages, *, classes: int) -> Mistakes:
    """Return the confusion matrix and the mistakes, given the score of these images; runs no forward pass."""
    labels_n, predicted_n, losses_n = images.labels_b.cpu(), score.predicted_n.cpu(), score.losses_n.cpu()
    confusion = torch.bincount(labels_n * classes + predicted_n, minlength=classes**2).view(classes, classes)
    wrong = (labels_n != predicted_n).nonzero().squeeze(1)
    worst = wrong[losses_n[wrong].argsort(descending=True, stable=True)][:WORST]
    indices_n = images.indices_b.cpu()
    return Mistakes(
        confusion=confusion.tolist(),
        worst=[
            Mistake(
                index=int(indices_n[at]),
                label=int(labels_n[at]),
                predicted=int(predicted_n[at]),
                probability=math.exp(-float(losses_n[at])),
            )
            for at in worst.tolist()
        ],
        wrong=dict(zip(indices_n[wrong].tolist(), predicted_n[wrong].tolist(), strict=True)),
    )

"""Finds weaknesses of a network before training: signal erased by dropout, bottlenecks, a small receptive field."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from sweeper.network.plan import Conv, Plan
from sweeper.network.summary import LayerSummary, Summary

ERASED_NOTICEABLE: Final = 0.01
"""Least share of training passes without any signal that is reported: it costs about that much training accuracy."""
SQUEEZE_FACTOR: Final = 4
"""A layer at least this many times narrower than both neighbours is a bottleneck."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One weakness of the network."""

    rule: str
    """The rule: ``erased_signal``, ``bottleneck`` or ``receptive_field``."""
    layers: tuple[str, ...]
    """Names of the layers concerned."""
    evidence: dict[str, float]
    """The numbers that the rule compared, by name."""
    message: str
    """One to three sentences: the weakness, its effect, the fix."""


def diagnose(plan: Plan, summary: Summary, *, majority_share: float) -> tuple[Finding, ...]:
    """Apply every rule and return the findings; empty if there are none.

    `majority_share` is the accuracy of always guessing the most frequent class, a fraction.
    """
    convs = [
        (layer, layer_summary)
        for layer, layer_summary in zip(plan.layers, summary.layers, strict=True)
        if isinstance(layer, Conv)
    ]
    return (
        *_erased_signal(convs, majority_share),
        *_bottlenecks(convs, plan.classes),
        *_receptive_field(plan, summary),
    )


def _erased_signal(convs: Sequence[tuple[Conv, LayerSummary]], majority_share: float) -> Iterator[Finding]:
    """Find dropout p that erases a layer's whole output: all k independently dropped units, with probability p^k.

    The class of an erased image can only be guessed, so training accuracy, measured with dropout on, cannot exceed
    survival + (1 - survival) · majority_share.
    """
    erased = {
        layer.name: layer.erasure(layer_summary.input_shape) for layer, layer_summary in convs if layer.dropout > 0
    }
    survival = math.prod(1 - probability for probability in erased.values())
    if 1 - survival < ERASED_NOTICEABLE:
        return
    ceiling = survival + (1 - survival) * majority_share
    # Name the layers that reach the threshold alone, or all of them if only their product does.
    named = tuple(name for name, probability in erased.items() if probability >= ERASED_NOTICEABLE) or tuple(erased)
    yield Finding(
        rule="erased_signal",
        layers=named,
        evidence={"survival": survival, "training_accuracy_ceiling": ceiling},
        message=(
            f"Dropout erases the whole image in {100 * (1 - survival):.1f} % of training passes: the signal survives "
            f"{100 * survival:.1f} %, so training accuracy, measured with dropout on, cannot exceed about {100 * ceiling:.1f} %. "
            "That is not under-fitting. Widen these layers or set their dropout to 0."
        ),
    )


def _bottlenecks(convs: Sequence[tuple[Conv, LayerSummary]], classes: int) -> Iterator[Finding]:
    for layer, layer_summary in convs:
        values = math.prod(layer_summary.output_shape)
        if values < classes:
            yield Finding(
                rule="bottleneck",
                layers=(layer.name,),
                evidence={"values": values, "classes": classes},
                message=(
                    f"{layer.name} leaves {values} values to distinguish {classes} classes. "
                    f"Widen model.groups.{layer.group}.channels."
                ),
            )
    for (before, _), (after, _) in pairwise(convs):
        width = before.out_channels
        neighbours = (before.in_channels, after.out_channels)
        # The first convolution's input is the image: its channel count is no width of the network.
        if before is not convs[0][0] and width * SQUEEZE_FACTOR <= min(neighbours):
            yield Finding(
                rule="bottleneck",
                layers=(before.name,),
                evidence={"channels": width, "channels_before": neighbours[0], "channels_after": neighbours[1]},
                message=(
                    f"{before.name} narrows {neighbours[0]} channels to {width} before {neighbours[1]}: "
                    f"all information passes through {width}. Widen model.groups.{before.group}.channels."
                ),
            )


def _receptive_field(plan: Plan, summary: Summary) -> Iterator[Finding]:
    last = summary.layers[-2]  # the layer before the head
    side = max(plan.input_shape[1:])
    if last.receptive_field < side:
        yield Finding(
            rule="receptive_field",
            layers=(last.name,),
            evidence={"receptive_field": last.receptive_field, "image": side},
            message=(
                f"{last.name} sees {last.receptive_field} of the image's {side} pixels: no feature covers the whole "
                "image, only the head combines features. Add a convolution or a pool."
            ),
        )
